"""What a build leaves behind on the server: no open cursor, and no session once its client is closed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from bson import Binary
from pymongo import MongoClient
from pymongo.monitoring import (
    CommandFailedEvent,
    CommandListener,
    CommandStartedEvent,
    CommandSucceededEvent,
)

from assets.mongo.build import build_documents
from demo.mongod import Mongod
from shards import ShardStore
from tests.integration.mongo.conftest import FIELDS, make_documents, make_spec

REFRESH = ["--setParameter", "logicalSessionRefreshMillis=200"]
"""How often the server writes down which sessions live, 5 minutes by default."""


class Sessions(CommandListener):
    """Gathers the sessions in which reads of the collection are sent."""

    def __init__(self) -> None:
        self.used: set[Binary] = set()

    def started(self, event: CommandStartedEvent) -> None:
        """Note the session of a command."""
        if event.command.get("comment") == "shardmill things/all":
            self.used.add(event.command["lsid"]["id"])

    def succeeded(self, event: CommandSucceededEvent) -> None:
        """Do nothing."""

    def failed(self, event: CommandFailedEvent) -> None:
        """Do nothing."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mongod]:
    with Mongod(tmp_path_factory.mktemp("sessions"), extra=REFRESH) as server, server.client() as client:
        client["sessions"]["things"].insert_many(make_documents(12_000))
        yield server


def living(client: MongoClient[Any]) -> set[Binary]:
    """Sessions that the server has written down."""
    return {found["_id"]["id"] for found in client["config"]["system.sessions"].find()}


def wait_until(client: MongoClient[Any], wanted: set[Binary], *, there: bool) -> None:
    """Wait until all of some sessions are written down, or none of them is."""
    deadline = time.monotonic() + 20
    while not (wanted <= living(client) if there else wanted.isdisjoint(living(client))):
        assert time.monotonic() < deadline, f"sessions are {'not ' if there else ''}there"
        time.sleep(0.05)


class Broken(Exception):
    """Raised in the middle of a read."""


@pytest.mark.parametrize("fails", [False, True], ids=["succeeds", "fails"])
def test_sessions_and_cursors_end_with_a_build(server: Mongod, store: ShardStore, fails: bool) -> None:
    spec = make_spec("sessions", cursors=4, memory_budget_mb=64)
    listener = Sessions()

    def progress(done: int, total: int | None, unit: str) -> None:
        if fails and done > 3_000:
            raise Broken

    with server.client() as observer:
        with server.client(event_listeners=[listener]) as client:
            try:
                build_documents(spec, "all", FIELDS, client=client, store=store, progress=progress)
            except Broken:
                assert fails
            assert observer.admin.command("serverStatus")["metrics"]["cursor"]["open"]["total"] == 0
            assert len(listener.used) >= 2
            wait_until(observer, listener.used, there=True)
        wait_until(observer, listener.used, there=False)
    assert (store.latest("things", "documents") is None) == fails
