"""Reads that are disturbed end with exactly the documents of their point in time, or publish nothing."""

from __future__ import annotations

import contextlib
import signal
import socket
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

pytestmark = pytest.mark.xdist_group("replica-set")

NUM_DOCUMENTS = 12_000
RATE = 6_000
DOCUMENTS = make_documents(NUM_DOCUMENTS)


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
    assert report.metadata["server_count"] == NUM_DOCUMENTS
    assert report.metadata["guarantee"] == "snapshot"
    return report


def test_a_killed_primary_is_replaced(
    things: Database[Any], members: list[Mongod], store: ShardStore
) -> None:
    victim = primary_of(members)
    report = disturb(things, victim.kill, store)
    victim.start()
    assert report.metadata["resumed"] >= 1


def test_a_restarted_primary_goes_on(things: Database[Any], members: list[Mongod], store: ShardStore) -> None:
    victim = primary_of(members)

    def restart() -> None:
        victim.kill()
        victim.start()

    assert disturb(things, restart, store).metadata["resumed"] >= 1


def test_a_stepdown_is_survived(things: Database[Any], members: list[Mongod], store: ShardStore) -> None:
    primary = primary_of(members)

    def step_down() -> None:
        with primary.client() as client, contextlib.suppress(AutoReconnect):
            client.admin.command("replSetStepDown", 5, force=True)

    disturb(things, step_down, store)


def test_a_killed_cursor_is_opened_again(
    things: Database[Any], members: list[Mongod], store: ShardStore
) -> None:
    def kill_cursors() -> None:
        admin = things.client.admin
        stages = [{"$currentOp": {"idleCursors": True, "allUsers": True}}, {"$match": {"type": "idleCursor"}}]
        found = [op["cursor"]["cursorId"] for op in admin.aggregate(stages) if op["ns"] == "faults.things"]
        assert found
        things.command({"killCursors": "things", "cursors": found})

    assert disturb(things, kill_cursors, store).metadata["resumed"] >= 1


def test_secondaries_serve_the_same_snapshot(
    things: Database[Any], members: list[Mongod], store: ShardStore
) -> None:
    disturb(things, lambda: None, store, read_preference="secondary")


class Proxy:
    """Forwards TCP connections to a server; `cut` breaks all of them at once."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._refuse = False
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._refuse:
                client.close()
                continue
            server = socket.create_connection(("127.0.0.1", self._target))
            self._sockets += [client, server]
            for source, target in ((client, server), (server, client)):
                threading.Thread(target=self._forward, args=(source, target), daemon=True).start()

    def _forward(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(1 << 16):
                target.sendall(data)
        except OSError:
            pass
        for one in (source, target):
            one.close()

    def cut(self, *, for_good: bool = False) -> None:
        self._refuse = for_good
        sockets, self._sockets = self._sockets, []
        for one in sockets:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def close(self) -> None:
        self._listener.close()
        self.cut(for_good=True)


@pytest.fixture
def proxy(things: Database[Any], members: list[Mongod]) -> Iterator[Proxy]:
    forwarder = Proxy(primary_of(members).port)
    yield forwarder
    forwarder.close()


def proxied(proxy: Proxy) -> MongoClient[Any]:
    return MongoClient(
        "127.0.0.1", proxy.port, directConnection=True, tz_aware=True, serverSelectionTimeoutMS=2_000
    )


@pytest.mark.parametrize("fraction", [0.02, 0.3, 0.6, 0.95])
def test_a_cut_network_is_connected_again(
    things: Database[Any], proxy: Proxy, store: ShardStore, fraction: float
) -> None:
    spec = make_spec("faults", max_documents_per_second=RATE)
    hook = Once(int(NUM_DOCUMENTS * fraction), proxy.cut)
    with proxied(proxy) as client:
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
    with proxied(proxy) as client, pytest.raises(ReadFailed, match="nothing was published"):
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
