"""Reads that are disturbed end with exactly the documents of their point in time, or publish nothing."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.database import Database
from pymongo.errors import AutoReconnect

from assets.mongo import extract
from assets.mongo.build import build_documents
from assets.mongo.errors import ReadFailed
from demo.mongod import Mongod
from shards import ShardStore
from tests.integration.mongo.conftest import (
    FIELDS,
    Once,
    expected_rows,
    make_documents,
    make_spec,
    rejects_of,
    rows_of,
)
from tests.integration.mongo.proxy import Proxy

pytestmark = pytest.mark.xdist_group("replica-set")

NUM_DOCUMENTS = 12_000
RATE = 6_000
DOCUMENTS = make_documents(NUM_DOCUMENTS)
ELECTION_MS = 2_000  # primaries are killed here; elsewhere a slow machine shall not make one lose its place

SIDE_BY_SIDE = {"cursors": 4, "memory_budget_mb": 64}
"""Options with which the documents are four ranges, all read at once."""

ONE_OR_SEVERAL = pytest.mark.parametrize("source", [{}, SIDE_BY_SIDE], ids=["one range", "side by side"])


@pytest.fixture
def things(set_client: MongoClient[Any]) -> Database[Any]:
    database = set_client["faults"]
    database.drop_collection("things")
    database["things"].insert_many(DOCUMENTS)
    return database


def primary_of(members: list[Mongod]) -> Mongod:
    for member in members:
        if member.pid is not None:
            with member.client() as client:
                if client.admin.command("hello")["isWritablePrimary"]:
                    return member
    raise AssertionError("no primary")


def disturb(things: Database[Any], act: Callable[[], None], store: ShardStore, **source: Any) -> Any:
    """Read at a limited rate while every document changes, act in the middle, compare with the start."""
    spec = make_spec("faults", max_documents_per_second=RATE, **source)

    def change_and_act() -> None:
        things["things"].update_many({"_id": {"$gte": NUM_DOCUMENTS // 2}}, {"$set": {"value": -1}})
        things["things"].delete_many({"_id": {"$gte": NUM_DOCUMENTS - 500}})
        act()

    hook = Once(NUM_DOCUMENTS // 5, change_and_act)
    report = build_documents(spec, "all", FIELDS, client=things.client, store=store, progress=hook)
    assert hook.done
    assert rows_of(store) == expected_rows(DOCUMENTS)
    assert len(rejects_of(store)) == NUM_DOCUMENTS // 100
    assert report.metadata["ranges"] == source.get("cursors", 1)
    assert report.metadata["server_count"] == NUM_DOCUMENTS
    assert report.metadata["guarantee"] == "snapshot"
    return report


@ONE_OR_SEVERAL
def test_a_killed_primary_is_replaced(
    things: Database[Any], members: list[Mongod], store: ShardStore, source: dict[str, Any]
) -> None:
    victim = primary_of(members)
    report = disturb(things, victim.kill, store, **source)
    victim.start()
    assert report.metadata["resumed"] >= 1


def test_a_restarted_primary_goes_on(things: Database[Any], members: list[Mongod], store: ShardStore) -> None:
    victim = primary_of(members)

    def restart() -> None:
        victim.kill()
        victim.start()

    assert disturb(things, restart, store).metadata["resumed"] >= 1


@ONE_OR_SEVERAL
def test_a_stepdown_is_survived(
    things: Database[Any], members: list[Mongod], store: ShardStore, source: dict[str, Any]
) -> None:
    primary = primary_of(members)

    def step_down() -> None:
        with primary.client() as client, contextlib.suppress(AutoReconnect):
            client.admin.command("replSetStepDown", 5, force=True)

    disturb(things, step_down, store, **source)


@ONE_OR_SEVERAL
def test_a_killed_cursor_is_opened_again(
    things: Database[Any], members: list[Mongod], store: ShardStore, source: dict[str, Any]
) -> None:
    def kill_cursors() -> None:
        admin = things.client.admin
        stages = [{"$currentOp": {"idleCursors": True, "allUsers": True}}, {"$match": {"type": "idleCursor"}}]
        found = [op["cursor"]["cursorId"] for op in admin.aggregate(stages) if op["ns"] == "faults.things"]
        assert found
        things.command({"killCursors": "things", "cursors": found})

    assert disturb(things, kill_cursors, store, **source).metadata["resumed"] >= 1


def test_secondaries_serve_the_same_snapshot(
    things: Database[Any], members: list[Mongod], store: ShardStore
) -> None:
    disturb(things, lambda: None, store, read_preference="secondary")


@pytest.fixture
def proxy(things: Database[Any], members: list[Mongod]) -> Iterator[Proxy]:
    forwarder = Proxy(primary_of(members).port)
    yield forwarder
    forwarder.close()


@ONE_OR_SEVERAL
def test_a_cut_network_is_connected_again(
    things: Database[Any], proxy: Proxy, store: ShardStore, source: dict[str, Any]
) -> None:
    spec = make_spec("faults", max_documents_per_second=RATE, **source)
    hook = Once(NUM_DOCUMENTS // 3, proxy.cut)
    with proxy.client() as client:
        build_documents(spec, "all", FIELDS, client=client, store=store, progress=hook)
    # Not how often it was resumed: a connection found closed while idle is replaced by PyMongo itself.
    assert hook.done
    assert rows_of(store) == expected_rows(DOCUMENTS)


def test_a_network_that_stays_away_publishes_nothing(
    things: Database[Any], proxy: Proxy, store: ShardStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extract, "RETRY_SECONDS", 3.0)
    spec = make_spec("faults", max_documents_per_second=RATE)
    hook = Once(NUM_DOCUMENTS // 3, lambda: proxy.cut(for_good=True))
    with proxy.client() as client, pytest.raises(ReadFailed, match="nothing was published"):
        build_documents(spec, "all", FIELDS, client=client, store=store, progress=hook)
    assert store.latest("things", "documents") is None
    assert store.versions("things", "documents") == []


def test_a_frozen_server_is_waited_for(
    things: Database[Any], members: list[Mongod], store: ShardStore
) -> None:
    primary = primary_of(members)

    def freeze() -> None:
        # Short of the election timeout: the same primary goes on where it was.
        assert primary.process is not None
        primary.process.send_signal(signal.SIGSTOP)
        threading.Timer(1.0, primary.process.send_signal, [signal.SIGCONT]).start()

    disturb(things, freeze, store)
