"""Runs over real documents: metadata of every partition, one bad partition, retries, secrets, jobs."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from bson import Binary
from PIL import Image
from pymongo.database import Database
from pymongo.errors import AutoReconnect

from assets.figures import MAX_PICTURE_BYTES
from assets.spec import DatasetSpec
from assets.versions import code_version
from tests.integration.dagster.shop import MONTHS, Pipeline, document, failures, fill, goods, pipeline


@pytest.fixture
def shop(database: Database[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mongo_uri: str) -> Any:
    fill(database)
    with pipeline(goods(database), tmp_path, monkeypatch, mongo_uri) as made:
        yield made


def test_one_run_over_all_partitions_tells_of_each(shop: Pipeline, database: Database[Any]) -> None:
    database.goods.delete_one({"_id": document(2_000, 2)["_id"]})
    database.goods.update_one({"_id": document(3_000, 3)["_id"]}, {"$set": {"price": "dear"}})
    result = shop.run()
    assert result.success, failures(result)
    rows = dict.fromkeys(MONTHS, 30) | {"2025-02": 29, "2025-03": 29}
    versions = set()
    for month in MONTHS:
        (event,) = shop.events("documents", month)
        metadata = {name: value.value for name, value in event.metadata.items()}
        assert metadata["dagster/row_count"] == rows[month]
        assert metadata["rejects"] == (1 if month == "2025-03" else 0)
        assert metadata["server_count"] == rows[month] + metadata["rejects"]
        assert {
            "size_bytes",
            "rows_per_second",
            "mb_per_second",
            "cluster_time",
            "version",
        } <= metadata.keys()
        versions.add(metadata["content_hash"])
    assert len(versions) == len(MONTHS)
    for asset in ("documents", "images", "records", "snapshot"):
        made = shop.store.latest("goods", asset, "all" if asset == "snapshot" else MONTHS[0])
        assert made is not None
        assert made.provenance.code_version == code_version(shop.spec, asset)
        assert made.provenance.run_id == result.run_id
    (snapshot,) = shop.events("snapshot")
    assert snapshot.metadata["dagster/row_count"].value == sum(rows.values())
    assert shop.store.snapshot("goods").num_rows == sum(rows.values())


def test_a_run_a_partition_tells_the_same_as_one_run_over_all(
    shop: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mongo_uri: str
) -> None:
    assert shop.run().success
    with pipeline(shop.spec, tmp_path / "other", monkeypatch, mongo_uri) as other:
        for month in MONTHS:
            result = other.run(month)
            assert result.success, failures(result)
        timing = {"seconds", "rows_per_second", "mb_per_second", "cluster_time", "as_of"}
        for asset in ("documents", "images", "records"):
            for month in MONTHS:
                one, many = (made.events(asset, month)[0].metadata for made in (shop, other))
                assert one.keys() == many.keys()
                assert all(one[name] == many[name] for name in one if name not in timing), (asset, month)
        (event, *_) = other.events("documents", MONTHS[0])
        assert event.tags is not None
        assert event.tags["dagster/data_version"] == event.metadata["content_hash"].value


def test_equal_content_makes_no_new_version(shop: Pipeline) -> None:
    assert shop.run().success
    assert shop.run().success
    assert all(
        shop.store.versions("goods", asset, MONTHS[1]) == [1] for asset in ("documents", "images", "records")
    )
    assert shop.store.versions("goods", "snapshot") == [1]
    again, first = (event.metadata["unchanged"].value for event in shop.events("records", MONTHS[1]))
    assert (first, again) == (False, True)


def test_reading_again_can_be_asked_for_in_the_launchpad(shop: Pipeline) -> None:
    assert shop.run("2025-01").success
    assert shop.run("2025-01").success
    again = {"config": {"re_read": True}}
    config = {"ops": {"goods__documents": again, "goods__images": again}}
    result = shop.run("2025-01", run_config=config)
    assert result.success, failures(result)
    decoded = [event.metadata["num_decoded"].value for event in shop.events("images", "2025-01")]
    assert decoded == [30, 0, 30]
    read = [event.metadata["mode"].value for event in shop.events("documents", "2025-01")]
    assert read == ["full", "unchanged", "full"]
    assert shop.store.versions("goods", "documents", "2025-01") == [1]


def test_a_bad_partition_stops_neither_the_others_nor_their_record(
    shop: Pipeline, database: Database[Any]
) -> None:
    assert shop.run(assets=["documents"]).success
    store = shop.store
    newest = store.version("goods", "documents", "2025-02", 1)
    for file in newest.files():
        (Path(store.root) / file.path).write_bytes(b"")
    result = shop.run(assets=["records"])
    assert not result.success
    assert "1 of 4 partitions of goods/records failed" in failures(result)
    assert "2025-02: DamagedFile" in failures(result)
    made = {event.partition: event for event in shop.events("records")}
    assert sorted(made) == ["2025-01", "2025-03", "2025-04"]
    tags = made["2025-01"].tags
    assert tags is not None
    assert tags["dagster/data_version"] == store.version("goods", "records", "2025-01", 1).content_hash


def test_errors_that_can_pass_are_tried_again(shop: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    import assets.documents as module

    calls: list[str] = []
    build = module.build_documents

    def flaky(spec: DatasetSpec, partition: str, *arguments: Any, **options: Any) -> Any:
        calls.append(partition)
        if calls.count("2025-03") == 1 and partition == "2025-03":
            raise AutoReconnect("connection closed")
        return build(spec, partition, *arguments, **options)

    monkeypatch.setattr(module, "build_documents", flaky)
    result = shop.run(assets=["documents"])
    assert result.success, failures(result)
    assert calls == [*MONTHS[:3], *MONTHS]
    assert len([event for event in result.all_events if event.is_step_up_for_retry]) == 1


def test_errors_that_cannot_pass_are_not_tried_again(
    database: Database[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mongo_uri: str
) -> None:
    fill(database, months=[1])
    spec = goods(
        database, source={"database": database.name, "collection": "goods", "pipeline": [{"$nonsense": 1}]}
    )
    with pipeline(spec, tmp_path, monkeypatch, mongo_uri) as made:
        result = made.run("2025-01", assets=["documents"])
        assert not result.success
        assert not [event for event in result.all_events if event.is_step_up_for_retry]


def test_the_password_is_nowhere(
    database: Database[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mongo_uri: str, capfd: Any
) -> None:
    """A canary in the connection string is looked for in every file, event, log line and traceback."""
    canary = "canary7c1f"
    fill(database, months=[1])
    host = mongo_uri.split("//")[1]
    wrong = f"mongodb://someone:{canary}@{host}&serverSelectionTimeoutMS=2000&authSource=admin"
    unreachable = f"mongodb://someone:{canary}@127.0.0.1:1/?serverSelectionTimeoutMS=500"
    malformed = f"mongodb://someone:{canary}@{host}&replicaSet=a&tls=maybe"
    right = f"{mongo_uri}&appName={canary}"
    monkeypatch.setenv("SHARDS_ROOT", str(tmp_path / "shards"))
    home = tmp_path / "home"
    home.mkdir()
    spec = goods(database, runs={"retries": 0})
    with dg.DagsterInstance.local_temp(str(home)) as instance:
        from shards import ShardStore

        made = Pipeline(spec, instance, ShardStore(tmp_path / "shards"))
        outcomes = []
        for uri in (right, wrong, unreachable, malformed):
            monkeypatch.setenv("MONGODB_URI", uri)
            outcomes.append(made.run("2025-01").success)
    assert outcomes == [True, False, False, False]
    shown = capfd.readouterr()
    assert canary not in shown.out + shown.err
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert any(file.suffix == ".db" for file in files)
    assert any(file.suffix == ".json" for file in files)
    assert [str(file) for file in files if canary.encode() in file.read_bytes()] == []


def test_a_trial_publishes_nothing(shop: Pipeline) -> None:
    config = {"ops": {"goods_trial_op": {"config": {"first_partition": "2025-02", "limit": 7}}}}
    result = shop.run(job="trial", run_config=config)
    assert result.success, failures(result)
    assert shop.store.datasets() == []
    (event,) = [event for event in result.all_events if event.event_type_value == "ASSET_OBSERVATION"]
    observation = event.asset_observation_data.asset_observation
    assert observation.metadata["dagster/row_count"].value == 7
    assert observation.partition == "2025-02"


def test_a_trial_of_a_partition_that_is_none(shop: Pipeline) -> None:
    config = {"ops": {"goods_trial_op": {"config": {"first_partition": "2024-02"}}}}
    assert "allowed: 2025-01 to 2025-04" in failures(shop.run(job="trial", run_config=config))


def test_verify_finds_a_damaged_file(shop: Pipeline) -> None:
    result = shop.run("2025-01")
    assert result.success, failures(result)
    assert shop.run(job="verify").success
    file = shop.store.version("goods", "records", "2025-01", 1).column("price").path(0)
    path = Path(shop.store.root) / file
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    result = shop.run(job="verify")
    assert not result.success
    assert file in failures(result)


def test_gc_keeps_what_snapshots_need(shop: Pipeline, database: Database[Any]) -> None:
    for price in (1.0, 2.0, 3.0):
        database.goods.update_one({"_id": document(1_000, 1)["_id"]}, {"$set": {"price": price}})
        result = shop.run("2025-01")
    assert result.success, failures(result)
    config = {"ops": {"goods_gc_op": {"config": {"keep_versions": 1, "grace_hours": 0.0}}}}
    assert shop.run(job="gc", run_config=config).success
    assert shop.store.versions("goods", "records", "2025-01") == [3]
    assert shop.store.versions("goods", "snapshot") == [3]
    assert shop.store.snapshot("goods").num_rows == 30


def test_pictures_are_small_and_whole(shop: Pipeline, database: Database[Any]) -> None:
    database.goods.update_one({"_id": document(1_000, 1)["_id"]}, {"$set": {"picture": Binary(b"broken")}})
    result = shop.run("2025-01")
    assert result.success, failures(result)
    (images,) = shop.events("images", "2025-01")
    (records,) = shop.events("records", "2025-01")
    for event, name in (
        (images, "contact_sheet_picture"),
        (images, "rejected_pictures"),
        (images, "histograms"),
        (records, "histograms"),
    ):
        text = str(event.metadata[name].value)
        match = re.fullmatch(r"!\[\w+\]\(data:image/(png|jpeg);base64,([A-Za-z0-9+/=]+)\)", text)
        assert match
        data = base64.b64decode(match[2])
        assert len(data) < MAX_PICTURE_BYTES
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            assert image.format == match[1].upper()


def test_a_run_shows_rows_and_every_number(
    database: Database[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mongo_uri: str
) -> None:
    """The first rows as a table; of thirty numbers thirty histograms, on two sheets."""
    numbers = {f"n{position:02}": {"kind": "number", "path": "price"} for position in range(30)}
    color = {"color": {"kind": "category", "path": "color"}}
    fill(database, months=[1])
    spec = goods(database, columns={**numbers, **color})
    with pipeline(spec, tmp_path, monkeypatch, mongo_uri) as made:
        result = made.run("2025-01")
        assert result.success, failures(result)
        (records,) = made.events("records", "2025-01")
        sheets = []
        for name in ("histograms", "histograms_2"):
            content = str(records.metadata[name].value).partition("base64,")[2].removesuffix(")")
            with Image.open(io.BytesIO(base64.b64decode(content))) as image:
                sheets.append(image.size[1])
        assert sheets == [6 * 90, 2 * 90]
        for event in (records, made.events("documents", "2025-01")[0]):
            rows = [dict(row.data) for row in event.metadata["sample"].records]  # type: ignore[union-attr]
            assert len(rows) == 5
            shown = [row["n00"] for row in rows]
            assert shown == pytest.approx([document(1_000 + row, 1)["price"] for row in range(5)], rel=1e-6)
        as_of = records.metadata["as_of"].value
        assert f"{as_of:.0f}" == str(records.metadata["cluster_time"].value).partition(".")[0]


def test_checks_that_fail_stop_the_snapshot(
    database: Database[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mongo_uri: str
) -> None:
    fill(database, months=[1])
    spec = goods(database, checks={"ranges": {"price": [1, 50]}})
    with pipeline(spec, tmp_path, monkeypatch, mongo_uri) as made:
        result = made.run("2025-01")
        assert not result.success
        checks = {check.check_name: check for check in result.get_asset_check_evaluations()}
        assert not checks["value_ranges"].passed
        assert "allowed 1 to 50" in (checks["value_ranges"].description or "")
        assert made.store.versions("goods", "snapshot") == []


def test_drift_and_schema_drift_warn(
    database: Database[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mongo_uri: str
) -> None:
    fill(database, per_month=120, months=[1])
    with pipeline(goods(database), tmp_path, monkeypatch, mongo_uri) as made:
        assert made.run("2025-01").success
        database.goods.update_many({}, {"$mul": {"price": 40}, "$set": {"color": "grey"}})
        result = made.run("2025-01")
        assert result.success
        checks = {check.check_name: check for check in result.get_asset_check_evaluations()}
        assert not checks["distribution_drift"].passed
        assert not checks["category_drift"].passed
        assert checks["category_drift"].severity == dg.AssetCheckSeverity.WARN
        changed = goods(
            database,
            columns={**_columns(made.spec), "price": {"kind": "text", "path": "price", "coerce": True}},
        )
    with pipeline(changed, tmp_path, monkeypatch, mongo_uri) as made:
        result = made.run("2025-01", assets=["documents"])
        checks = {check.check_name: check for check in result.get_asset_check_evaluations()}
        assert not checks["schema_drift"].passed
        assert "price is large_string, allowed double" in (checks["schema_drift"].description or "")


def test_what_tells_partitions_apart_is_no_drift(
    database: Database[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mongo_uri: str
) -> None:
    fill(database, per_month=120)
    columns = {
        "at": {"kind": "datetime", "path": "at"},
        "price": {"kind": "number", "path": "price"},
    }
    with pipeline(goods(database, columns=columns), tmp_path, monkeypatch, mongo_uri) as made:
        assert made.run().success
        result = made.run(assets=["records"])
        assert result.success, failures(result)
        checks = {check.check_name: check for check in result.get_asset_check_evaluations()}
        drift = checks["distribution_drift"]
        assert drift.passed, drift.description
        table = drift.metadata["findings"]
        assert {row.data["subject"] for row in table.records} == {"price"}  # type: ignore[union-attr]


def _columns(spec: DatasetSpec) -> dict[str, Any]:
    return dict(json.loads(spec.model_dump_json(exclude_defaults=True, include={"columns"}))["columns"])


def test_documents_in_no_partition_are_named(shop: Pipeline, database: Database[Any]) -> None:
    database.goods.update_one({"_id": document(1_000, 1)["_id"]}, {"$unset": {"at": 1}})
    database.goods.update_one({"_id": document(1_001, 1)["_id"]}, {"$set": {"at": "soon"}})
    result = shop.run()
    assert result.success, failures(result)
    checks = {check.check_name: check for check in result.get_asset_check_evaluations()}
    found = checks["in_a_partition"]
    assert not found.passed
    assert found.severity == dg.AssetCheckSeverity.WARN
    assert found.description == "2 documents are in no partition"
    rows = [dict(record.data) for record in found.metadata["rejected"].records]
    assert [row["got"] for row in rows] == ["missing", '"soon"']
    assert str(document(1_000, 1)["_id"]) in str(rows[0]["_id"])
