"""What the walker has to do, said a second time in plain Python: slow, short, and sharing no code with it."""

from __future__ import annotations

import datetime
import struct
from collections.abc import Sequence
from typing import Any

from assets.mongo.fields import AnyOf, Field, FieldType, ListOf, Struct

NULLS = (0x06, 0x0A)
FIXED = {1: 8, 6: 0, 7: 12, 8: 1, 9: 8, 10: 0, 16: 4, 17: 8, 18: 8, 19: 16, 127: 0, 255: 0}
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


class Unfit(Exception):
    """The document does not fit the fields."""


class Value:
    """One BSON value: type, bytes, and the elements of a document or array."""

    __slots__ = ("bson_type", "data", "elements")

    def __init__(self, bson_type: int, data: bytes) -> None:
        self.bson_type = bson_type
        self.data = data
        self.elements = parse(data) if bson_type in (3, 4) else []


def parse(data: bytes) -> list[tuple[bytes, Value]]:
    """Divide a valid document into its elements."""
    place, found = 4, []
    while place < len(data) - 1:
        bson_type = data[place]
        end = data.index(0, place + 1)
        name, place = data[place + 1 : end], end + 1
        length = int.from_bytes(data[place : place + 4], "little", signed=True)
        if bson_type in FIXED:
            size = FIXED[bson_type]
        elif bson_type in (2, 13, 14):
            size = 4 + length
        elif bson_type in (3, 4, 15):
            size = length
        elif bson_type == 5:
            size = 5 + length
        elif bson_type == 12:
            size = 16 + length
        else:  # a regular expression: two texts
            size = data.index(0, data.index(0, place) + 1) + 1 - place
        found.append((name, Value(bson_type, data[place : place + size])))
        place += size
    return found


def extract(data: bytes, fields: Sequence[Field]) -> dict[str, Any]:
    """The row of a valid document.

    Raises
    ------
    Unfit
        When the walker must reject it.
    """
    root = Value(3, data)
    return {field.name: _field(root, field.path.split("."), field.type, field) for field in fields}


def _field(value: Value, segments: list[str], type_: FieldType, field: Field) -> Any:
    found = _follow(value, segments)
    if isinstance(found, tuple):
        array, rest = found
        if array.bson_type in NULLS:
            return _absent(field)
        if array.bson_type != 4 or not isinstance(type_, ListOf):
            raise Unfit
        plain = Field(
            field.name, ".".join(rest), type_.element, True, field.coerce, field.minimum, field.maximum
        )
        elements = [
            _field(element, rest, type_.element, plain) if rest else _element(element, type_.element, field)
            for _, element in array.elements
        ]
        if type_.length not in (None, len(elements)):
            raise Unfit
        return elements
    if found is None or found.bson_type in NULLS:
        if found is not None and field.keep_null:
            return _scalar(found, "raw", field)
        return _absent(field)
    return _convert(found, type_, field)


def _absent(field: Field) -> None:
    if field.required:
        raise Unfit


def _follow(value: Value, segments: list[str]) -> Value | tuple[Value, list[str]] | None:
    """The value at a path; the array and the rest of the path where a `*` is met; None for nothing."""
    for number, segment in enumerate(segments):
        if segment == "*":
            return value, segments[number + 1 :]
        if value.bson_type in NULLS:
            return None
        if value.bson_type == 4 and segment.isdigit():
            index = int(segment)
            if index >= len(value.elements):
                return None
            value = value.elements[index][1]
            continue
        if value.bson_type != 3:
            raise Unfit
        named = [element for name, element in value.elements if name == segment.encode()]
        if len(named) > 1:
            raise Unfit
        if not named:
            return None
        value = named[0]
    return value


def _element(value: Value, type_: FieldType, field: Field) -> Any:
    if value.bson_type in NULLS and type_ != "raw":
        raise Unfit
    return _convert(value, type_, field)


def _convert(value: Value, type_: FieldType, field: Field) -> Any:
    if isinstance(type_, ListOf):
        if value.bson_type != 4:
            raise Unfit
        elements = [_element(element, type_.element, field) for _, element in value.elements]
        if type_.length not in (None, len(elements)):
            raise Unfit
        return elements
    if isinstance(type_, Struct):
        if value.bson_type != 3:
            raise Unfit
        return {
            member.name: _field(value, member.path.split("."), member.type, member)
            for member in type_.members
        }
    if isinstance(type_, AnyOf):
        for alternative in type_.alternatives:
            try:
                chosen = _scalar(value, alternative, field)
            except WrongType:
                continue
            return {name: chosen if name == alternative else None for name in type_.alternatives}
        raise Unfit
    return _scalar(value, type_, field)


class WrongType(Unfit):
    """The value is of another type; an alternative may still take it."""


def _scalar(value: Value, type_: str, field: Field) -> Any:
    bson_type, data = value.bson_type, value.data
    if type_ == "raw":
        return bytes([bson_type]) + data
    if type_ in ("int64", "uint64", "float64"):
        number = _number(bson_type, data, type_)
        if type_ == "uint64" and number < 0:
            raise Unfit
        if field.minimum is not None and number < field.minimum:
            raise Unfit
        if field.maximum is not None and number > field.maximum:
            raise Unfit
        return number
    wanted = {"string": 2, "bool": 8, "timestamp": 9, "objectid": 7, "decimal128": 19, "binary": 5, "uuid": 5}
    if bson_type != wanted[type_]:
        raise WrongType
    if type_ == "string":
        return data[4:-1].decode()
    if type_ == "bool":
        return data == b"\x01"
    if type_ == "timestamp":
        return struct.unpack("<q", data)[0]
    if type_ in ("binary", "uuid"):
        subtype = data[4]
        if (subtype in (3, 4)) != (type_ == "uuid") or (type_ == "uuid" and len(data) != 21):
            raise WrongType
        return data[9:] if subtype == 2 else data[5:]
    return data


def _number(bson_type: int, data: bytes, type_: str) -> Any:
    if bson_type == 1 and type_ == "float64":
        return struct.unpack("<d", data)[0]
    if bson_type not in (16, 18):
        raise WrongType
    whole = int.from_bytes(data, "little", signed=True)
    if type_ != "float64":
        return whole
    if int(float(whole)) != whole:
        raise Unfit
    return float(whole)
