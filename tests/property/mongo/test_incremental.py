"""Incremental reads give exactly what full reads give, whatever happened in between."""

from __future__ import annotations

import datetime
import tempfile
from typing import Any

import pytest
from bson import ObjectId
from hypothesis import given, settings
from hypothesis import strategies as st
from pymongo.database import Database

from assets.mongo import incremental
from assets.mongo.build import build_documents
from assets.mongo.fields import Field, ListOf
from assets.spec import DatasetSpec
from shards import ShardStore

FIELDS = [
    Field("value", "value", "int64", required=False),
    Field("text", "text", "string", required=False),
    Field("numbers", "numbers", ListOf("float64", 2), required=False),
]
IDS: list[Any] = [1, 2.5, "a", "b", ObjectId("0" * 24), ObjectId("f" * 24), {"k": 1}, True, None, 7, 8, 9]

Action = tuple[str, int, Any]
values = st.sampled_from([1, 2, 3, None, "unfit", 2.5])
actions = st.lists(
    st.tuples(st.sampled_from(["put", "put", "put", "delete", "move"]), st.integers(0, len(IDS) - 1), values),
    max_size=8,
)


def spec_of(database: str) -> DatasetSpec:
    return DatasetSpec.model_validate(
        {
            "name": "things",
            "source": {"database": database, "collection": "things", "updated_field": "updated"},
            "partitions": {"by": "static", "field": "part", "values": ["x", "y"]},
            "columns": {"value": {"kind": "number", "path": "value"}},
            "checks": {"max_reject_share": 1},
        }
    )


def apply(database: Database[Any], steps: list[Action]) -> None:
    things = database["things"]
    for kind, place, value in steps:
        now = datetime.datetime.now(datetime.timezone.utc)
        if kind == "delete":
            things.delete_one({"_id": IDS[place]})
        elif kind == "move":
            stages = [{"$set": {"part": {"$cond": [{"$eq": ["$part", "x"]}, "y", "x"]}, "updated": now}}]
            things.update_one({"_id": IDS[place]}, stages)
        else:
            numbers = [1.0, 2] if place % 3 else None
            document = {"_id": IDS[place], "value": value, "text": str(value), "numbers": numbers}
            part = "x" if place % 2 else "y"
            things.replace_one({"_id": IDS[place]}, {**document, "part": part, "updated": now}, upsert=True)


@pytest.mark.parametrize("overlap_seconds", [0, 300])
def test_incremental_equals_full(
    database: Database[Any], monkeypatch: pytest.MonkeyPatch, overlap_seconds: int
) -> None:
    # Cluster times have whole seconds; a second of overlap is the least that can be right.
    overlap = datetime.timedelta(seconds=max(1, overlap_seconds))
    monkeypatch.setattr(incremental, "OVERLAP", overlap)
    spec = spec_of(database.name)
    modes: set[str] = set()

    @settings(max_examples=6, deadline=None)
    @given(history=st.lists(actions, min_size=2, max_size=4))
    def check(history: list[list[Action]]) -> None:
        database["things"].delete_many({})
        with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
            followed = ShardStore(one)
            for number, steps in enumerate(history):
                apply(database, steps)
                for part in ("x", "y"):
                    report = build_documents(spec, part, FIELDS, client=database.client, store=followed)
                    modes.add(report.metadata["mode"])
                    fresh = ShardStore(f"{other}/{number}")
                    full = build_documents(spec, part, FIELDS, client=database.client, store=fresh)
                    assert full.metadata["mode"] == "full"
                    assert report.content_hash == full.content_hash, (report, full)
                    assert report.rejects == full.rejects

    check()
    assert "incremental" in modes
