"""A dataset of a few kilobytes that has a file of every role, for sweeps over its bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from shards import Column, Provenance, ShardStore

DATASET = "tiny"


def build(root: Path, keys: tuple[str, ...] = ("2024-01", "2024-02")) -> ShardStore:
    """Write partitions of documents and records, a snapshot and a tag."""
    store = ShardStore(root)
    for position, key in enumerate(keys):
        with store.begin(DATASET, "documents", key) as attempt:
            schema = pa.schema([("_id", pa.large_binary()), ("n", pa.int64())])
            attempt.table("documents", schema).append(
                pa.table(
                    {"_id": pa.array([b"a", b"b"], pa.large_binary()), "n": [position, None]}, schema=schema
                )
            )
            attempt.commit(provenance=Provenance(source_alias="mongodb", run_id="r"))
        with store.begin(DATASET, "records", key) as attempt:
            attempt.column(Column("x", "npy", "<f4", (2,), mask="x__present")).append(
                np.ones((2, 2), "<f4") * position
            )
            attempt.column(Column("x__present", "npy", "|b1", kind="bool")).append(np.array([True, False]))
            words = attempt.column(Column("w", "arrow", arrow_type="large_list<large_string>", kind="list"))
            words.append(pa.array([["ä", "b"], None], pa.large_list(pa.large_string())))
            attempt.validity(np.array([True, True]))
            attempt.commit(inputs={"documents": 1}, statistics={"x": {"mean": 0.5}})
    with store.begin_snapshot(DATASET) as attempt:
        for key in keys:
            for asset in ("documents", "records"):
                version = store.latest(DATASET, asset, key)
                assert version is not None
                attempt.pin(version)
        attempt.index("train", np.array([0, 1], np.uint32))
        attempt.subset("few", parent="train", rows=np.array([1, 1, 0], np.uint32))
        attempt.vocabulary("w", pa.array(["ä", "b"]))
        attempt.commit(transforms={"x": [{"op": "standardize", "mean": [0.5], "std": [1.0]}]})
    store.tag(DATASET, "first", 1)
    return store


def read_everything(store: ShardStore) -> None:
    """Touch every value that a reader can reach."""
    snapshot = store.snapshot(DATASET)
    for name in snapshot.columns:
        rows = snapshot.column(name).read()
        rows.tolist() if isinstance(rows, np.ndarray) else rows.to_pylist()
    for split in snapshot.splits:
        snapshot.index(split).tolist()
    for subset in snapshot.subsets:
        snapshot.subset_index(subset).tolist()
    for column in snapshot.vocabularies:
        snapshot.vocabulary(column).to_pylist()
    for versions in snapshot.versions.values():
        for version in versions:
            version.validity().tolist()
            for table in version.tables:
                version.table(table).read().to_pylist()


def files(root: Path) -> list[Path]:
    """Every file of the dataset once, though a manifest has two names."""
    found = {path.stat().st_ino: path for path in sorted(root.rglob("*")) if path.is_file()}
    return sorted(found.values())
