"""Data of the records benchmark: documents as extraction leaves them, and the dataset declared over them.

Nine fields of an event: three numbers to standardize (one with NaN), an integer to scale by its extremes, two
strings for vocabularies, one to hash, a list of 32 doubles, and the ObjectId that decides the split.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from assets.columns.build import fields_of_records
from assets.mongo.schema import documents_schema
from assets.spec import DatasetSpec
from shards import ShardStore

BATCH_ROWS = 50_000
STANDARDIZED = ("score", "price", "rating")
VOCABULARIES = ("category", "country")
BUCKETS = 1_024
LENGTH = 32

SPEC = DatasetSpec.model_validate(
    {
        "name": "events",
        "source": {"database": "bench", "collection": "events"},
        "columns": {
            "score": {"kind": "number", "path": "score", "transform": ["standardize"]},
            "price": {"kind": "number", "path": "price", "transform": ["standardize"]},
            "rating": {
                "kind": "number",
                "path": "rating",
                "missing": "nan",
                "transform": ["impute", "standardize"],
            },
            "age": {"kind": "number", "path": "age", "missing": "nan", "transform": ["impute", "min_max"]},
            "category": {"kind": "category", "path": "category"},
            "country": {"kind": "category", "path": "country"},
            "name": {"kind": "category", "path": "name", "hash_buckets": BUCKETS},
            "emb": {"kind": "vector", "path": "emb", "length": LENGTH},
        },
    }
)


def batches(num_rows: int) -> Iterator[pa.RecordBatch]:
    """Make the documents, 50,000 at a time; the same for the same number of rows."""
    schema = documents_schema(fields_of_records(SPEC))
    for start in range(0, num_rows, BATCH_ROWS):
        rng = np.random.default_rng(start)
        num = min(BATCH_ROWS, num_rows - start)
        rows = np.arange(start, start + num)
        ids = np.zeros((num, 13), np.uint8)
        ids[:, 0] = 7
        ids[:, 5:] = rows.astype(">u8").view(np.uint8).reshape(num, 8)
        rating = rng.random(num) * 5
        rating[rng.random(num) < 0.02] = np.nan
        values = {
            "_id": pa.array([row.tobytes() for row in ids], pa.large_binary()),
            "score": pa.array(rng.random(num)),
            "price": pa.array(np.round(rng.random(num) * 1_000, 2)),
            "rating": pa.array(rating, mask=rng.random(num) < 0.03),
            "age": pa.array(rng.integers(18, 78, num).astype(np.float64), mask=rng.random(num) < 0.1),
            "category": pa.array([f"cat_{row % 57}" for row in rows], pa.large_string()),
            "country": pa.array([("DE", "US", "JP", "FR", "BR")[row % 5] for row in rows], pa.large_string()),
            "name": pa.array([f"user name {row % 9_973}" for row in rows], pa.large_string()),
            "emb": pa.FixedSizeListArray.from_arrays(
                pa.array(rng.standard_normal(num * LENGTH).astype(np.float32).astype(np.float64)), LENGTH
            ),
        }
        arrays = [values[field.name].cast(field.type) for field in schema]
        yield pa.record_batch(arrays, schema=schema)


def publish(store: ShardStore, num_rows: int) -> None:
    """Publish the documents, unless the store has as many already."""
    latest = store.latest(SPEC.name, "documents")
    if latest is not None and latest.num_rows == num_rows:
        return
    with store.begin(SPEC.name, "documents") as attempt:
        writer = None
        for batch in batches(num_rows):
            if writer is None:
                writer = attempt.table("documents", batch.schema)
            writer.append(pa.record_batch(batch.columns, schema=writer.schema))
        attempt.commit()
