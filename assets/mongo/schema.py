"""Arrow types of fields, as documented for the `documents` asset."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from assets.mongo.fields import AnyOf, Field, FieldType, ListOf, Struct

SCALARS: dict[str, pa.DataType] = {
    "int64": pa.int64(),
    "uint64": pa.uint64(),
    "float64": pa.float64(),
    "bool": pa.bool_(),
    "timestamp": pa.timestamp("ms", tz="UTC"),
    "string": pa.large_string(),
    "binary": pa.large_binary(),
    "objectid": pa.binary(12),
    "uuid": pa.binary(16),
    "decimal128": pa.binary(16),
    "raw": pa.large_binary(),
}

ID = Field("_id", "_id", "raw")
"""The first column of every `documents` table: the value of `_id`, its BSON type byte first."""

REJECTS = pa.schema(
    [
        pa.field("_id", pa.large_string(), nullable=True),
        pa.field("path", pa.large_string(), nullable=False),
        pa.field("reason", pa.large_string(), nullable=False),
        pa.field("expected", pa.large_string(), nullable=False),
        pa.field("got", pa.large_string(), nullable=False),
        pa.field("field", pa.large_string(), nullable=False),
    ]
)
"""One row a document that does not fit; `_id` is extended JSON, null where it cannot be read."""


def arrow_type(type_: FieldType) -> pa.DataType:
    """Arrow type of a field's type."""
    if isinstance(type_, ListOf):
        element = pa.field("item", arrow_type(type_.element), nullable=False)
        if type_.length is None:
            return pa.large_list(element)
        return pa.list_(element, type_.length)
    if isinstance(type_, Struct):
        return pa.struct([arrow_field(member) for member in type_.members])
    if isinstance(type_, AnyOf):
        return pa.struct([pa.field(name, SCALARS[name]) for name in type_.alternatives])
    return SCALARS[type_]


def arrow_field(one: Field) -> pa.Field:
    """Arrow field of a field; nullable exactly when the value may be absent."""
    return pa.field(one.name, arrow_type(one.type), nullable=not one.required)


def documents_schema(fields: Sequence[Field]) -> pa.Schema:
    """Schema of the `documents` table: `_id`, then the fields in order."""
    return pa.schema([arrow_field(one) for one in (ID, *fields)])


def describe(type_: FieldType) -> str:
    """The type as people read it in a reject."""
    if isinstance(type_, ListOf):
        length = "" if type_.length is None else f"{type_.length} "
        return f"list of {length}{describe(type_.element)}"
    if isinstance(type_, Struct):
        return "document"
    if isinstance(type_, AnyOf):
        return " or ".join(type_.alternatives)
    return "any value" if type_ == "raw" else type_
