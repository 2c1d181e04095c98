"""A reader of leased snapshots while a writer replaces everything and collects what it replaced."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from shards import Column, LeaseLost, NotFound, ShardStore

DATASET = "rewrites"
KEYS = ("a", "b", "c")


def _rewrite(root: str, num_rounds: int, ready: Any) -> None:
    store = ShardStore(root)
    for stamp in range(num_rounds):
        write_all(store, stamp)
        if stamp == 0:
            ready.set()
        store.gc(DATASET, keep=1, grace_seconds=0.0, dry_run=False)


def write_all(store: ShardStore, stamp: int) -> None:
    with store.begin_snapshot(DATASET) as snapshot:
        for key in KEYS:
            with store.begin(DATASET, "documents", key) as attempt:
                ids = pa.table({"_id": pa.array([b"%d" % stamp] * 4, pa.large_binary())})
                attempt.table("documents", ids.schema).append(ids)
                documents = attempt.commit().version
            with store.begin(DATASET, "records", key, shard_bytes=16) as attempt:
                attempt.column(Column("x", "npy", "<i8")).append(np.full(4, stamp, "<i8"))
                text = attempt.column(Column("t", "arrow", arrow_type="large_string", kind="text"))
                text.append(pa.array([str(stamp)] * 4, pa.large_string()))
                records = attempt.commit(inputs={"documents": documents.number}).version
            snapshot.pin(documents)
            snapshot.pin(records)
        snapshot.index("train", np.arange(12, dtype=np.uint32))
        snapshot.commit(statistics={"stamp": stamp})


def read_under_rewrites(directory: Path, num_rewrites: int) -> tuple[int, int]:
    """Read while another process rewrites and collects; how many reads, of how many snapshots.

    Raises
    ------
    AssertionError
        A snapshot held rows of several rewrites, or something was damaged.
    """
    num_read = 0
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    writer = context.Process(target=_rewrite, args=(str(directory), num_rewrites, ready))
    writer.start()
    assert ready.wait(60)
    store = ShardStore(directory)
    seen: set[int] = set()
    while writer.is_alive():
        number = store.versions(DATASET, "snapshot")[-1]
        try:
            lease = store.lease(DATASET, number, ttl_seconds=60)
        except (NotFound, LeaseLost):
            continue  # collected between the listing and the lease: take the next
        with lease:
            _read_all(store, number)
            lease.check()
        num_read += 1
        seen.add(number)
    writer.join()
    assert writer.exitcode == 0
    assert not store.verify(full=True).damages
    assert len(store.versions(DATASET, "records", "a")) <= 2 + len(seen)
    return num_read, len(seen)


def _read_all(store: ShardStore, number: int) -> None:
    snapshot = store.snapshot(DATASET, number)
    stamp = snapshot.statistics["stamp"]
    assert snapshot.column("x").read().tolist() == [stamp] * 12
    assert snapshot.column("t").read().to_pylist() == [str(stamp)] * 12
    for version in snapshot.versions["documents"]:
        assert version.table("documents").read()["_id"].to_pylist() == [str(stamp).encode()] * 4
