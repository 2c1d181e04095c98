"""Servers and collections for the tests of extraction."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.database import Database

from assets.mongo.fields import Field, ListOf
from assets.spec import DatasetSpec
from demo.mongod import Mongod, initiate_set

FIELDS = [
    Field("value", "value", "int64"),
    Field("text", "text", "string", required=False),
    Field("vector", "vector", ListOf("float64", 4), required=False),
]


def make_spec(database: str, **source: Any) -> DatasetSpec:
    """A dataset over the collection `things`."""
    partitions = source.pop("partitions", {"by": "none"})
    given = {"database": database, "collection": "things", **source}
    if "collections" in given:
        del given["collection"]
    return DatasetSpec.model_validate(
        {
            "name": "things",
            "source": given,
            "partitions": partitions,
            "columns": {"value": {"kind": "number", "path": "value"}},
            "checks": {"max_reject_share": 1},
        }
    )


def make_documents(num_documents: int) -> list[dict[str, Any]]:
    """Documents of which every hundredth does not fit."""
    return [
        {
            "_id": number,
            "value": number if number % 100 else "none",
            "text": f"text {number}" if number % 3 else None,
            "vector": [0.5 * number, 1.0, 2, 3.25],
            "padding": "x" * 300,
        }
        for number in range(num_documents)
    ]


def rows_of(store: Any, partition: str = "all") -> list[dict[str, Any]]:
    """Rows of the latest version."""
    version = store.latest("things", "documents", partition)
    rows: list[dict[str, Any]] = version.table("documents").read().to_pylist()
    return rows


def rejects_of(store: Any, partition: str = "all") -> list[dict[str, Any]]:
    """Rejects of the latest version."""
    version = store.latest("things", "documents", partition)
    rows: list[dict[str, Any]] = version.table("rejects").read().to_pylist()
    return rows


def expected_rows(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the fields give of `make_documents`."""
    return [
        {
            "_id": b"\x10" + number["_id"].to_bytes(4, "little", signed=True),
            "value": number["value"],
            "text": number["text"],
            "vector": [float(one) for one in number["vector"]],
        }
        for number in documents
        if isinstance(number["value"], int)
    ]


@contextmanager
def counted(database: Database[Any]) -> Iterator[list[int]]:
    """Documents that the server sends to reads of `things` inside the block, as it has noted itself."""
    database.command("profile", 2)
    found: list[int] = []
    try:
        yield found
    finally:
        database.command("profile", 0)
        asked = {"ns": f"{database.name}.things", "command.comment": "shardmill things/all"}
        stages: list[dict[str, Any]] = [{"$match": {**asked, "op": {"$in": ["query", "getmore"]}}}]
        stages.append({"$group": {"_id": None, "n": {"$sum": "$nreturned"}}})
        found += [row["n"] for row in database["system.profile"].aggregate(stages)]


class Once:
    """A progress callback that does something once, when enough documents have been read."""

    def __init__(self, after: int, act: Callable[[], None], *, wait: bool = True) -> None:
        self.after = after
        self.act = act
        self.wait = wait
        self.done = False
        self.thread: threading.Thread | None = None

    def __call__(self, done: int, total: int | None, unit: str) -> None:
        if self.done or done < self.after:
            return
        self.done = True
        if self.wait:
            self.act()
        else:
            self.thread = threading.Thread(target=self.act)
            self.thread.start()


@pytest.fixture(scope="module")
def members(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[Mongod]]:
    """A replica set of three, its first member usually the primary; a module may say its ELECTION_MS."""
    election_ms = getattr(request.module, "ELECTION_MS", 10_000)
    root: Path = tmp_path_factory.mktemp("members")
    with ExitStack() as stack:
        servers = [
            stack.enter_context(Mongod(root / f"m{number}", replica_set="three", initiate=False))
            for number in range(3)
        ]
        initiate_set(servers, election_ms=election_ms)
        yield servers


@pytest.fixture
def set_client(members: list[Mongod]) -> Iterator[MongoClient[Any]]:
    """A client of the whole set."""
    for member in members:
        if member.pid is None:
            member.start()
    hosts = ",".join(member.address for member in members)
    uri = f"mongodb://{hosts}/?replicaSet=three&w=majority"
    with MongoClient[Any](uri, tz_aware=True, serverSelectionTimeoutMS=20_000) as client:
        client.admin.command("ping")
        yield client
