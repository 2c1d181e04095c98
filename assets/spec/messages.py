"""Validation errors of pydantic as readable problems: which key, what was got, what is allowed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from assets.spec.dataset import Column
from assets.spec.errors import KeyPath
from assets.spec.partitions import Partitions
from assets.spec.splits import Splits

_ALLOWED = {
    "string_pattern_mismatch": "lower-case letters, digits and underscores, a letter first, at most 64",
    "int_type": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "string_type": "a string",
    "bool_type": "true or false",
    "date_from_datetime_parsing": "a date such as 2025-01-31",
    "date_from_datetime_inexact": "a date such as 2025-01-31",
    "date_type": "a date such as 2025-01-31",
    "datetime_parsing": "a date and time such as 2025-01-31T12:00:00",
    "datetime_from_date_parsing": "a date and time such as 2025-01-31T12:00:00",
    "datetime_type": "a date and time such as 2025-01-31T12:00:00",
    "none_required": "null",
    "model_type": "keys and values",
    "model_attributes_type": "keys and values",
    "dict_type": "keys and values",
    "list_type": "a list",
}


def _tags(union: Any, key: str) -> list[str]:
    members = get_args(get_args(union)[0])
    return [get_args(member.model_fields[key].annotation)[0] for member in members]


_UNIONS = {
    "columns": ("kind", _tags(Column, "kind")),
    "partitions": ("by", _tags(Partitions, "by")),
    "splits": ("by", _tags(Splits, "by")),
}


def explain(error: ValidationError, attributes: Any) -> list[tuple[KeyPath, str]]:
    """Return the path and the message of every problem in `error`, one a path.

    Parameters
    ----------
    error
        What pydantic raised for `attributes`.
    attributes
        The mapping that was validated; tells keys from the names of union members in pydantic's locations.
    """
    found: dict[KeyPath, list[tuple[str, str]]] = {}
    for details in error.errors(include_url=False):
        for path, got, allowed in _explained(details, attributes):
            found.setdefault(path, []).append((got, allowed))
    return [(path, _joined(parts)) for path, parts in found.items()]


def _joined(parts: Sequence[tuple[str, str]]) -> str:
    statements = [got for got, allowed in parts if not allowed]
    if statements:
        return "; ".join(dict.fromkeys(statements))
    return f"got {parts[0][0]}; allowed: {' or '.join(dict.fromkeys(allowed for _, allowed in parts))}"


def _explained(details: ErrorDetails, attributes: Any) -> list[tuple[KeyPath, str, str]]:
    kind, context = details["type"], details.get("ctx", {})
    path = _key_path(details["loc"], attributes, missing=kind == "missing")
    if kind == "inconsistent":
        return [((*path, *where), message, "") for where, message in context["problems"]]
    if kind == "unknown_key":
        return [((*path, context["key"]), f"unknown key{context['hint']}; allowed: {context['allowed']}", "")]
    if kind == "missing":
        return [(path, "required key is missing", "")]
    if kind == "union_tag_invalid":
        key = context["discriminator"].strip("'")
        return [((*path, key), repr(context["tag"]), context["expected_tags"].replace("'", ""))]
    if kind == "union_tag_not_found":
        key, tags = _UNIONS[str(details["loc"][0])]
        return [((*path, key), f"required key is missing; allowed: {', '.join(tags)}", "")]
    if kind == "value_error":
        return [(path, str(context["error"]), "")]
    if kind == "literal_error":
        return [(path, _shown(details["input"]), context["expected"].replace("'", ""))]
    if kind in _ALLOWED:
        return [(path, _shown(details["input"]), _ALLOWED[kind])]
    return [(path, _shown(details["input"]), details["msg"].removeprefix("Input should be "))]


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _has(node: Any, segment: str | int) -> bool:
    if isinstance(node, list):
        return isinstance(segment, int) and segment < len(node)
    return isinstance(node, Mapping) and segment in node


def _key_path(location: Sequence[str | int], attributes: Any, missing: bool) -> KeyPath:
    node, path, in_union = attributes, [], False
    for position, segment in enumerate(location):
        tags = (node.get("kind"), node.get("by")) if isinstance(node, Mapping) else ()
        if segment in tags and not in_union:
            in_union = True
        elif _has(node, segment):
            node, in_union = node[segment], False
            path.append(segment)
        elif missing and position == len(location) - 1:
            path.append(segment)
    return tuple(path)
