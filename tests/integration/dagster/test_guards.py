"""What blocks is measured before anything is published; what was measured stands in the checks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from bson import Binary
from pymongo.database import Database

from tests.integration.dagster.shop import document, failures, fill, goods, pipeline

BROKEN: dict[str, dict[str, Any]] = {
    "documents": {"price": "dear"},
    "images": {"picture": Binary(b"no picture")},
    "records": {"color": "plaid"},
}
CHECK = {"documents": "reject_share", "images": "broken_share", "records": "reject_share"}
COLUMNS = {
    "picture": {"kind": "image", "path": "picture", "size": [8, 8]},
    "price": {"kind": "number", "path": "price"},
    "color": {"kind": "category", "path": "color", "values": ["red", "green", "blue"]},
}


@pytest.mark.parametrize("asset", list(BROKEN))
def test_above_its_share_an_asset_fails_before_anything_is_published(
    asset: str, database: Database[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mongo_uri: str
) -> None:
    """Of two partitions the bad one keeps its version and the good one gets a new one."""
    fill(database, per_month=20, months=[1, 2])
    spec = goods(database, columns=COLUMNS, checks={"max_reject_share": 0.1, "max_broken_image_share": 0.1})
    with pipeline(spec, tmp_path, monkeypatch, mongo_uri) as made:
        assert made.run("2025-01", "2025-02").success
        before = {file for file in (tmp_path / "shards").rglob("*") if f"/{asset}/" in str(file)}
        bad = [document(1_000 + row, 1)["_id"] for row in range(3)]
        database.goods.update_many({"_id": {"$in": bad}}, {"$set": BROKEN[asset]})
        database.goods.insert_one(document(2_900, 2))
        result = made.run("2025-01", "2025-02")
        assert not result.success
        said = failures(result)
        assert f"goods/{asset}: nothing was published: {CHECK[asset]}, 2025-01: " in said
        assert "is 0.15 (3 of 20: " in said
        assert "allowed 0.1. Next: mend the " in said
        (check,) = [one for one in result.get_asset_check_evaluations() if not one.passed]
        assert (check.asset_key, check.check_name) == (dg.AssetKey(["goods", asset]), CHECK[asset])
        assert check.blocking
        assert check.description is not None
        assert check.description.startswith("2025-01: ")
        assert made.store.versions("goods", asset, "2025-01") == [1]
        assert made.store.versions("goods", asset, "2025-02") == [1, 2]
        assert made.store.versions("goods", "snapshot") == [1]
        new = {file for file in (tmp_path / "shards").rglob("*") if f"/{asset}/" in str(file)} - before
        assert [file for file in new if "2025-01" in str(file)] == []


def test_pictures_in_two_splits_keep_a_snapshot_from_being_published(
    database: Database[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mongo_uri: str
) -> None:
    fill(database, months=[1])
    everywhere = document(1_000, 1)["picture"]
    half = [document(1_000 + row, 1)["_id"] for row in range(15)]
    database.goods.update_many({"_id": {"$in": half}}, {"$set": {"picture": everywhere}})
    with pipeline(goods(database), tmp_path, monkeypatch, mongo_uri) as made:
        result = made.run("2025-01")
        assert not result.success
        assert "goods/snapshot: nothing was published: split_leakage, all: pictures in train" in failures(
            result
        )
        assert made.store.versions("goods", "snapshot") == []
    rows_without = {"picture": {**COLUMNS["picture"], "required": False}, "price": COLUMNS["price"]}
    database.goods.update_many({"_id": {"$in": half}}, {"$unset": {"picture": 1}})
    with pipeline(goods(database, columns=rows_without), tmp_path / "b", monkeypatch, mongo_uri) as made:
        result = made.run("2025-01")
        assert result.success, failures(result)


def test_a_damaged_file_is_named_by_the_check_of_the_snapshot(
    database: Database[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mongo_uri: str
) -> None:
    fill(database, months=[1])
    with pipeline(goods(database), tmp_path, monkeypatch, mongo_uri) as made:
        assert made.run("2025-01", assets=["documents", "images", "records"]).success
        column = made.store.version("goods", "records", "2025-01", 1).column("price").path(0)
        (Path(made.store.root) / column).write_bytes(b"")
        result = made.run(assets=["snapshot"])
        assert not result.success
        (check,) = result.get_asset_check_evaluations()
        assert check.check_name == "integrity"
        assert not check.passed
        assert column in (check.description or "")
        assert made.store.versions("goods", "snapshot") == []
