"""Small datasets of every kind of column, written by the store itself."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from shards import Column, Provenance, ShardStore

PROVENANCE = Provenance("test", "test", "0" * 32, None, "test", None)


def write(
    root: Path,
    columns: Mapping[str, tuple[Column, Any]],
    splits: Mapping[str, Any],
    *,
    name: str = "demo",
    num_partitions: int = 1,
    shard_bytes: int = 256 << 20,
    transforms: Mapping[str, Any] | None = None,
    subsets: Mapping[str, tuple[str, Any]] | None = None,
    vocabularies: Mapping[str, pa.Array] | None = None,
) -> Path:
    """Write whole columns, cut into partitions and shards, and one snapshot; give the dataset's path."""
    store = ShardStore(root)
    num_rows = len(next(iter(columns.values()))[1])
    edges = np.linspace(0, num_rows, num_partitions + 1).astype(int)
    pins = []
    for number, (low, high) in enumerate(itertools.pairwise(edges)):
        key = "all" if num_partitions == 1 else f"{number:04d}"
        with store.begin(name, "documents", key, shard_bytes=shard_bytes) as attempt:
            table = attempt.table("documents", pa.schema([pa.field("_id", pa.int64())]))
            table.append(pa.table({"_id": pa.array(np.arange(low, high))}))
            documents = attempt.commit(provenance=PROVENANCE).version
        with store.begin(name, "records", key, shard_bytes=shard_bytes) as attempt:
            for column, values in columns.values():
                attempt.column(column).append(values[low:high])
            records = attempt.commit(provenance=PROVENANCE, inputs={"documents": documents.number}).version
        pins += [documents, records]
    with store.begin_snapshot(name) as attempt:
        for version in pins:
            attempt.pin(version)
        for split, rows in splits.items():
            attempt.index(split, np.asarray(rows, np.uint32))
        for subset, (parent, rows) in (subsets or {}).items():
            attempt.subset(subset, parent=parent, rows=np.asarray(rows, np.uint32))
        for column_name, values in (vocabularies or {}).items():
            attempt.vocabulary(column_name, values)
        attempt.commit(provenance=PROVENANCE, transforms=dict(transforms or {}))
    return root / name


def pictures(num_rows: int, side_px: int = 8, channels: int = 3) -> np.ndarray:
    """Pictures of uint8 that differ in every row."""
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (num_rows, side_px, side_px, channels), dtype=np.uint8)


def mixed(root: Path, num_rows: int = 500, **options: Any) -> tuple[Path, dict[str, Any]]:
    """Write a dataset with one column of every kind; give its path and the values."""
    rng = np.random.default_rng(1)
    lists = [rng.integers(0, 99, rng.integers(0, 7)).tolist() for _ in range(num_rows)]
    nested = [[rng.random(rng.integers(0, 4)).tolist() for _ in range(rng.integers(0, 3))] for _ in lists]
    texts = [f"text {number} " + "äöü"[: number % 4] * (number % 5) for number in range(num_rows)]
    records = [
        {
            "source": f"s{number % 4}",
            "score": None if number % 7 == 0 else number / 8,
            "tags": [f"t{k}" for k in range(number % 3)],
            "flag": number % 2 == 0,
            "lang": {"code": "en" if number % 3 else "de", "conf": number / 3},
        }
        for number in range(num_rows)
    ]
    records[5] = None
    values: dict[str, Any] = {
        "image": pictures(num_rows),
        "label": rng.integers(0, 10, num_rows),
        "age": rng.random(num_rows).astype(np.float32),
        "age__present": rng.random(num_rows) < 0.8,
        "vector": rng.standard_normal((num_rows, 5)).astype(np.float32),
        "tokens": lists,
        "nested": nested,
        "text": texts,
        "raw": [text.encode()[:5] for text in texts],
        "words": [text.split() for text in texts],
        "record": records,
        "moment": np.arange(num_rows) * 1000,
    }
    record_type = (
        "struct<source: large_string, score: float64, tags: large_list<large_string>, flag: bool, "
        "lang: struct<code: string, conf: float64>>"
    )
    described = [
        Column("image", "npy", "|u1", (8, 8, 3), kind="image", attributes={"layout": "hwc", "mode": "rgb"}),
        Column("label", "npy", "<i8", kind="category"),
        Column("age", "npy", "<f4", mask="age__present"),
        Column("age__present", "npy", "|b1", kind="bool"),
        Column("vector", "npy", "<f4", (5,), kind="vector"),
        Column("tokens", "arrow", arrow_type="large_list<int64>", kind="list"),
        Column("nested", "arrow", arrow_type="large_list<large_list<float64>>", kind="list"),
        Column("text", "arrow", arrow_type="large_string", kind="text"),
        Column("raw", "arrow", arrow_type="large_binary", kind="binary"),
        Column("words", "arrow", arrow_type="list<string>", kind="list"),
        Column("record", "arrow", arrow_type=record_type, kind="record"),
        Column("moment", "arrow", arrow_type="timestamp[ms, UTC]", kind="datetime"),
    ]
    columns = {}
    for column in described:
        given = values[column.name]
        if column.encoding == "arrow":
            kind = column.pyarrow_type
            given = (
                pa.array(given, pa.int64()).cast(kind) if column.name == "moment" else pa.array(given, kind)
            )
        columns[column.name] = (column, given)
    train = np.flatnonzero(np.arange(num_rows) % 5 != 0)
    test = np.flatnonzero(np.arange(num_rows) % 5 == 0)
    path = write(root, columns, {"train": train, "test": test}, **options)
    return path, values | {"train": train, "test": test}


def demo(root: Path, num_rows: int) -> None:
    """Write what the examples read of the demo's datasets: `digits` and `tumors`, of chance values."""
    rng = np.random.default_rng(2)
    gray = Column(
        "image", "npy", "<f4", (8, 8, 1), kind="image", attributes={"layout": "hwc", "mode": "gray"}
    )
    columns = {
        "digits": {
            "image": (gray, rng.random((num_rows, 8, 8, 1), np.float32)),
            "digit": (
                Column("digit", "npy", "|u1", kind="category"),
                (np.arange(num_rows) % 10).astype(np.uint8),
            ),
        },
        "tumors": {
            **{
                name: (
                    Column(name, "npy", "<f4", (10,), kind="vector"),
                    rng.random((num_rows, 10), np.float32),
                )
                for name in ("mean", "error", "worst")
            },
            "diagnosis": (
                Column("diagnosis", "npy", "|u1", kind="category"),
                (np.arange(num_rows) % 2).astype(np.uint8),
            ),
        },
    }
    is_test = np.arange(num_rows) % 5 == 0
    splits = {"train": np.flatnonzero(~is_test), "test": np.flatnonzero(is_test)}
    for name, described in columns.items():
        write(root, described, splits, name=name)
