"""Servers of other shapes: alone, without snapshots; several members, of which one is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database

from assets.mongo.build import build_documents
from assets.mongo.connect import connect
from demo.mongod import Mongod
from shards import ShardStore
from tests.integration.mongo.conftest import FIELDS, make_documents, make_spec

pytestmark = pytest.mark.xdist_group("replica-set")


def test_a_standalone_server_is_read_once_in_order(store: ShardStore, tmp_path: Path) -> None:
    with Mongod(tmp_path / "alone", replica_set=None) as server, server.client() as client:
        client["d"]["things"].insert_many(make_documents(2_000))
        report = build_documents(make_spec("d"), "all", FIELDS, client=client, store=store)
    assert report.metadata["guarantee"] == "ordered read"
    assert report.rows == 1_980
    version = store.latest("things", "documents")
    assert version is not None
    assert version.provenance.cluster_time is None


def test_a_database_administrator_sees_who_reads_what(
    database: Database[Any], mongo_uri: str, store: ShardStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    database["things"].insert_many(make_documents(3_000))
    monkeypatch.setenv("ONE_URI", mongo_uri)
    database.command("profile", 2)
    spec = make_spec(database.name, uri_env="ONE_URI")
    with connect(spec.source) as client:
        build_documents(spec, "all", FIELDS, client=client, store=store)
    database.command("profile", 0)
    told = list(database["system.profile"].find({"ns": f"{database.name}.things", "op": {"$ne": "insert"}}))
    assert {one["appName"] for one in told} == {"shardmill"}
    assert all(str(one["command"].get("comment")).startswith("shardmill") for one in told)
    reads = [one for one in told if one["command"].get("comment") == "shardmill things/all"]
    finds = [one["command"] for one in reads if "find" in one["command"]]
    assert [sorted(one["projection"]) for one in finds] == [["_id", "text", "value", "vector"]]
    assert len({bytes(one["command"]["lsid"]["id"]) for one in reads}) == 1


@pytest.mark.parametrize("preference", ["secondary", "secondaryPreferred", "nearest"])
def test_cursors_stay_on_their_member(
    members: list[Mongod], store: ShardStore, monkeypatch: pytest.MonkeyPatch, preference: str
) -> None:
    hosts = ",".join(member.address for member in members)
    monkeypatch.setenv("SET_URI", f"mongodb://{hosts}/?replicaSet=three&w=majority")
    spec = make_spec(
        f"pinned_{preference}", uri_env="SET_URI", read_preference=preference, max_documents_per_second=20_000
    )
    with connect(spec.source) as client:
        client[f"pinned_{preference}"]["things"].insert_many(make_documents(8_000))
        report = build_documents(spec, "all", FIELDS, client=client, store=store)
    assert report.rows == 7_920
    assert report.metadata["resumed"] == 0
