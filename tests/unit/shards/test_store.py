"""Versions, commits, snapshots, leases, tags and collection over a real directory."""

from __future__ import annotations

import pickle
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import shards
from shards import (
    Column,
    CommitConflict,
    DamagedFile,
    InvalidArgument,
    LeaseLost,
    NotFound,
    Provenance,
    ShardStore,
    marks,
)
from tests.unit.shards.dataset import DATASET, NUM_ROWS, build


def write(store: ShardStore, value: int, partition: str = "all") -> shards.Commit:
    with store.begin("d", "records", partition) as attempt:
        attempt.column(Column("x", "npy", "<i4")).append(np.array([value, value], "<i4"))
        return attempt.commit()


def test_public_names_exist_and_are_all() -> None:
    assert sorted(shards.__all__) == shards.__all__
    assert all(getattr(shards, name) is not None for name in shards.__all__)


def test_equal_content_gives_the_version_back(store: ShardStore) -> None:
    first, again, other, back = (write(store, value) for value in (1, 1, 2, 1))
    assert [first.created, again.created, other.created, back.created] == [True, False, True, True]
    assert [c.version.number for c in (first, again, other, back)] == [1, 1, 2, 3]
    assert back.version.content_hash == first.version.content_hash
    root = Path(store.root)
    assert len(list(root.glob("d/records/data/all/*"))) == 3, "the attempt that was not needed is removed"


def test_a_damaged_version_is_not_given_back(store: ShardStore) -> None:
    write(store, 1)
    next(Path(store.root).glob("d/records/data/all/*/column*")).unlink()
    with pytest.raises(DamagedFile, match="is missing"):
        store.latest("d", "records")
    again = write(store, 1)
    assert again.created
    assert again.version.number == 2
    assert store.version("d", "records", "all", 2).column("x").read().tolist() == [1, 1]


def test_the_second_of_two_writers_conflicts_unless_it_wrote_the_same(store: ShardStore) -> None:
    first, second, third = (store.begin("d", "records") for _ in range(3))
    for attempt, value in ((first, 1), (second, 2), (third, 1)):
        attempt.column(Column("x", "npy", "<i4")).append(np.array([value, value], "<i4"))
    with first, second, third:
        assert first.commit().created
        with pytest.raises(CommitConflict, match="begin again"):
            second.commit()
        assert not third.commit().created
    assert store.versions("d", "records") == [1]
    assert len(list(Path(store.root).glob("d/records/data/all/*"))) == 1


def test_old_content_over_a_newer_version_conflicts(store: ShardStore) -> None:
    write(store, 1)
    with store.begin("d", "records") as attempt:
        attempt.column(Column("x", "npy", "<i4")).append(np.array([1, 1], "<i4"))
        write(store, 2)
        with pytest.raises(CommitConflict):
            attempt.commit()
    assert store.versions("d", "records") == [1, 2]


def test_an_attempt_left_without_commit_leaves_nothing(store: ShardStore) -> None:
    with store.begin("d", "records") as attempt:
        attempt.column(Column("x", "npy", "<i4")).append(np.zeros(3, "<i4"))
    assert not list(Path(store.root).glob("d/records/data/all/*"))
    assert store.latest("d", "records") is None
    assert store.partitions("d", "records") == []


