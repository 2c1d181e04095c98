"""A read that is killed goes on from the pieces it has put down, and ends as if nothing had happened."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database

from assets.mongo import server_build, splits
from assets.mongo.build import build_documents
from shards import ShardStore
from tests.integration.mongo.conftest import (
    FIELDS,
    counted,
    expected_rows,
    make_documents,
    make_spec,
    rejects_of,
    rows_of,
)

pytestmark = pytest.mark.xdist_group("pieces")

ROOT = Path(__file__).parents[3]
PIECE_BYTES = 100_000
DOCUMENTS = make_documents(6_000)


@pytest.fixture
def things(database: Database[Any], monkeypatch: pytest.MonkeyPatch) -> Database[Any]:
    monkeypatch.setattr(server_build, "piece_bytes", lambda _: PIECE_BYTES)
    monkeypatch.setattr(splits, "SAMPLED_SHARE", 1)
    database["things"].insert_many(DOCUMENTS)
    return database


def kill_in_the_middle(uri: str, database: str, store: ShardStore, num_pieces: int = 4) -> int:
    """Start a read and end it by SIGKILL once so many pieces are there; their number."""
    command = [sys.executable, "-m", "tests.integration.mongo.child", uri, database, str(store.root)]
    with subprocess.Popen([*command, str(PIECE_BYTES), "2000"], cwd=ROOT) as child:
        while len(found := put_down(store)) < num_pieces:
            assert child.poll() is None, "the read ended before it could be killed"
            time.sleep(0.01)
        child.kill()
    assert store.latest("things", "documents") is None
    return len(found)


def put_down(store: ShardStore) -> list[Path]:
    return list(Path(store.root).glob("things/documents/data/all/pieces-*/range_*"))


def test_a_killed_read_goes_on_in_its_snapshot(
    things: Database[Any], mongo_uri: str, store: ShardStore, tmp_path: Path
) -> None:
    spec = make_spec(things.name)
    undisturbed = ShardStore(tmp_path / "undisturbed")
    whole = build_documents(spec, "all", FIELDS, client=things.client, store=undisturbed)
    assert whole.metadata["ranges"] > 5
    kill_in_the_middle(mongo_uri, things.name, store)
    with counted(things) as sent:
        report = build_documents(spec, "all", FIELDS, client=things.client, store=store)
    assert report.metadata["mode"] == "full"
    assert report.metadata["guarantee"] == "snapshot"
    assert report.metadata["kept"] >= 1_000
    assert report.metadata["kept"] + report.metadata["read"] == len(DOCUMENTS)
    assert sum(sent) == report.metadata["read"]
    assert rows_of(store) == expected_rows(DOCUMENTS)
    assert len(rejects_of(store)) == 60
    assert report.content_hash == whole.content_hash
    assert content(store) == content(undisturbed)
    nothing_is_left(store)


def test_changes_since_the_kill_are_read_too(
    things: Database[Any], mongo_uri: str, store: ShardStore, tmp_path: Path
) -> None:
    kill_in_the_middle(mongo_uri, things.name, store)
    things["things"].update_many({"_id": {"$gte": 100, "$lt": 300}}, {"$set": {"value": -1}})
    things["things"].delete_many({"_id": {"$lt": 100}})
    things["things"].insert_many([{**one, "_id": one["_id"] + 10_000} for one in DOCUMENTS[:50]])
    spec = make_spec(things.name)
    report = build_documents(spec, "all", FIELDS, client=things.client, store=store)
    assert report.metadata["mode"] == "ranges and replay"
    assert report.metadata["changed"] == 350
    assert 0 < report.metadata["kept"] < len(DOCUMENTS)
    fresh = ShardStore(tmp_path / "fresh")
    whole = build_documents(spec, "all", FIELDS, client=things.client, store=fresh)
    assert report.content_hash == whole.content_hash
    nothing_is_left(store)


def content(store: ShardStore) -> dict[str, bytes]:
    version = store.latest("things", "documents")
    assert version is not None
    directory = Path(store.root) / version.directory
    return {path.name: path.read_bytes() for path in directory.glob("table.*")}


def nothing_is_left(store: ShardStore) -> None:
    """Of the attempts, only the published one is there once the collector has been."""
    assert put_down(store) == []
    store.gc("things", grace_seconds=0, dry_run=False)
    version = store.latest("things", "documents")
    assert version is not None
    left = (Path(store.root) / "things/documents/data/all").iterdir()
    assert [path.name for path in left] == [Path(version.directory).name]


def test_pieces_of_a_collection_that_was_made_anew_are_not_used(
    things: Database[Any], mongo_uri: str, store: ShardStore
) -> None:
    kill_in_the_middle(mongo_uri, things.name, store)
    things.drop_collection("things")
    fresh = make_documents(500)
    things["things"].insert_many(fresh)
    report = build_documents(make_spec(things.name), "all", FIELDS, client=things.client, store=store)
    assert report.metadata["kept"] == 0
    assert rows_of(store) == expected_rows(fresh)
    nothing_is_left(store)


def test_other_questions_do_not_use_them(things: Database[Any], mongo_uri: str, store: ShardStore) -> None:
    kill_in_the_middle(mongo_uri, things.name, store)
    report = build_documents(make_spec(things.name), "all", FIELDS[:1], client=things.client, store=store)
    assert report.metadata["kept"] == 0
    assert report.rows == 5_940
    assert put_down(store)
    store.gc("things", grace_seconds=0, dry_run=False)
    assert put_down(store) == []


def test_damaged_pieces_are_read_again(things: Database[Any], mongo_uri: str, store: ShardStore) -> None:
    kill_in_the_middle(mongo_uri, things.name, store)
    for number, path in enumerate(sorted(put_down(store))):
        data = bytearray(path.read_bytes())
        if number % 2:
            data[len(data) // 2] ^= 1
            path.write_bytes(data)
    report = build_documents(make_spec(things.name), "all", FIELDS, client=things.client, store=store)
    assert 0 < report.metadata["kept"] < len(DOCUMENTS)
    assert rows_of(store) == expected_rows(DOCUMENTS)


def test_an_index_made_in_the_middle_ends_the_snapshot_and_not_the_read(
    things: Database[Any], mongo_uri: str, store: ShardStore
) -> None:
    kill_in_the_middle(mongo_uri, things.name, store)
    things["things"].create_index("text")
    report = build_documents(make_spec(things.name), "all", FIELDS, client=things.client, store=store)
    assert report.metadata["kept"] > 0
    assert rows_of(store) == expected_rows(DOCUMENTS)
