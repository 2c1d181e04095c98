"""Through the front door: GraphQL launches runs and backfills, a browser looks at what came of them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId
from playwright.sync_api import Browser, Page, expect, sync_playwright
from pymongo import MongoClient

from demo.seed import DATABASE
from tests.ui.deployment import Deployment

pytestmark = [pytest.mark.xdist_group("front_door"), pytest.mark.timeout(900)]

expect.set_options(timeout=60_000)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
MONTHS = [f"2025-{month:02}" for month in range(1, 13)]
DIGITS = [f"digits/{name}" for name in ("documents", "images", "records")]


@pytest.fixture(scope="module")
def materialized(deployment: Deployment) -> Deployment:
    """Give the deployment after a backfill of every partition of digits, and its snapshot."""
    deployment.backfill(DIGITS, MONTHS)
    deployment.succeed(deployment.launch(assets=["digits/snapshot"]))
    return deployment


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    assert CHROMIUM, "no chromium; next: apt-get install chromium"
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    opened = browser.new_page(viewport={"width": 1440, "height": 900})
    opened.set_default_timeout(60_000)
    yield opened
    opened.close()


def test_one_partition_by_graphql(deployment: Deployment) -> None:
    tags = {"dagster/partition": "north"}
    deployment.succeed(deployment.launch(assets=["tumors/documents", "tumors/records"], tags=tags))
    metadata = deployment.metadata("tumors/documents", "north")
    assert metadata["dagster/row_count"] > 100
    assert metadata["server_count"] == metadata["dagster/row_count"]
    checks = deployment.checks("tumors/records")
    assert {name: check["blocking"] for name, check in checks.items()}["value_ranges"] is True
    for check in checks.values():
        assert check["executionForLatestMaterialization"]["status"] == "SUCCEEDED", check
    asset = deployment.asset("tumors/documents")
    assert asset["groupName"] == "tumors"
    assert {"mongodb", "arrow"} <= set(asset["kinds"])
    assert asset["owners"] == [{"__typename": "TeamAssetOwner", "team": "oncology"}]


def test_a_backfill_by_graphql(materialized: Deployment) -> None:
    for key in DIGITS:
        stats = materialized.asset(key)["partitionStats"]
        assert stats == {"numMaterialized": 12, "numPartitions": 12, "numFailed": 0}
    rows = {month: materialized.metadata("digits/documents", month)["dagster/row_count"] for month in MONTHS}
    assert len(set(rows.values())) > 6
    snapshot = materialized.metadata("digits/snapshot")
    assert snapshot["dagster/row_count"] == sum(rows.values())
    assert snapshot["partitions"] == 12


def test_a_killed_run_leaves_nothing_behind(deployment: Deployment) -> None:
    before = {file for file in deployment.shards.rglob("*") if "tumors" in str(file) and file.is_file()}
    run_id = deployment.launch(assets=["tumors/documents"], tags={"dagster/partition": "south"})
    deployment.graphql(
        "mutation($id: String!) { terminateRun(runId: $id, terminatePolicy: MARK_AS_CANCELED_IMMEDIATELY) "
        "{ __typename } }",
        id=run_id,
    )
    status = deployment.finish(run_id)
    assert status in ("CANCELED", "SUCCESS")
    if status == "CANCELED":
        after = {file for file in deployment.shards.rglob("*") if "tumors" in str(file) and file.is_file()}
        assert {file for file in after - before if file.suffix == ".json" and "south" in str(file)} == set()


def shoot(page: Page, folder: Path, name: str) -> None:
    """Keep a picture for the README when asked to."""
    if os.environ.get("SHARDMILL_SCREENSHOTS"):
        page.wait_for_timeout(1_500)
        page.screenshot(path=folder / f"{name}.png")


def test_lineage(materialized: Deployment, page: Page, screenshots: Path) -> None:
    page.goto(f"{materialized.address}/asset-groups/digits/lineage?groups=digits")
    page.goto(f"{materialized.address}/locations/__repository__@shardmill/asset-groups/digits/lineage")
    for name in ("source", "documents", "images", "records", "snapshot"):
        expect(page.get_by_text(name, exact=True).first).to_be_visible()
    shoot(page, screenshots, "lineage")


def test_partitions(materialized: Deployment, page: Page, screenshots: Path) -> None:
    page.goto(f"{materialized.address}/assets/digits/documents?view=partitions&partition=2025-03")
    expect(page.get_by_text("2025-03").first).to_be_visible()
    expect(page.get_by_text("rows_per_second").first).to_be_visible()
    shoot(page, screenshots, "partition")


def test_contact_sheet(materialized: Deployment, page: Page, screenshots: Path) -> None:
    page.goto(f"{materialized.address}/assets/digits/images?view=partitions&partition=2025-03")
    row = page.locator("tr", has_text="contact_sheet_image").first
    expect(row).to_be_visible()
    row.get_by_text("Show Markdown").first.click()
    picture = page.locator("img[alt=contact_sheet_image]").first
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.naturalWidth") > 400
    shoot(page, screenshots, "contact_sheet")


def test_checks_page(materialized: Deployment, page: Page, screenshots: Path) -> None:
    page.goto(f"{materialized.address}/assets/digits/records?view=checks")
    for name in ("reject_share", "value_ranges", "distribution_drift"):
        expect(page.get_by_text(name).first).to_be_visible()
    page.get_by_text("value_ranges").first.click()
    expect(page.get_by_text("Lowest and highest value").first).to_be_visible()
    shoot(page, screenshots, "checks")


def test_automation_page(materialized: Deployment, page: Page, screenshots: Path) -> None:
    page.goto(f"{materialized.address}/automation")
    for name in ("digits_automation", "digits_schedule", "tumors_watch"):
        expect(page.get_by_text(name, exact=True).first).to_be_visible()
    shoot(page, screenshots, "automation")


def test_the_watching_sensor_refreshes_what_changes_touch(deployment: Deployment, mongo_uri: str) -> None:
    """Insert, move between partitions and delete: exactly the partitions touched are read again."""
    for site in ("north", "east", "south", "west"):
        deployment.succeed(
            deployment.launch(assets=["tumors/documents", "tumors/records"], tags={"dagster/partition": site})
        )
    deployment.wait("a first look at the change stream", lambda: _ticks(deployment, "tumors_watch"))
    started = {run["runId"] for run in deployment.runs()}

    def refreshed() -> dict[str, Any] | None:
        runs = [run for run in deployment.runs() if run["runId"] not in started]
        done = [run for run in runs if run["status"] == "SUCCESS" and run["jobName"] == "tumors_refresh"]
        return done[0] if done else None

    with MongoClient[dict[str, Any]](mongo_uri) as client:
        tumors = client[DATABASE].tumors
        document = tumors.find_one({"site": "east"})
        assert document is not None
        tumors.insert_one({**document, "_id": ObjectId()})
        run = deployment.wait("a refresh of east", refreshed)
        tags = {tag["key"]: tag["value"] for tag in run["tags"]}
        assert tags["dagster/partition"] == "east"
        started.add(run["runId"])
        tumors.update_one({"_id": document["_id"]}, {"$set": {"site": "south"}})
        run = deployment.wait("a refresh of east and south", refreshed)
        tags = {tag["key"]: tag["value"] for tag in run["tags"]}
        assert tags["dagster/asset_partition_range_start"] == "east"
        assert tags["dagster/asset_partition_range_end"] == "south"
        tumors.update_one({"_id": document["_id"]}, {"$set": {"site": "east"}})
    metadata = deployment.metadata("tumors/snapshot")
    assert metadata["dagster/row_count"] == 570


def _ticks(deployment: Deployment, name: str) -> bool:
    (sensor,) = [sensor for sensor in deployment.instigators()["sensors"] if sensor["name"] == name]
    ticks = sensor["sensorState"]["ticks"]
    assert not [tick["error"] for tick in ticks if tick["error"]], ticks
    return bool(ticks)


def test_automation_takes_what_changed_and_one_snapshot(materialized: Deployment, mongo_uri: str) -> None:
    """Observe twice with a change between: only its partition is made again, then one snapshot."""
    observe = {"assets": ["digits/source"]}
    materialized.succeed(materialized.launch(**observe))
    materialized.wait("a first evaluation", lambda: _ticks(materialized, "digits_automation"))
    started = {run["runId"] for run in materialized.runs()}
    snapshots = len(materialized.asset("digits/snapshot")["assetMaterializations"])
    with MongoClient[dict[str, Any]](mongo_uri) as client:
        digits = client[DATABASE].digits
        month = {
            "$gte": datetime(2025, 5, 1, tzinfo=timezone.utc),
            "$lt": datetime(2025, 6, 1, tzinfo=timezone.utc),
        }
        document = digits.find_one({"captured_at": month, "device.dpi": 300})
        assert document is not None
        digits.update_one({"_id": document["_id"]}, {"$set": {"device.dpi": 301}})
        materialized.succeed(materialized.launch(**observe))

        def again() -> bool:
            return len(materialized.asset("digits/snapshot")["assetMaterializations"]) > snapshots

        materialized.wait("a snapshot by automation", again)
        digits.update_one({"_id": document["_id"]}, {"$set": {"device.dpi": 300}})
    runs = [run for run in materialized.runs() if run["runId"] not in started]
    automatic = [
        {tag["key"]: tag["value"] for tag in run["tags"]}.get("dagster/partition")
        for run in runs
        if any(tag["key"] == "dagster/from_automation_condition" for tag in run["tags"])
    ]
    assert sorted(filter(None, automatic)) == ["2025-05"]
    assert len(materialized.asset("digits/snapshot")["assetMaterializations"]) == snapshots + 1
