"""One small commit, snapshot and collection over a real directory, as a program that can be killed anywhere.

`python -m tests.crash.shards.commits ROOT SEED LEDGER` appends a line to LEDGER, synced, after every outcome.
"""

from __future__ import annotations

import os
import sys

import numpy as np
import pyarrow as pa

from shards import Column, ShardStore

DATASET, ASSET = "crash", "records"


def commit(store: ShardStore, seed: int) -> int:
    """Publish content that is a function of the seed; the number."""
    with store.begin(DATASET, ASSET, shard_bytes=4096) as attempt:
        attempt.column(Column("x", "npy", "<i8")).append(np.arange(1000, dtype="<i8") + seed)
        text = attempt.column(Column("t", "arrow", arrow_type="large_string", kind="text"))
        text.append(pa.array([f"{seed}-{row}" for row in range(100)] * 10, pa.large_string()))
        return attempt.commit(statistics={"seed": seed}).version.number


def snapshot(store: ShardStore) -> int:
    """Pin the latest version; the number."""
    with store.begin_snapshot(DATASET) as attempt:
        latest = store.latest(DATASET, ASSET)
        assert latest is not None
        attempt.pin(latest)
        attempt.index("train", np.arange(0, 1000, 3, dtype=np.uint32))
        return attempt.commit().version.number


def wrong_rows(store: ShardStore, number: int) -> str | None:
    """Say what is wrong with a version's rows, or None."""
    version = store.version(DATASET, ASSET, "all", number)
    seed = version.statistics["seed"]
    assert isinstance(seed, int)
    if not np.array_equal(version.column("x").read(), np.arange(1000, dtype="<i8") + seed):
        return f"version {number}: numbers are not those of seed {seed}"
    if version.column("t").read(0, 1)[0].as_py() != f"{seed}-0":
        return f"version {number}: text is not that of seed {seed}"
    return None


def main(root: str, seed: int, ledger: str) -> None:
    """Commit, snapshot, collect; note each in the ledger."""
    store = ShardStore(root)
    descriptor = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def note(text: str) -> None:
        os.write(descriptor, f"{text}\n".encode())
        os.fsync(descriptor)

    note(f"version {commit(store, seed)} {seed}")
    note(f"snapshot {snapshot(store)}")
    store.gc(DATASET, keep=2, grace_seconds=0.0, dry_run=False)
    note("done")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
