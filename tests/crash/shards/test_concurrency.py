"""Writers against writers, and readers against writers and collectors, in real processes."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from shards import Column, LeaseLost, NotFound, ShardStore
from tests.crash.shards.contention import contend

DATASET = "rewrites"
NUM_REWRITES = 1000
KEYS = ("a", "b", "c")


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """A directory in memory where there is one: these tests are about order, not about disks."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="shards-", dir="/dev/shm") as found:
        yield Path(found)


def test_sixteen_writers_lose_nothing(directory: Path) -> None:
    found, conflicts = contend(directory, num_processes=16, num_commits=1600, num_partitions=4)
    print(f"{found} commits by 16 processes, {conflicts} conflicts: none lost, no fork")
    assert found == 1600
    assert conflicts > 0


def _rewrite(root: str, num_rounds: int, ready: Any) -> None:
    store = ShardStore(root)
    for stamp in range(num_rounds):
        _write_all(store, stamp)
        if stamp == 0:
            ready.set()
        store.gc(DATASET, keep=1, grace_seconds=0.0, dry_run=False)


def _write_all(store: ShardStore, stamp: int) -> None:
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


def test_a_reader_under_rewrites_and_gc_never_sees_a_mixture(directory: Path) -> None:
    """The reader leases the latest snapshot, waits a little, and reads all of it file by file."""
    num_read, num_late = 0, 0
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    writer = context.Process(target=_rewrite, args=(str(directory), NUM_REWRITES, ready))
    writer.start()
    assert ready.wait(60)
    store = ShardStore(directory)
    seen = set()
    while writer.is_alive():
        number = store.versions(DATASET, "snapshot")[-1]
        try:
            lease = store.lease(DATASET, number, ttl_seconds=60)
        except (NotFound, LeaseLost):
            num_late += 1  # collected between the listing and the lease: take the next
            continue
        with lease:
            snapshot = store.snapshot(DATASET, number)
            stamp = snapshot.statistics["stamp"]
            assert snapshot.column("x").read().tolist() == [stamp] * 12
            assert snapshot.column("t").read().to_pylist() == [str(stamp)] * 12
            for version in snapshot.versions["documents"]:
                assert version.table("documents").read()["_id"].to_pylist() == [str(stamp).encode()] * 4
            lease.check()
        num_read += 1
        seen.add(number)
    writer.join()
    assert writer.exitcode == 0
    seen_text = f"{num_read} reads of {len(seen)} snapshots, {num_late} late"
    print(f"{NUM_REWRITES} rewrites with gc, {seen_text}, 0 mixed")
    assert len(seen) > 5
    assert not store.verify(full=True).damages
    assert len(store.versions(DATASET, "records", "a")) <= 2 + len(seen)


def test_an_unleased_reader_keeps_what_it_has_mapped(tmp_path: Path) -> None:
    store = ShardStore(tmp_path)
    _write_all(store, 1)
    column = store.snapshot(DATASET).column("x")
    rows = column.read(0, 2)
    for stamp in (2, 3):
        _write_all(store, stamp)
    store.gc(DATASET, keep=1, grace_seconds=0.0, dry_run=False)
    assert store.versions(DATASET, "records", "a") == [3]
    assert rows.tolist() == [1, 1]
    with pytest.raises(NotFound):
        store.snapshot(DATASET, 1)
