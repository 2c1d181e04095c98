"""Writers against writers, and readers against writers and collectors, in real processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from shards import NotFound, ShardStore
from tests.crash.shards.contention import contend
from tests.crash.shards.rewrites import DATASET, read_under_rewrites, write_all

NUM_REWRITES = 100
"""`python -m tests.crash.shards.contention` runs a thousand."""


def test_sixteen_writers_lose_nothing(directory: Path) -> None:
    found, conflicts = contend(directory, num_processes=16, num_commits=800, num_partitions=4)
    print(f"{found} commits by 16 processes, {conflicts} conflicts: none lost, no fork")
    assert found == 800
    assert conflicts > 0


def test_a_reader_under_rewrites_and_gc_never_sees_a_mixture(directory: Path) -> None:
    num_read, num_seen = read_under_rewrites(directory, NUM_REWRITES)
    print(f"{NUM_REWRITES} rewrites with gc, {num_read} reads of {num_seen} snapshots, 0 mixed")
    assert num_seen > 5


def test_an_unleased_reader_keeps_what_it_has_mapped(tmp_path: Path) -> None:
    store = ShardStore(tmp_path)
    write_all(store, 1)
    column = store.snapshot(DATASET).column("x")
    rows = column.read(0, 2)
    for stamp in (2, 3):
        write_all(store, stamp)
    store.gc(DATASET, keep=1, grace_seconds=0.0, dry_run=False)
    assert store.versions(DATASET, "records", "a") == [3]
    assert rows.tolist() == [1, 1]
    with pytest.raises(NotFound):
        store.snapshot(DATASET, 1)
