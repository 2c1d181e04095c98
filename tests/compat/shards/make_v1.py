"""How the golden dataset of format version 1 was made; run once, kept as it came out.

`python -m tests.compat.shards.make_v1 DIRECTORY`
"""

from __future__ import annotations

import sys
from datetime import datetime, timezone

import numpy as np
import pyarrow as pa

from shards import Column, Provenance, ShardStore

DATASET = "golden"
DTYPES = ("|b1", "|i1", "|u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8", "<f2", "<f4", "<f8")
KEYS = ("2024-01", "Köln/süd")


def main(root: str) -> None:
    """Write a dataset with every encoding that version 1 has."""
    store = ShardStore(root)
    for position, key in enumerate(KEYS):
        with store.begin(DATASET, "documents", key) as attempt:
            schema = pa.schema([("_id", pa.large_binary()), ("when", pa.timestamp("ms", tz="UTC"))])
            when = [datetime(2024, 1, 1 + row, tzinfo=timezone.utc) for row in range(4)]
            documents = pa.table({"_id": [b"%d" % row for row in range(4)], "when": when}, schema=schema)
            attempt.table("documents", schema).append(documents)
            attempt.table("rejects", pa.schema([("_id", pa.string())]))
            attempt.commit(provenance=Provenance(source_alias="mongodb", collection="db.c", run_id="golden"))
        with store.begin(DATASET, "records", key, shard_bytes=24) as attempt:
            for dtype in DTYPES:
                rows = (np.arange(4) + position).astype(dtype)
                attempt.column(Column(f"c_{dtype[1:]}", "npy", dtype)).append(rows)
            matrix = np.arange(4 * 6, dtype="<f4").reshape(4, 2, 3) + position
            attempt.column(Column("matrix", "npy", "<f4", (2, 3), kind="vector", mask="c_b1")).append(matrix)
            lists = pa.array([[1], [], None, [2, 3]], pa.large_list(pa.int64()))
            attempt.column(Column("lists", "arrow", arrow_type="large_list<int64>", kind="list")).append(
                lists
            )
            record = pa.array(
                [{"a b": "ä", "n": 1.5}, None, {"a b": None, "n": 2.5}, {"a b": "z", "n": None}]
            )
            text = 'struct<"a b": string, n: float64>'
            attempt.column(Column("record", "arrow", arrow_type=text, kind="record")).append(record)
            attempt.validity(np.array([True, True, False, True]))
            attempt.commit(
                inputs={"documents": 1}, statistics={"c_f4": {"mean": 1.5}}, metadata={"note": "x"}
            )
        with store.begin(DATASET, "images", key) as attempt:
            shape = "struct<data: large_binary, shape: fixed_size_list<int32>[3]>"
            column = Column("image", "arrow", arrow_type=shape, kind="image", attributes={"dtype": "|u1"})
            pictures = [{"data": bytes(range(3 * (row + 1))), "shape": [1, row + 1, 3]} for row in range(4)]
            attempt.column(column).append(pa.array(pictures, column.pyarrow_type))
            attempt.commit(inputs={"documents": 1})
    with store.begin_snapshot(DATASET) as snapshot:
        for asset in ("documents", "records", "images"):
            for key in KEYS:
                version = store.latest(DATASET, asset, key)
                assert version is not None
                snapshot.pin(version)
        snapshot.index("train", np.array([0, 1, 3, 4], np.uint32))
        snapshot.index("test", np.array([5, 7], np.uint64))
        snapshot.index("none", np.array([], np.uint32))
        snapshot.subset("balanced", parent="train", rows=np.array([4, 0, 0], np.uint32))
        snapshot.vocabulary("color", pa.array(["red", "green"]))
        snapshot.commit(
            statistics={"c_f4": {"mean": 2.0, "std": 1.0}},
            transforms={"c_f4": [{"op": "standardize", "mean": [2.0], "std": [1.0]}]},
        )
    store.tag(DATASET, "v1", 1)


if __name__ == "__main__":
    main(sys.argv[1])
