"""Reads that outlive the server's history: ranges, each at its own time, and a replay of what changed."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.database import Database
from pymongo.errors import OperationFailure

from assets.mongo import server_build
from assets.mongo.build import build_documents
from assets.mongo.errors import ReadFailed
from assets.mongo.server import SNAPSHOT_TOO_OLD
from demo.mongod import Mongod
from shards import ShardStore
from tests.integration.mongo.conftest import FIELDS, Once, make_documents, make_spec
from tests.integration.mongo.test_pieces import PIECE_BYTES, kill_in_the_middle

pytestmark = pytest.mark.xdist_group("history")

WINDOW_SECONDS = 1


@pytest.fixture(scope="module")
def short_history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MongoClient[Any]]:
    """A server that keeps one second of history."""
    extra = ["--setParameter", f"minSnapshotHistoryWindowInSeconds={WINDOW_SECONDS}"]
    with (
        Mongod(tmp_path_factory.mktemp("short"), extra=extra) as server,
        server.client(tz_aware=True) as client,
    ):
        yield client


def test_a_read_longer_than_the_history_is_right(
    short_history: MongoClient[Any], store: ShardStore, tmp_path: Path
) -> None:
    things = short_history["long"]["things"]
    things.insert_many(make_documents(12_000))
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            place = number * 7919 % 12_000
            things.update_one({"_id": place}, {"$set": {"value": number}})
            things.delete_one({"_id": (place + 5_000) % 12_000})
            things.insert_one({"_id": 100_000 + number, "value": number if number % 10 else "none"})
            number += 1
            time.sleep(0.002)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        spec = make_spec("long", max_documents_per_second=3_000)
        report = build_documents(spec, "all", FIELDS, client=short_history, store=store)
    finally:
        stop.set()
        writer.join()
    assert report.metadata["guarantee"] == "snapshot and replay"
    assert report.metadata["changed"] > 0
    assert report.rows + sum(report.rejects.values()) == report.metadata["server_count"]
    ids = store.latest("things", "documents").table("documents").read().column("_id").to_pylist()  # type: ignore[union-attr]
    assert ids == sorted(ids, key=lambda raw: int.from_bytes(raw[1:], "little"))
    assert len(set(ids)) == len(ids)


@contextmanager
def busy(database: Database[Any]) -> Iterator[None]:
    """Time goes on for a server only while something is written."""
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            database["noise"].insert_one({})
            time.sleep(0.01)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield
    finally:
        stop.set()
        writer.join()


def outlive(database: Database[Any], collection: str = "things") -> None:
    """Wait until the server has forgotten the present."""
    now = database.client.admin.command("hello")["operationTime"]
    concern = {"level": "snapshot", "atClusterTime": now}

    def ask_again_and_again() -> None:
        while True:
            database.command("find", collection, limit=1, readConcern=concern)
            time.sleep(0.05)

    with pytest.raises(OperationFailure) as caught:
        ask_again_and_again()
    assert caught.value.code == SNAPSHOT_TOO_OLD


def test_several_collections_are_brought_to_one_time(
    short_history: MongoClient[Any], store: ShardStore, tmp_path: Path
) -> None:
    database = short_history["several"]
    database["first"].insert_many(make_documents(12_000))
    database["second"].insert_many(make_documents(1_000))

    def change() -> None:
        database["first"].update_many({"_id": {"$lt": 10}}, {"$set": {"value": -1}})
        database["first"].delete_many({"_id": {"$gte": 11_990}})
        database["second"].insert_one({"_id": 9_999, "value": 1})
        outlive(database, "first")

    names = ["first", "second"]
    with busy(database):
        hook = Once(3_000, change)
        spec = make_spec("several", collections=names, max_documents_per_second=6_000)
        slow = build_documents(spec, "all", FIELDS, client=short_history, store=store, progress=hook)
    assert hook.done
    assert slow.metadata["guarantee"] == "snapshot and replay"
    assert slow.metadata["server_count"] == 12_991
    spec, again = make_spec("several", collections=names), ShardStore(tmp_path / "again")
    fast = build_documents(spec, "all", FIELDS, client=short_history, store=again)
    assert fast.metadata["guarantee"] == "snapshot"
    assert slow.content_hash == fast.content_hash


def test_a_pipeline_that_outlives_the_history_is_refused(
    short_history: MongoClient[Any], store: ShardStore
) -> None:
    database = short_history["piped"]
    database["things"].insert_many(make_documents(6_000))
    stages = [{"$match": {"value": {"$ne": -1}}}]
    spec = make_spec("piped", pipeline=stages, max_documents_per_second=4_000)
    hook = Once(2_000, lambda: outlive(database))
    with busy(database), pytest.raises(ReadFailed) as caught:
        build_documents(spec, "all", FIELDS, client=short_history, store=store, progress=hook)
    said = str(caught.value)
    assert "the guarantee `snapshot`" in said
    assert "nothing was published. Next: " in said
    assert "minSnapshotHistoryWindowInSeconds" in said
    assert store.versions("things", "documents") == []


def test_a_killed_read_whose_snapshot_is_gone_goes_on(
    short_history: MongoClient[Any], store: ShardStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = short_history["killed"]
    database["things"].insert_many(make_documents(6_000))
    host, port = short_history.address or ("", 0)
    kill_in_the_middle(f"mongodb://{host}:{port}/?directConnection=true", "killed", store)
    monkeypatch.setattr(server_build, "piece_bytes", lambda _: PIECE_BYTES)
    database["things"].update_many({"_id": {"$lt": 100}}, {"$set": {"value": -1}})
    spec = make_spec("killed")
    with busy(database):
        outlive(database)
        report = build_documents(spec, "all", FIELDS, client=short_history, store=store)
    assert report.metadata["guarantee"] == "snapshot and replay"
    assert 0 < report.metadata["kept"] < 6_000
    assert report.metadata["kept"] + report.metadata["read"] == 6_000 + report.metadata["changed"]
    fresh = build_documents(spec, "all", FIELDS, client=short_history, store=ShardStore(tmp_path / "fresh"))
    assert report.content_hash == fresh.content_hash


def test_a_long_read_of_a_still_collection_equals_a_short_one(
    short_history: MongoClient[Any], store: ShardStore, tmp_path: Path
) -> None:
    things = short_history["still"]["things"]
    things.insert_many(make_documents(5_000))
    with busy(short_history["still"]):
        spec = make_spec("still", max_documents_per_second=2_000)
        slow = build_documents(spec, "all", FIELDS, client=short_history, store=store)
    fast = build_documents(
        make_spec("still"), "all", FIELDS, client=short_history, store=ShardStore(tmp_path / "again")
    )
    assert slow.content_hash == fast.content_hash
