"""A partition that nobody wrote to since its latest version is not read; one that somebody did is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database

from assets.mongo import unchanged
from assets.mongo.build import build_documents
from shards import ShardStore
from tests.integration.mongo.conftest import FIELDS, counted, make_spec

PARTITIONS = {"by": "static", "field": "part", "values": ["a", "b"]}


@pytest.fixture
def things(database: Database[Any]) -> Database[Any]:
    database["things"].insert_many(
        [
            {"_id": number, "part": "ab"[number % 2], "value": number if number % 20 else "unfit"}
            for number in range(200)
        ]
    )
    return database


def test_what_was_not_written_to_is_not_read(things: Database[Any], store: ShardStore) -> None:
    spec = make_spec(things.name, partitions=PARTITIONS)
    first = build_documents(spec, "a", FIELDS, client=things.client, store=store)
    things["things"].insert_one({"_id": 1_000, "part": "b", "value": 1})
    things["things"].update_one({"_id": 1}, {"$set": {"value": 5}})
    things["things"].delete_one({"_id": 3})
    things["elsewhere"].insert_one({})
    with counted(things) as sent:
        again = build_documents(spec, "a", FIELDS, client=things.client, store=store)
    assert sent == []
    assert again.metadata["mode"] == "unchanged"
    assert again.metadata["rejects"] == first.metadata["rejects"] == {"wrong type": 10}
    assert not again.created
    assert (again.version, again.content_hash, again.rows) == (1, first.content_hash, first.rows)
    assert [path.name for path in (Path(store.root) / "things/documents/manifests/a").iterdir()] == [
        "00000001.json"
    ]


@pytest.mark.parametrize("what", ["update", "insert", "delete", "move in", "move out", "reject mended"])
def test_every_kind_of_change_is_seen(things: Database[Any], store: ShardStore, what: str) -> None:
    spec = make_spec(things.name, partitions=PARTITIONS)
    first = build_documents(spec, "a", FIELDS, client=things.client, store=store)
    collection = things["things"]
    if what == "insert":
        collection.insert_one({"_id": 1_000, "part": "a", "value": 1})
    elif what == "delete":
        collection.delete_one({"_id": 2})
    else:
        place, change = {
            "update": (2, {"value": -1}),
            "move in": (1, {"part": "a"}),
            "move out": (2, {"part": "b"}),
            "reject mended": (0, {"value": 0}),
        }[what]
        collection.update_one({"_id": place}, {"$set": change})
    again = build_documents(spec, "a", FIELDS, client=things.client, store=store)
    assert again.metadata["mode"] == "full"
    assert again.content_hash != first.content_hash


def test_what_cannot_be_known_is_read(
    things: Database[Any], store: ShardStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = make_spec(things.name, partitions=PARTITIONS)
    first = build_documents(spec, "a", FIELDS, client=things.client, store=store)
    monkeypatch.setattr(unchanged, "LOOK_BACK_SECONDS", -1)
    again = build_documents(spec, "a", FIELDS, client=things.client, store=store)
    assert again.metadata["mode"] == "full"
    assert again.content_hash == first.content_hash
    other = build_documents(spec, "a", FIELDS[:1], client=things.client, store=store)
    assert other.metadata["mode"] == "full"
