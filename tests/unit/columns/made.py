"""Documents made by hand: what the extraction would publish for rows of Python values."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
from bson import encode
from bson.objectid import ObjectId

from assets.columns.build import fields_of_records
from assets.mongo.schema import documents_schema
from assets.spec import DatasetSpec
from shards import ShardStore, Version


def raw(value: object) -> bytes:
    """Give a value as its BSON type byte and bytes."""
    body = encode({"v": value})
    return body[4:5] + body[7:-1]


def raws(values: Sequence[object]) -> pa.Array:
    """Give raw values as an Arrow array."""
    return pa.array([raw(value) for value in values], pa.large_binary())


def object_ids(num_rows: int, partition: str = "all") -> list[ObjectId]:
    """Give ids that are the same in every run, so that splits are, and others in every partition."""
    head = zlib.crc32(partition.encode()).to_bytes(4, "big")
    return [ObjectId(head + row.to_bytes(8, "big")) for row in range(num_rows)]


def spec_of(columns: Mapping[str, Any], **more: Any) -> DatasetSpec:
    """Give a dataset of these columns; a column's path is its name unless it says otherwise."""
    declared = {
        name: column if "path" in column or "paths" in column else {"path": name, **column}
        for name, column in columns.items()
    }
    checks = {"max_reject_share": 1.0, **more.pop("checks", {})}
    return DatasetSpec.model_validate(
        {
            "name": "made",
            "source": {"database": "d", "collection": "c"},
            "columns": declared,
            "checks": checks,
            **more,
        }
    )


def publish(
    store: ShardStore,
    spec: DatasetSpec,
    values: Mapping[str, Sequence[Any]],
    partition: str = "all",
    ids: Sequence[object] | None = None,
    batch_rows: int = 1_000,
) -> Version:
    """Publish documents; `values` has the columns by field name, raw fields as Python values."""
    num_rows = len(next(iter(values.values())))
    schema = documents_schema(fields_of_records(spec))
    raw_names = {field.name for field in fields_of_records(spec) if field.type == "raw"}
    columns = [raws(ids if ids is not None else object_ids(num_rows, partition))]
    for field in schema:
        if field.name == "_id":
            continue
        given = values[field.name]
        if field.name in raw_names:
            given = [None if value is None else raw(value) for value in given]
        columns.append(pa.array(given, field.type))
    table = pa.Table.from_arrays(columns, names=schema.names)
    with store.begin(spec.name, "documents", partition) as attempt:
        writer = attempt.table("documents", table.schema)
        for batch in table.cast(writer.schema).to_batches(batch_rows):
            writer.append(batch)
        return attempt.commit().version
