"""Servers of other shapes: alone, without snapshots; several members, of which one is asked."""

from __future__ import annotations

from pathlib import Path

import pytest

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