def test_an_interrupt_after_the_link_keeps_the_files(
    store: ShardStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(store, 1)
    original = store.storage.sync_directory

    def interrupted(path: str) -> None:
        if path.endswith("manifests/all"):
            raise KeyboardInterrupt
        original(path)

    monkeypatch.setattr(store.storage, "sync_directory", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(store, 2)
    monkeypatch.undo()
    assert store.version("d", "records", "all", 2).column("x").read().tolist() == [2, 2]
    assert not store.verify(full=True).damages


def test_what_is_absent_cannot_be_verified(store: ShardStore) -> None:
    assert store.verify().num_versions == 0
    write(store, 1)
    for target in (("typo",), ("d", "typo"), ("typo", "records")):
        with pytest.raises(NotFound, match=r"no .*'typo'; there are: (d|records)"):
            store.verify(*target)
    assert store.verify("d", "records").num_versions == 1


def test_wrong_rows_are_refused_with_what_is_allowed(store: ShardStore) -> None:
    with store.begin("d", "records") as attempt:
        x = attempt.column(Column("x", "npy", "<i4", (2,)))
        for wrong in (np.zeros((1, 2), "<i8"), np.zeros((1, 3), "<i4"), np.zeros(2, "<i4"), [[1, 2]]):
            with pytest.raises(InvalidArgument, match="allowed is an array of <i4"):
                x.append(wrong)  # type: ignore[arg-type]
        text = attempt.column(Column("t", "arrow", arrow_type="large_string"))
        with pytest.raises(InvalidArgument, match="allowed is an Arrow array of large_string"):
            text.append(pa.array(["a"]))
        with pytest.raises(InvalidArgument, match="begun already"):
            attempt.column(Column("x", "npy", "<i4"))
        x.append(np.zeros((1, 2), "<i4"))
        with pytest.raises(InvalidArgument, match="rows differ"):
            attempt.commit()


@pytest.mark.parametrize(
    "statistics", [{"a": float("nan")}, {"a": object()}, {"a": "\ud800"}, {"a": 2**70}, {"a": np.float32(1)}]
)
def test_statistics_that_json_cannot_hold_are_refused(
    store: ShardStore, statistics: dict[str, object]
) -> None:
    with store.begin("d", "records") as attempt, pytest.raises(InvalidArgument):
        attempt.commit(statistics=statistics)
    assert store.versions("d", "records") == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("X", "npy", "<i4"),
        ("x", "npy", "|O"),
        ("x", "npy", ">i4"),
        ("x", "npy", "<i4", (0,)),
        ("x", "npy", "<i4", (1,) * 9),
        ("x", "npy", "<i4", (), "int8"),
        ("x", "arrow", "<i4", (), "int8"),
        ("x", "arrow", "", (), "list"),
        ("x", "csv"),
    ],
)
def test_columns_that_cannot_be_stored_are_refused(arguments: tuple[object, ...]) -> None:
    with pytest.raises(InvalidArgument):
        Column(*arguments)  # type: ignore[arg-type]


def test_provenance_refuses_addresses() -> None:
    with pytest.raises(InvalidArgument, match="no URI"):
        Provenance(source_alias="mongodb://u:p@host")


def test_partition_keys_of_any_text(store: ShardStore) -> None:
    keys = ["2024-01-01-00:00", "Köln/süd", "..", ".", "A", "a", "%41", " "]
    for position, key in enumerate(keys):
        write(store, position, key)
    assert store.partitions("d", "records") == sorted(keys)
    for position, key in enumerate(keys):
        version = store.latest("d", "records", key)
        assert version is not None
        assert version.column("x").read().tolist() == [position] * 2
    for wrong in ("", "x" * 300, "\ud800"):
        with pytest.raises(InvalidArgument):
            store.begin("d", "records", wrong)


def test_a_snapshot_refuses_records_of_other_documents(store: ShardStore) -> None:
    build(store)
    with store.begin(DATASET, "documents") as attempt:
        ids = pa.table({"_id": pa.array([b"z"] * NUM_ROWS, pa.large_binary())})
        attempt.table("documents", ids.schema).append(ids)
        attempt.commit()
    with store.begin_snapshot(DATASET) as snapshot:
        for asset in ("documents", "images", "records"):
            version = store.latest(DATASET, asset)
            assert version is not None
            snapshot.pin(version)
        with pytest.raises(InvalidArgument, match="was made from documents version 1, pinned is 2"):
            snapshot.commit()


def test_snapshots_by_number_tag_and_moment(store: ShardStore) -> None:
    build(store)
    between = datetime.now(timezone.utc)
    time.sleep(0.002)
    build(store, shift=1)
    store.tag(DATASET, "best", 1)
    assert store.snapshot(DATASET).number == 2
    assert store.snapshot(DATASET, 1).number == 1
    assert store.snapshot(DATASET, "best").number == 1
    assert store.snapshot(DATASET, between).number == 1
    with pytest.raises(NotFound, match="there are best"):
        store.snapshot(DATASET, "worst")
    with pytest.raises(NotFound, match="no version at"):
        store.snapshot(DATASET, between - timedelta(days=9))
    with pytest.raises(InvalidArgument, match="time zone"):
        store.snapshot(DATASET, datetime(2024, 1, 1))
    with pytest.raises(InvalidArgument, match="already"):
        store.tag(DATASET, "best", 2)
    store.tag(DATASET, "best", 2, move=True)
    assert store.tags(DATASET) == {"best": 2}


