"""Reads that outlive the server's history: ranges, each at its own time, and a replay of what changed."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from assets.mongo.build import build_documents
from demo.mongod import Mongod
from shards import ShardStore
from tests.integration.mongo.conftest import FIELDS, make_documents, make_spec

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


def test_a_long_read_of_a_still_collection_equals_a_short_one(
    short_history: MongoClient[Any], store: ShardStore, tmp_path: Path
) -> None:
    things = short_history["still"]["things"]
    things.insert_many(make_documents(5_000))
    noise = short_history["still"]["noise"]
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            noise.insert_one({})
            time.sleep(0.01)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        spec = make_spec("still", max_documents_per_second=2_000)
        slow = build_documents(spec, "all", FIELDS, client=short_history, store=store)
    finally:
        stop.set()
        writer.join()
    fast = build_documents(
        make_spec("still"), "all", FIELDS, client=short_history, store=ShardStore(tmp_path / "again")
    )
    assert slow.content_hash == fast.content_hash
