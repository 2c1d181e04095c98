"""Partitions on a real server: every document is in one, changes touch the right ones, secrets stay."""

from __future__ import annotations

import datetime
import traceback
from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database

from assets.mongo.build import build_documents
from assets.mongo.connect import connect
from assets.mongo.errors import SourceError
from assets.mongo.observe import partition_counts, partition_values, source_versions
from assets.mongo.order import order_key
from assets.mongo.unplaced import build_unplaced
from assets.mongo.watch import touched_partitions
from assets.spec import DatasetSpec
from assets.spec.source import Source
from shards import ShardStore
from tests.integration.mongo.conftest import FIELDS, make_spec, rows_of

DAYS = [f"2024-01-{day:02d}" for day in range(1, 29)]
CASES: list[tuple[dict[str, Any], list[str], int]] = [
    ({"by": "none"}, ["all"], 0),
    ({"by": "hash", "buckets": 3}, ["0", "1", "2"], 0),
    ({"by": "time", "field": "when", "every": "day", "start": datetime.date(2024, 1, 1)}, DAYS, 2),
    ({"by": "static", "field": "kind", "values": ["a", 7]}, ["7", "a"], 242),
    ({"by": "dynamic", "field": "kind"}, ["7", "a", "b"], 162),
]


@pytest.fixture
def things(database: Database[Any]) -> Database[Any]:
    database["things"].insert_many(
        [
            {
                "_id": number,
                "value": number,
                "kind": ["a", "b", 7, 3.5, None][number % 5],
                "when": datetime.datetime(2024, 1, 1 + number % 28, 23, 59, 59, 999_000),
            }
            for number in range(400)
        ]
        + [{"_id": "x", "value": 1, "when": "2024-01-01", "kind": ["a"]}, {"_id": "y", "value": 2}]
    )
    return database


@pytest.mark.parametrize(("partitions", "keys", "outside"), CASES, ids=lambda case: str(case)[:20])
def test_every_document_is_counted_once(
    things: Database[Any], store: ShardStore, partitions: dict[str, Any], keys: list[str], outside: int
) -> None:
    spec = make_spec(things.name, partitions=partitions)
    counts, elsewhere = partition_counts(spec, keys, things.client)
    assert elsewhere == outside
    assert sum(counts.values()) + elsewhere == 402
    if spec.partitions.by == "dynamic":
        assert partition_values(spec, things.client) == keys
    for key in keys:
        report = build_documents(spec, key, FIELDS, client=things.client, store=store)
        assert report.rows == counts[key] == report.metadata["server_count"]


@pytest.mark.parametrize(("partitions", "keys", "outside"), CASES[1:], ids=lambda case: str(case)[:20])
def test_changes_touch_their_partitions_alone(
    things: Database[Any], store: ShardStore, partitions: dict[str, Any], keys: list[str], outside: int
) -> None:
    spec = make_spec(things.name, partitions=partitions)
    for key in keys:
        build_documents(spec, key, FIELDS, client=things.client, store=store)
    before = source_versions(spec, keys, things.client)
    token = touched_partitions(spec, things.client, store, None, keys=keys).token
    collection = things["things"]
    moved = {"$set": {"kind": 7, "when": datetime.datetime(2024, 1, 20)}}
    collection.update_one({"_id": 0}, moved)
    collection.delete_one({"_id": 1})
    collection.insert_one({"_id": 1_000, "value": 1, "kind": "a", "when": datetime.datetime(2024, 1, 9)})
    after = source_versions(spec, keys, things.client)
    touched = touched_partitions(spec, things.client, store, token, keys=keys)
    assert touched.num_events == 3
    assert not touched.lost
    assert touched.partitions == {key for key in keys if before[key] != after[key]}
    assert not touched_partitions(spec, things.client, store, touched.token, keys=keys).partitions


def test_a_dropped_collection_and_a_wrong_token_are_told(things: Database[Any], store: ShardStore) -> None:
    spec = make_spec(things.name)
    token = touched_partitions(spec, things.client, store, None).token
    things.drop_collection("things")
    assert touched_partitions(spec, things.client, store, token).lost
    assert touched_partitions(spec, things.client, store, {"_data": "82" + "00" * 20}).lost