def test_a_lease_holds_until_it_is_released(store: ShardStore) -> None:
    build(store)
    lease = store.lease(DATASET, 1, ttl_seconds=4.0)
    build(store, shift=1)
    time.sleep(4.5)  # the heartbeat outlives the first term
    lease.check()
    assert store.gc(DATASET, keep=1, grace_seconds=0.0, dry_run=False).versions == ()
    lease.release()
    with pytest.raises(LeaseLost):
        lease.check()
    removed = store.gc(DATASET, keep=1, grace_seconds=0.0, dry_run=False).versions
    assert removed == (("records", "all", 1), ("snapshot", "all", 1))
    with pytest.raises(NotFound):
        store.lease(DATASET, 1)
    assert store.snapshot(DATASET).column("age").read(0, 1).tolist() == [1.0]


def test_a_lease_may_be_released_while_it_is_renewed(
    store: ShardStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the garbage collector does when it happens to run in the lease's own thread."""
    build(store)
    lease = store.lease(DATASET, 1, ttl_seconds=1.0)
    write = marks.write

    def renew(*arguments: Any) -> None:
        write(*arguments)
        lease.release()

    monkeypatch.setattr(marks, "write", renew)
    lease._thread.join(60)
    assert not lease._thread.is_alive()
    with pytest.raises(LeaseLost):
        lease.check()
    assert marks.read_all(store.storage, DATASET, "lease") == []


def test_gc_is_dry_by_default_and_keeps_the_grace_period(store: ShardStore) -> None:
    for value in range(5):
        write(store, value)
    assert store.gc("d", keep=2).versions == ()
    report = store.gc("d", keep=2, grace_seconds=0.0)
    assert report.dry_run
    assert [number for _, _, number in report.versions] == [1, 2, 3]
    assert store.versions("d", "records") == [1, 2, 3, 4, 5]
    orphan = Path(store.root, "d/records/data/all/20200101t000000-0123456789abcdef")
    orphan.mkdir()
    assert store.gc("d", keep=2, grace_seconds=0.0).attempts == (str(orphan.relative_to(store.root)),)
    assert store.gc("d", keep=2).attempts == ()


def test_gc_leaves_a_partition_alone_whose_manifest_is_unreadable(store: ShardStore) -> None:
    for value in range(3):
        write(store, value)
    Path(store.root, "d/records/manifests/all/00000002.json").write_text("{}")
    report = store.gc("d", keep=1, grace_seconds=0.0, dry_run=False)
    assert report.versions == ()
    assert list(report.skipped) == ["records[all]"]


def test_readers_pickle_and_serve_threads(store: ShardStore) -> None:
    build(store)
    snapshot = pickle.loads(pickle.dumps(store.snapshot(DATASET)))
    reader = pickle.loads(pickle.dumps(snapshot.column("picture")))
    assert reader.num_shards > 1
    assert not reader.shard(0).flags.writeable
    with ThreadPoolExecutor(8) as pool:
        read = list(pool.map(lambda row: reader.take([row])[0, 0, 0, 0], list(range(NUM_ROWS)) * 20))
    assert read == [row * 20 % 256 for row in range(NUM_ROWS)] * 20
    with pytest.raises(InvalidArgument, match="allowed are 0 to"):
        reader.take([NUM_ROWS])


def test_more_shards_than_file_descriptors(store: ShardStore) -> None:
    import resource

    with store.begin("d", "many", shard_bytes=4) as attempt:
        attempt.column(Column("x", "npy", "<i4")).append(np.arange(300, dtype="<i4"))
        attempt.commit()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    num_open = len(list(Path("/proc/self/fd").iterdir()))  # by other tests, too
    resource.setrlimit(resource.RLIMIT_NOFILE, (num_open + 100, limits[1]))
    try:
        version = store.latest("d", "many")
        assert version is not None
        assert version.column("x").read().tolist() == list(range(300))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
