"""What record columns, splits and deduplication need from a document."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from assets.columns.splits import fields_of_splits
from assets.mongo.fields import AnyOf, Field, FieldType, ListOf, Scalar, Struct
from assets.spec import DatasetSpec
from assets.spec.columns import (
    BinaryColumn,
    BoolColumn,
    CategoryColumn,
    DatetimeColumn,
    EmbeddingColumn,
    IdColumn,
    ListColumn,
    MultilabelColumn,
    NumberColumn,
    RecordColumn,
    RecordMember,
    TextColumn,
    VectorColumn,
)

DEDUP_FIELD = "_dedup_{index}"

_MEMBER_TYPES: dict[str, Scalar] = {"datetime": "timestamp"}


def fields_of_records(spec: DatasetSpec) -> list[Field]:
    """List every field that the `records` and `snapshot` assets read from `documents`."""
    fields = [
        field for name, column in spec.record_columns.items() for field in fields_of_column(name, column)
    ]
    fields += fields_of_splits(spec)
    if spec.dedup is not None and spec.dedup.fields is not None:
        fields += [
            Field(DEDUP_FIELD.format(index=index), path, "raw", required=False)
            for index, path in enumerate(spec.dedup.fields)
        ]
    return fields


def fields_of_column(name: str, column: Any) -> list[Field]:
    """List the fields of one record column; their names begin with the column's."""
    match column:
        case VectorColumn():
            return _of_vector(name, column)
        case NumberColumn():
            kind, low, high = number_field(column.dtype, column.minimum, column.maximum)
            return [_field(name, column, kind, low, high)]
        case ListColumn():
            return [_of_list(name, column)]
        case CategoryColumn():
            return [_field(name, column, category_type(column))]
        case MultilabelColumn():
            return [_field(name, column, ListOf(type_of_values(column.values)))]
        case RecordColumn():
            return [_field(name, column, _struct(column.members))]
        case BoolColumn():
            return [_field(name, column, "bool")]
        case DatetimeColumn():
            return [_field(name, column, "timestamp")]
        case TextColumn():
            return [_field(name, column, "string")]
        case IdColumn():
            return [_field(name, column, column.type)]
        case BinaryColumn():
            return [_field(name, column, "binary")]
        case EmbeddingColumn():
            return [_field(name, column, "raw")]
    raise TypeError(f"column {name!r}: {type(column).__name__} is no record column")


def number_field(
    dtype: str, minimum: float | None, maximum: float | None
) -> tuple[Scalar, float | None, float | None]:
    """Give the field type of a NumPy dtype and the bounds that it and the column set together."""
    if dtype.startswith("float"):
        return "float64", minimum, maximum
    info = np.iinfo(dtype)
    low: float | None = info.min if minimum is None else max(info.min, math.ceil(minimum))
    high: float | None = info.max if maximum is None else min(info.max, math.floor(maximum))
    if dtype == "uint64":
        return "uint64", low if low else None, None if high == info.max else high
    if dtype == "int64":
        return "int64", None if low == info.min else low, None if high == info.max else high
    return "int64", low, high


def category_type(column: CategoryColumn) -> Scalar | AnyOf:
    """Give the field type of a category."""
    return column.type if column.values is None else type_of_values(column.values)


def type_of_values(values: Any) -> Any:
    """Give the field type of a declared list of strings, whole numbers or truth values."""
    kinds: list[Scalar] = []
    for value in values:
        kind: Scalar = "string" if isinstance(value, str) else "bool" if isinstance(value, bool) else "int64"
        if kind not in kinds:
            kinds.append(kind)
    return kinds[0] if len(kinds) == 1 else AnyOf(tuple(kinds))


def _field(
    name: str, column: Any, kind: FieldType, minimum: float | None = None, maximum: float | None = None
) -> Field:
    return Field(name, column.path, kind, column.missing == "required", column.coerce, minimum, maximum)


def _of_vector(name: str, column: VectorColumn) -> list[Field]:
    kind, low, high = number_field(column.dtype, column.minimum, column.maximum)
    required = column.missing == "required"
    if column.path is not None:
        return [Field(name, column.path, ListOf(kind, column.length), required, column.coerce, low, high)]
    return [
        Field(f"{name}__{index}", path, kind, required, column.coerce, low, high)
        for index, path in enumerate(column.paths or ())
    ]


def _of_list(name: str, column: ListColumn) -> Field:
    low = high = None
    if column.element in ("string", "bool"):
        kind: FieldType = "string" if column.element == "string" else "bool"
    else:
        kind, low, high = number_field(column.element, column.minimum, column.maximum)
    for _ in range(column.depth):
        kind = ListOf(kind)
    return _field(name, column, kind, low, high)


def _struct(members: dict[str, RecordMember]) -> Struct:
    return Struct(
        tuple(
            Field(name, name, _member_type(member), member.missing == "required")
            for name, member in members.items()
        )
    )


def _member_type(member: RecordMember) -> FieldType:
    if member.type == "record":
        return _struct(member.members or {})
    if member.type == "list":
        return ListOf(member.element or "int64")
    return _MEMBER_TYPES.get(member.type, member.type)  # type: ignore[arg-type]
