"""Arrow types as text: one spelling a type, and a bounded parser.

Grammar::

    type   = scalar | "fixed_size_binary[" n "]" | "timestamp[" unit ("" | ", UTC") "]"
           | "list<" type ">" | "large_list<" type ">" | "fixed_size_list<" type ">[" n "]"
           | "struct<" [ name ": " type { ", " name ": " type } ] ">"
    name   = identifier | JSON string

Children of lists are called `item`; every field is nullable.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

import pyarrow as pa

from shards.errors import InvalidArgument
from shards.limits import MAX_ARROW_DEPTH

_SCALARS: dict[str, pa.DataType] = {
    "null": pa.null(),
    "bool": pa.bool_(),
    "int8": pa.int8(),
    "int16": pa.int16(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "uint8": pa.uint8(),
    "uint16": pa.uint16(),
    "uint32": pa.uint32(),
    "uint64": pa.uint64(),
    "float16": pa.float16(),
    "float32": pa.float32(),
    "float64": pa.float64(),
    "date32": pa.date32(),
    "string": pa.string(),
    "binary": pa.binary(),
    "large_string": pa.large_string(),
    "large_binary": pa.large_binary(),
} | {
    f"timestamp[{unit}{zone}]": pa.timestamp(unit, tz="UTC" if zone else None)
    for unit in ("s", "ms", "us", "ns")
    for zone in ("", ", UTC")
}
_SPELLING = {dtype: text for text, dtype in _SCALARS.items()}
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_TOKEN = re.compile(
    r"timestamp\[[a-z]+(?:, UTC)?\]|[A-Za-z_][A-Za-z0-9_]*"
    r'|"(?:[^"\\\x00-\x1f]|\\.)*"|\[[0-9]{1,10}\]|<|>|, |: ',
    re.ASCII,
)


def spell(dtype: pa.DataType) -> str:
    """Text of an Arrow type; InvalidArgument for a type that the format does not have."""
    if dtype in _SPELLING:
        return _SPELLING[dtype]
    if pa.types.is_fixed_size_binary(dtype):
        return f"fixed_size_binary[{dtype.byte_width}]"
    if pa.types.is_fixed_size_list(dtype):
        return f"fixed_size_list<{spell(dtype.value_type)}>[{dtype.list_size}]"
    if pa.types.is_large_list(dtype):
        return f"large_list<{spell(dtype.value_type)}>"
    if pa.types.is_list(dtype):
        return f"list<{spell(dtype.value_type)}>"
    if pa.types.is_struct(dtype):
        return struct_of({field.name: spell(field.type) for field in dtype})
    raise InvalidArgument(
        f"Arrow type {dtype}: not one that the format stores; see arrow_types in docs/format.md"
    )


def parse(text: str) -> pa.DataType:
    """Arrow type of a text; InvalidArgument unless the text is the one spelling of a type."""
    tokens: list[str] = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise InvalidArgument(f"Arrow type {text[:80]!r}: nothing known at character {position}")
        tokens.append(match[0])
        position = match.end()
    tokens.reverse()
    try:
        dtype = _parse(tokens, 0)
    except (IndexError, ValueError) as error:
        raise InvalidArgument(f"Arrow type {text[:80]!r}: {error or 'ends too early'}") from None
    if tokens or spell(dtype) != text:
        raise InvalidArgument(f"Arrow type {text[:80]!r}: not the canonical spelling")
    return dtype


def schema_of(text: str) -> pa.Schema:
    """Schema whose fields are the members of a struct type's text."""
    dtype = parse(text)
    if not pa.types.is_struct(dtype):
        raise InvalidArgument(f"Arrow type {text[:80]!r}: a table needs a struct")
    return pa.schema(list(dtype))


def struct_of(members: Mapping[str, str]) -> str:
    """Text of the struct type of these members, given as texts by name."""
    return f"struct<{', '.join(f'{_spell_name(name)}: {text}' for name, text in members.items())}>"


def _spell_name(name: str) -> str:
    return name if _IDENTIFIER.fullmatch(name) else json.dumps(name, ensure_ascii=False)


def _take(tokens: list[str], wanted: str) -> None:
    got = tokens.pop()
    if got != wanted:
        raise ValueError(f"got {got!r} where {wanted!r} is allowed")


def _length(tokens: list[str]) -> int:
    got = tokens.pop()
    if not got.startswith("[") or not 1 <= int(got[1:-1]) < 1 << 31:
        raise ValueError(f"got {got!r} where a length from 1 to 2147483647 in brackets is allowed")
    return int(got[1:-1])


def _parse(tokens: list[str], depth: int) -> pa.DataType:
    if depth > MAX_ARROW_DEPTH:
        raise ValueError(f"nested deeper than {MAX_ARROW_DEPTH}")
    head = tokens.pop()
    if head in _SCALARS:
        return _SCALARS[head]
    if head == "fixed_size_binary":
        return pa.binary(_length(tokens))
    if head in ("list", "large_list", "fixed_size_list"):
        _take(tokens, "<")
        element = _parse(tokens, depth + 1)
        _take(tokens, ">")
        if head == "fixed_size_list":
            return pa.list_(element, _length(tokens))
        return pa.list_(element) if head == "list" else pa.large_list(element)
    if head == "struct":
        return _parse_struct(tokens, depth)
    raise ValueError(f"no type {head[:40]!r}")


def _parse_struct(tokens: list[str], depth: int) -> pa.DataType:
    _take(tokens, "<")
    fields: list[pa.Field] = []
    names: set[str] = set()
    while tokens[-1] != ">":
        if fields:
            _take(tokens, ", ")
        name = tokens.pop()
        if name.startswith('"'):
            name = json.loads(name)
        elif not _IDENTIFIER.fullmatch(name):
            raise ValueError(f"got {name!r} where a member's name is allowed")
        if name in names:
            raise ValueError(f"member {name[:40]!r} twice")
        names.add(name)
        _take(tokens, ": ")
        fields.append(pa.field(name, _parse(tokens, depth + 1)))
    tokens.pop()
    return pa.struct(fields)
