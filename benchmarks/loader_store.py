"""The benchmark's data in this project's store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks import loader_data
from shards import Column, Provenance, ShardStore

PROVENANCE = Provenance("benchmark", "benchmark", "0" * 32, None, "benchmark", None)
META = "struct<source: large_string, score: float64, lang: struct<code: large_string, conf: float64>>"


def build(directory: Path, kind: str) -> Path:
    """Write the dataset of a kind unless it is there; give its path."""
    store = ShardStore(directory / "store")
    if kind in store.datasets() and store.versions(kind, "snapshot"):
        return directory / "store" / kind
    columns = _columns(directory, kind)
    size = len(columns[0][1])
    with store.begin(kind, "documents") as attempt:
        attempt.table("documents", pa.schema([pa.field("_id", pa.int64())])).append(
            pa.table({"_id": pa.array(np.arange(size))})
        )
        documents = attempt.commit(provenance=PROVENANCE).version
    with store.begin(kind, "records") as attempt:
        for column, values in columns:
            writer = attempt.column(column)
            for start in range(0, size, 4096):
                writer.append(values[start : start + 4096])
        records = attempt.commit(provenance=PROVENANCE, inputs={"documents": documents.number}).version
    with store.begin_snapshot(kind) as snapshot:
        snapshot.pin(documents)
        snapshot.pin(records)
        snapshot.index("train", np.arange(size, dtype=np.uint32))
        snapshot.commit(provenance=PROVENANCE)
    return directory / "store" / kind


def _columns(directory: Path, kind: str) -> list[tuple[Column, Any]]:
    found = loader_data.arrays(directory, kind)
    if kind == "images":
        side = loader_data.SIDE_PX
        return [
            (Column("image", "npy", "|u1", (side, side, 3), kind="image"), found["image"]),
            (Column("label", "npy", "<i8", kind="category"), found["label"]),
            (_text("id"), pa.array(found["id"].astype(str), pa.large_string())),
        ]
    if kind == "rows":
        return [
            (Column("x", "npy", "<f4", (32,), kind="vector"), found["x"]),
            (Column("label", "npy", "<i8", kind="category"), found["label"]),
            (Column("category", "npy", "<i4", kind="category"), found["category"]),
        ]
    text, meta = loader_data.texts(directory)
    tokens = pa.LargeListArray.from_arrays(pa.array(found["offsets"]), pa.array(found["tokens"]))
    described = Column("meta", "arrow", arrow_type=META, kind="record")
    return [
        (Column("tokens", "arrow", arrow_type="large_list<int64>", kind="list"), tokens),
        (_text("text"), pa.array(text, pa.large_string())),
        (described, pa.array(meta, described.pyarrow_type)),
        (Column("a", "npy", "<f8"), found["ab"][:, 0]),
        (Column("b", "npy", "<f8"), found["ab"][:, 1]),
    ]


def _text(name: str) -> Column:
    return Column(name, "arrow", arrow_type="large_string", kind="text")
