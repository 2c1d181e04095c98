"""Every key of a `defs.yaml` as Markdown tables, out of the models.

python -m assets.spec.reference            # prints them
python -m assets.spec.reference README.md  # refreshes them between the markers of a document
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from assets.spec import DatasetSpec

Schema = dict[str, Any]

COMMON = 8  # a key explained in the same words by so many kinds is explained once

SECTIONS = {
    "attributes": ["DatasetSpec"],
    "source": ["Source"],
    "partitions": [
        "NoPartitions",
        "TimePartitions",
        "StaticPartitions",
        "DynamicPartitions",
        "HashPartitions",
    ],
    "columns: pictures": ["ImageColumn", "UrlPolicy", "BoxesColumn", "PointsColumn", "MaskImageColumn"],
    "columns: values": [
        "NumberColumn",
        "VectorColumn",
        "CategoryColumn",
        "MultilabelColumn",
        "BoolColumn",
        "DatetimeColumn",
        "TextColumn",
        "ListColumn",
        "RecordColumn",
        "RecordMember",
        "IdColumn",
        "BinaryColumn",
        "EmbeddingColumn",
        "Clip",
        "Impute",
    ],
    "splits": ["HashSplits", "TimeSplits", "FieldSplits"],
    "subsets, dedup": ["Subset", "Dedup"],
    "checks": ["Checks"],
    "refresh, runs, storage": ["Refresh", "Runs", "Storage"],
}

UNTAGGED = {
    "UrlPolicy": "`urls`",
    "RecordMember": "each of `members`",
    "Clip": "a step of `transform`",
    "Impute": "a step of `transform`",
    "Subset": "each of `subsets`",
    "Dedup": "`dedup`",
    "Refresh": "`refresh`",
    "Runs": "`runs`",
    "Storage": "`storage`",
}
BEGIN, END = "<!-- keys: begin -->", "<!-- keys: end -->"


def reference() -> str:
    """Return the tables, one foldable section for each part of the YAML."""
    models = _models()
    parts = []
    for section, names in SECTIONS.items():
        rows = _with_common_first([list(_rows(name, models)) for name in names])
        lines = ["| key | allowed | default | what it says |", "| --- | --- | --- | --- |", *rows]
        parts.append(
            "\n".join([f"<details><summary><code>{section}</code></summary>", "", *lines, "", "</details>"])
        )
    return "\n\n".join(parts)


def undescribed() -> list[str]:
    """Return the keys that no table explains: models without a section, keys without a description."""
    models = _models()
    listed = {name for names in SECTIONS.values() for name in names}
    missing = [f"{name}: in no section" for name in models if name not in listed]
    for name, model in models.items():
        for key, member in model.get("properties", {}).items():
            if "const" not in member and not _description(member, models):
                missing.append(f"{name}.{key}: no description")
    return missing


def _with_common_first(rows_by_model: list[list[str]]) -> list[str]:
    """Return all rows, with those that most models repeat given once at the head."""
    count = Counter(row for rows in rows_by_model for row in rows)
    common = [row for row in count if count[row] >= COMMON]
    head = ["| **every kind** | | | |", *common] if common else []
    return head + [row for rows in rows_by_model for row in rows if row not in common]


def _models() -> dict[str, Schema]:
    whole = DatasetSpec.model_json_schema()
    return {"DatasetSpec": whole, **whole["$defs"]}


def _rows(name: str, models: dict[str, Schema]) -> Iterator[str]:
    model = models[name]
    properties: dict[str, Schema] = model.get("properties", {})
    tags = [f"`{key}: {member['const']}`" for key, member in properties.items() if "const" in member]
    for heading in [*tags, UNTAGGED.get(name, "")][:1]:
        if heading:
            first_line = str(model["description"]).split("\n\n")[0].replace("\n", " ")
            yield f"| **{heading}** | | | {_cell(first_line)} |"
    for key, member in properties.items():
        if "const" in member:
            continue
        default = "required" if key in model.get("required", []) else _default(member)
        cells = [f"`{key}`", _allowed(member, models), default, _description(member, models)]
        yield f"| {' | '.join(map(_cell, cells))} |"


def _allowed(member: Schema, models: dict[str, Schema]) -> str:
    if "$ref" in member:
        return _named(member["$ref"], models)
    if "enum" in member:
        return ", ".join(f"`{value}`" for value in member["enum"])
    if "const" in member:
        return f"`{member['const']}`"
    for union in ("anyOf", "oneOf"):
        if union in member:
            options = [_allowed(option, models) for option in member[union] if option.get("type") != "null"]
            return " or ".join(dict.fromkeys(option for option in options if option))
    kind = member.get("type")
    if kind == "array":
        if "prefixItems" in member:
            return f"[{', '.join(_allowed(element, models) for element in member['prefixItems'])}]"
        return f"list of: {_allowed(member.get('items', {}), models)}"
    if kind == "object":
        inner = member.get("additionalProperties")
        return f"mapping to: {_allowed(inner, models)}" if isinstance(inner, dict) else "mapping"
    if kind == "boolean":
        return "true, false"
    if kind == "string":
        return str(member.get("format", "text"))
    return _bounded(str(kind or "any value"), member)


def _description(member: Schema, models: dict[str, Schema]) -> str:
    referred = models[member["$ref"].rsplit("/", 1)[-1]] if "$ref" in member else {}
    return str(member.get("description") or referred.get("description", ""))


def _bounded(kind: str, member: Schema) -> str:
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    bounds = [f"{sign} {member[bound]:,}" for bound, sign in signs.items() if bound in member]
    return " ".join([kind, *bounds])


def _named(reference: str, models: dict[str, Schema]) -> str:
    name = reference.rsplit("/", 1)[-1]
    model = models[name]
    if "enum" in model:
        return ", ".join(f"`{value}`" for value in model["enum"])
    tags = [member["const"] for member in model.get("properties", {}).values() if "const" in member]
    keys = list(model.get("properties", {}))
    if tags:
        return f"`{tags[0]}`"
    return f"`{{{keys[0]}: ...}}`" if len(keys) == 1 else "mapping"


def _default(member: Schema) -> str:
    default = member.get("default")
    if default is None or default in ({}, []):
        return ""
    if isinstance(default, dict):
        return ""
    text = {True: "true", False: "false"}.get(default) if isinstance(default, bool) else str(default)
    return f"`{text}`" if text else '`""`'


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def refresh(text: str) -> str:
    """Return a document with everything between its two markers replaced by the tables."""
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n\n{reference()}\n\n{END}{tail}"


if __name__ == "__main__":
    for name in sys.argv[1:]:
        Path(name).write_text(refresh(Path(name).read_text(encoding="utf-8")), encoding="utf-8")
    if not sys.argv[1:]:
        print(reference())