def test_a_missing_index_is_a_warning(things: Database[Any], store: ShardStore, tmp_path: Path) -> None:
    spec = make_spec(things.name, partitions=CASES[2][0])
    report = build_documents(spec, DAYS[0], FIELDS, client=things.client, store=store)
    assert "createIndex" in report.metadata["warnings"][0]
    things["things"].create_index("when")
    again = build_documents(spec, DAYS[0], FIELDS, client=things.client, store=ShardStore(tmp_path / "again"))
    assert again.metadata["warnings"] == []
    assert again.content_hash == report.content_hash


def test_views_time_series_and_several_collections(things: Database[Any], store: ShardStore) -> None:
    things.create_collection("view", viewOn="things", pipeline=[{"$match": {"value": {"$lt": 10}}}])
    spec = make_spec(things.name, collection="view")
    assert build_documents(spec, "all", FIELDS, client=things.client, store=store).rows == 12
    things.create_collection("series", timeseries={"timeField": "when", "metaField": "kind"})
    moment = datetime.datetime(2024, 1, 1)
    things["series"].insert_many([{"_id": n, "when": moment, "kind": "a", "value": n} for n in range(50)])
    spec = make_spec(things.name, collection="series")
    assert build_documents(spec, "all", FIELDS, client=things.client, store=store).rows == 50
    spec = make_spec(things.name, collections=["things", "series"])
    assert build_documents(spec, "all", FIELDS, client=things.client, store=store).rows == 452


@pytest.mark.parametrize("kind", ["view", "series"])
@pytest.mark.parametrize(("partitions", "keys", "outside"), CASES[1:], ids=lambda case: str(case)[:20])
def test_views_and_time_series_are_partitioned(
    things: Database[Any],
    store: ShardStore,
    kind: str,
    partitions: dict[str, Any],
    keys: list[str],
    outside: int,
) -> None:
    if kind == "view":
        things.create_collection("view", viewOn="things", pipeline=[{"$match": {"value": {"$gte": 0}}}])
    else:
        things.create_collection("series", timeseries={"timeField": "when", "metaField": "kind"})
        things["series"].insert_many(list(things["things"].find({"when": {"$type": "date"}})))
        outside -= 2 if partitions["by"] in ("time", "static", "dynamic") else 0
    num_documents = things[kind].count_documents({})
    spec = make_spec(things.name, collection=kind, partitions=partitions)
    counts, elsewhere = partition_counts(spec, keys, things.client)
    assert elsewhere == outside
    assert sum(counts.values()) + elsewhere == num_documents
    for key in keys:
        report = build_documents(spec, key, FIELDS, client=things.client, store=store)
        assert report.rows == counts[key] == report.metadata["server_count"], key
        assert rows_of(store, key) == sorted(rows_of(store, key), key=lambda row: order_key(row["_id"]))
    unplaced = build_unplaced(spec, client=things.client, store=store)
    assert (0 if unplaced is None else sum(unplaced.rejects.values())) == outside


def test_pipelines_are_run_by_the_server(things: Database[Any], store: ShardStore) -> None:
    stages = [{"$match": {"value": {"$lt": 5}}}, {"$set": {"n": [1, 2, 3]}}, {"$unwind": "$n"}]
    stages.append({"$set": {"value": "$n"}})
    spec = make_spec(things.name, pipeline=stages, unwound_by="n")
    report = build_documents(spec, "all", FIELDS, client=things.client, store=store)
    assert report.rows == 21
    again = build_documents(spec, "all", FIELDS, client=things.client, store=store)
    assert again.content_hash == report.content_hash


@pytest.mark.parametrize(
    "uri",
    ["mongodb://user:canary@host:bad/", "mongodb://user:canary@h/?tls=maybe&x", "http://canary"],
)
def test_connection_strings_are_never_shown(monkeypatch: pytest.MonkeyPatch, uri: str) -> None:
    monkeypatch.setenv("SOME_URI", uri)
    source = Source.model_validate({"database": "d", "collection": "c", "uri_env": "SOME_URI"})
    try:
        connect(source).close()
    except (SourceError, UserWarning):
        assert "canary" not in traceback.format_exc()
    else:
        pytest.fail("no error")


def test_a_missing_connection_string_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOME_URI", raising=False)
    with pytest.raises(SourceError, match="SOME_URI"):
        connect(Source.model_validate({"database": "d", "collection": "c", "uri_env": "SOME_URI"}))


def test_what_the_spec_means(things: Database[Any], store: ShardStore) -> None:
    """A source's own filter applies inside every partition."""
    spec: DatasetSpec = make_spec(things.name, filter={"value": {"$lt": 100}})
    assert build_documents(spec, "all", FIELDS, client=things.client, store=store).rows == 102
