"""A dataset with a column of every kind, for commands and exports."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from shards import Column, ShardStore

DATASET = "kinds"
NUM_ROWS = 12


def build(store: ShardStore, *, shift: int = 0) -> None:
    """Write documents, images and records of one partition, and a snapshot."""
    rows = np.arange(NUM_ROWS)
    with store.begin(DATASET, "documents") as attempt:
        schema = pa.schema([("_id", pa.large_binary())])
        ids = pa.array([bytes([row]) for row in rows], pa.large_binary())
        attempt.table("documents", schema).append(pa.table({"_id": ids}))
        documents = attempt.commit().version
    inputs = {"documents": documents.number}
    with store.begin(DATASET, "images", shard_bytes=1000) as attempt:
        picture = Column("picture", "npy", "|u1", (8, 6, 3), kind="image", attributes={"layout": "hwc"})
        attempt.column(picture).append(
            (rows[:, None, None, None] * 20 + np.arange(3)).repeat(8, 1).repeat(6, 2).astype("|u1")
        )
        varying = Column(
            "varying",
            "arrow",
            arrow_type="struct<data: large_binary, shape: fixed_size_list<int32>[3]>",
            kind="image",
            attributes={"dtype": "|u1"},
        )
        attempt.column(varying).append(
            pa.array([{"data": bytes(2 * (row + 1)), "shape": [2, row + 1, 1]} for row in rows.tolist()],
                     varying.pyarrow_type)
        )  # fmt: skip
        attempt.commit(inputs=inputs)
    with store.begin(DATASET, "records") as attempt:
        attempt.column(Column("age", "npy", "<f4")).append((rows + shift).astype("<f4"))
        attempt.column(Column("vector", "npy", "<f8", (3,), kind="vector")).append(np.ones((NUM_ROWS, 3)))
        attempt.column(Column("color", "npy", "<i2", kind="category")).append((rows % 2).astype("<i2"))
        attempt.column(Column("words", "arrow", arrow_type="large_list<string>", kind="list")).append(
            pa.array([["a"] * row for row in rows.tolist()], pa.large_list(pa.string()))
        )
        attempt.column(Column("text", "arrow", arrow_type="large_string", kind="text")).append(
            pa.array([f"text {row}" for row in rows.tolist()], pa.large_string())
        )
        attempt.commit(inputs=inputs, statistics={"age": {"mean": 5.5 + shift}})
    with store.begin_snapshot(DATASET) as snapshot:
        for asset in ("documents", "images", "records"):
            version = store.latest(DATASET, asset)
            assert version is not None
            snapshot.pin(version)
        snapshot.index("train", np.arange(0, 10, dtype=np.uint32))
        snapshot.index("test", np.arange(10, NUM_ROWS, dtype=np.uint32))
        snapshot.vocabulary("color", pa.array(["red", "green"]))
        snapshot.commit(statistics={"age": {"mean": 4.5 + shift}})
