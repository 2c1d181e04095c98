"""The network cut between any two batches, and inside of any: the result equals an oracle read each time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.database import Database
from pymongo.monitoring import (
    CommandFailedEvent,
    CommandListener,
    CommandStartedEvent,
    CommandSucceededEvent,
)

from assets.mongo.build import build_documents
from demo.mongod import Mongod
from shards import ShardStore
from tests.integration.mongo.conftest import FIELDS, expected_rows, make_documents, make_spec, rows_of
from tests.integration.mongo.proxy import Proxy

pytestmark = pytest.mark.xdist_group("replica-set")

DOCUMENTS = [{**one, "text": f"{one['_id']:0300}"} for one in make_documents(5_000)]
SPEC = make_spec("cuts", cursors=1, memory_budget_mb=64)
MOST_BATCHES = 40


class AtBatch(CommandListener):
    """Counts the batches of a read, and does something once one of them has come."""

    def __init__(self, number: int = 0, act: Callable[[], None] = lambda: None) -> None:
        self._number, self._act = number, act
        self._asked: set[int] = set()
        self.num_batches = 0

    def started(self, event: CommandStartedEvent) -> None:
        """Note a command that asks for a batch."""
        is_batch = event.command_name in ("find", "getMore")
        if is_batch and event.command.get("comment") == "shardmill things/all":
            self._asked.add(event.request_id)

    def succeeded(self, event: CommandSucceededEvent) -> None:
        """Count its reply."""
        if event.request_id in self._asked:
            self.num_batches += 1
            if self.num_batches == self._number:
                self._act()

    def failed(self, event: CommandFailedEvent) -> None:
        """Do nothing."""


@pytest.fixture
def things(set_client: MongoClient[Any]) -> Database[Any]:
    database = set_client["cuts"]
    database.drop_collection("things")
    database["things"].insert_many(DOCUMENTS)
    return database


@pytest.fixture
def proxy(things: Database[Any], members: list[Mongod]) -> Iterator[Proxy]:
    assert things.client.primary is not None
    forwarder = Proxy(things.client.primary[1])
    yield forwarder
    forwarder.close()


class Reader:
    """Reads the collection again and again, as it is at the time, each time into a store of its own."""

    def __init__(self, things: Database[Any], proxy: Proxy, root: Path) -> None:
        self._things, self._proxy, self._root = things, proxy, root
        self.num_reads = 0

    def read(self, listener: CommandListener) -> Any:
        """Read once and compare with what a plain `find` gave before."""
        self.num_reads += 1
        oracle = list(self._things["things"].find().sort("_id"))
        store = ShardStore(self._root / str(self.num_reads))
        with self._proxy.client(event_listeners=[listener]) as client:
            report = build_documents(SPEC, "all", FIELDS, client=client, store=store)
        assert rows_of(store) == expected_rows(oracle)
        assert report.metadata["documents"] == report.metadata["server_count"] == len(oracle)
        assert report.metadata["guarantee"] == "snapshot"
        return report

    def change(self) -> None:
        """Take some documents away, change others, and add one at either end."""
        things, number = self._things["things"], self.num_reads
        things.delete_many({"_id": {"$in": [7 * number, 4_900 - number]}})
        things.update_many({"_id": {"$gt": 4_800}, "value": {"$type": "number"}}, {"$inc": {"value": 1}})
        things.insert_many(
            [{"_id": end, "value": 1, "vector": [1.0] * 4, "text": None} for end in (-number, 9_000 + number)]
        )


@pytest.fixture
def reader(things: Database[Any], proxy: Proxy, tmp_path: Path) -> Reader:
    return Reader(things, proxy, tmp_path)


def test_a_cut_between_any_two_batches(reader: Reader, proxy: Proxy) -> None:
    undisturbed = AtBatch()
    assert reader.read(undisturbed).metadata["resumed"] == 0
    assert 8 <= undisturbed.num_batches <= MOST_BATCHES
    for number in range(1, undisturbed.num_batches):

        def cut() -> None:
            reader.change()
            proxy.cut()

        # Not how often it was resumed: PyMongo itself replaces a connection that it finds cut while idle.
        listener = AtBatch(number, cut)
        reader.read(listener)
        assert listener.num_batches >= number


def test_a_cut_inside_of_any_batch(reader: Reader, proxy: Proxy) -> None:
    undisturbed = AtBatch()
    reader.read(undisturbed)
    num_bytes, num_cuts = proxy.num_bytes, undisturbed.num_batches
    for number in range(num_cuts):
        proxy.num_bytes = 0
        proxy.cut_at = int(num_bytes * (number + 0.5) / num_cuts)
        report = reader.read(AtBatch(1, reader.change))
        assert proxy.cut_at is None
        assert report.metadata["resumed"] >= 1 or number == 0
