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

ID = Field("_id", "_id", "raw", keep_null=True)
"""The first column of every `documents` table: the value of `_id`, its BSON type byte first."""

REJECTS = pa.schema(
    [
        ("_id", pa.large_string()),
        ("path", pa.large_string()),
        ("reason", pa.large_string()),
        ("expected", pa.large_string()),
        ("got", pa.large_string()),
        ("field", pa.large_string()),
    ]
)
"""One row a document that does not fit; `_id` is extended JSON, null where it cannot be read."""


def arrow_type(type_: FieldType) -> pa.DataType:
    """Arrow type of a field's type."""
    if isinstance(type_, ListOf):
        element = arrow_type(type_.element)
        return pa.large_list(element) if type_.length is None else pa.list_(element, type_.length)
    if isinstance(type_, Struct):
        return pa.struct([(member.name, arrow_type(member.type)) for member in type_.members])
    if isinstance(type_, AnyOf):
        return pa.struct([(name, SCALARS[name]) for name in type_.alternatives])
    return SCALARS[type_]


def fields_schema(fields: Sequence[Field]) -> pa.Schema:
    """Arrow schema of fields in order; all nullable, as the shard format keeps no nullability."""
    return pa.schema([(one.name, arrow_type(one.type)) for one in fields])


def documents_schema(fields: Sequence[Field]) -> pa.Schema:
    """Schema of the `documents` table: `_id`, then the fields in order."""
    return fields_schema((ID, *fields))


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
