"""Through the front door: GraphQL launches runs and backfills, a browser looks at what came of them."""

from __future__ import annotations

import os
import re
import shutil
import signal
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from bson import ObjectId
from playwright.sync_api import Browser, Page, expect, sync_playwright
from pymongo import DeleteOne, InsertOne, MongoClient, UpdateOne

from demo.mongod import Mongod
from demo.seed import DATABASE
from shards import ShardStore
from tests.ui.conftest import CANARY
from tests.ui.deployment import Deployment
from tests.ui.location import SITES

pytestmark = [pytest.mark.xdist_group("front_door"), pytest.mark.timeout(1800)]

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
    """Give the deployment with every partition of digits by a backfill, tumors by one run, and snapshots."""
    backfill = deployment.begin_backfill(DIGITS, MONTHS)
    tags = {
        "dagster/asset_partition_range_start": SITES[0],
        "dagster/asset_partition_range_end": SITES[-1],
    }
    tumors = deployment.launch(assets=["tumors/documents", "tumors/records"], tags=tags)
    deployment.finish_backfill(backfill)
    snapshot = deployment.launch(assets=["digits/snapshot"])
    deployment.succeed(tumors)
    deployment.succeed(snapshot)
    return deployment


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    assert CHROMIUM, "no chromium; next: apt-get install chromium"
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[Page]:
    opened = browser.new_page(viewport={"width": 1440, "height": 900})
    opened.set_default_timeout(60_000)
    yield opened
    opened.close()


def test_many_partitions_by_one_run(materialized: Deployment) -> None:
    rows = {site: materialized.metadata("tumors/documents", site) for site in SITES}
    assert sum(metadata["dagster/row_count"] for metadata in rows.values()) == 569
    assert all(metadata["server_count"] == metadata["dagster/row_count"] for metadata in rows.values())
    checks = materialized.checks("tumors/records")
    assert {name: check["blocking"] for name, check in checks.items()}["value_ranges"] is True
    for check in checks.values():
        assert check["executionForLatestMaterialization"]["status"] == "SUCCEEDED", check
    asset = materialized.asset("tumors/documents")
    assert asset["groupName"] == "tumors"
    assert {"mongodb", "arrow"} <= set(asset["kinds"])
    assert asset["owners"] == [{"__typename": "TeamAssetOwner", "team": "oncology"}]
    assert "569 records of the breast-cancer table" in asset["description"]


def test_columns_where_they_come_from_and_freshness(deployment: Deployment) -> None:
    entries = {entry["label"]: entry for entry in deployment.asset("digits/records")["metadataEntries"]}
    columns = {
        column["name"]: (column["type"], column["description"])
        for column in entries["dagster/column_schema"]["schema"]["columns"]
    }
    assert columns["gain"] == ("number", "`device.gain`; impute, standardize")
    lineage = {
        column["columnName"]: [
            ("/".join(one["assetKey"]["path"]), one["columnName"]) for one in column["columnDeps"]
        ]
        for column in entries["dagster/column_lineage"]["lineage"]
    }
    ((documents, field),) = lineage["gain"]
    assert documents == "digits/documents"
    entries = {entry["label"]: entry for entry in deployment.asset(documents)["metadataEntries"]}
    (origin,) = [
        column["columnDeps"]
        for column in entries["dagster/column_lineage"]["lineage"]
        if column["columnName"] == field
    ]
    assert origin == [{"assetKey": {"path": ["digits", "source"]}, "columnName": "device.gain"}]
    assert deployment.asset("slow/snapshot")["internalFreshnessPolicy"] == {"failWindowSeconds": 86_400}


def test_a_backfill_by_graphql(materialized: Deployment) -> None:
    for key in DIGITS:
        stats = materialized.asset(key)["partitionStats"]
        assert stats == {"numMaterialized": 12, "numPartitions": 12, "numFailed": 0}
    rows = {month: materialized.metadata("digits/documents", month)["dagster/row_count"] for month in MONTHS}
    assert len(set(rows.values())) > 6
    snapshot = materialized.metadata("digits/snapshot")
    assert snapshot["dagster/row_count"] == sum(rows.values())
    assert snapshot["partitions"] == 12


def attempts(deployment: Deployment) -> list[Path]:
    """Return the directories that builds of the slow dataset write to."""
    return [
        folder
        for folder in (deployment.shards / "slow" / "documents" / "data").glob("*/*")
        if not folder.name.startswith("pieces")
    ]


def begun(deployment: Deployment, **tags: str) -> tuple[str, int]:
    """Launch a run that would take a minute; its id and process, when it has begun to write."""
    before = set(attempts(deployment))
    tags = {f"dagster/{name}": value for name, value in {"max_retries": "0", **tags}.items()}
    run_id = deployment.launch(assets=["slow/documents"], tags=tags)
    deployment.wait("an attempt", lambda: set(attempts(deployment)) - before)
    (pid,) = set(re.findall(r"\(pid: (\d+)\)", " ".join(deployment.messages(run_id))))
    return run_id, int(pid)


def test_a_killed_run_leaves_nothing_after_gc(deployment: Deployment) -> None:
    """The process of the run is killed in the middle; that is seen, and gc removes what it was writing."""
    run_id, pid = begun(deployment)
    os.kill(pid, signal.SIGKILL)
    assert deployment.finish(run_id) == "FAILURE"
    assert len(attempts(deployment)) == 1
    store = ShardStore(deployment.shards)
    assert store.versions("slow", "documents") == []
    config = {"ops": {"slow_gc_op": {"config": {"grace_hours": 0.0}}}}
    deployment.succeed(deployment.launch("slow_gc", config=config))
    assert [file for file in (deployment.shards / "slow" / "documents").rglob("*") if file.is_file()] == []
    assert attempts(deployment) == []
    assert not store.verify("slow").damages


def test_a_run_that_takes_too_long_is_ended_by_monitoring(deployment: Deployment) -> None:
    run_id, _ = begun(deployment, max_runtime="4")
    said = "Exceeded maximum runtime of 4 seconds."
    deployment.wait("its end by monitoring", lambda: said in deployment.messages(run_id))
    deployment.wait("its process to clean up", lambda: not attempts(deployment))
    assert ShardStore(deployment.shards).versions("slow", "documents") == []


def test_a_cancelled_run_leaves_nothing(deployment: Deployment) -> None:
    run_id, _ = begun(deployment)
    line = re.compile(r"slow/documents all: \d+ documents, \d+ documents/s, \d+% of 569, \d+ s remaining")
    deployment.wait("progress", lambda: any(map(line.fullmatch, deployment.messages(run_id))))
    deployment.graphql("mutation($id: String!) { terminateRun(runId: $id) { __typename } }", id=run_id)
    assert deployment.finish(run_id) == "CANCELED"
    assert attempts(deployment) == []
    assert ShardStore(deployment.shards).versions("slow", "documents") == []


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


@pytest.fixture(scope="module")
def changed(materialized: Deployment, mongo_uri: str) -> set[str]:
    """Change one document of May, observe the source, and return the runs that there were before."""

    def is_settled() -> bool:
        """Tell whether automation, asked after all runs had ended, has nothing more to make."""
        ends = [run["endTime"] for run in materialized.runs()]
        return None not in ends and any(
            tick["timestamp"] > max(ends) and tick["status"] == "SKIPPED"
            for tick in ticks(materialized, "digits_automation")
        )

    materialized.wait("automation to settle", is_settled)
    before = {run["runId"] for run in materialized.runs()}
    with MongoClient[dict[str, Any]](mongo_uri) as client:
        digits = client[DATABASE].digits
        may = {"captured_at": {"$gte": datetime(2025, 5, 1), "$lt": datetime(2025, 6, 1)}, "device.dpi": 300}
        assert digits.update_one(may, {"$set": {"device.dpi": 301}}).modified_count == 1
    materialized.succeed(materialized.launch(assets=["digits/source"]))
    return before


def test_the_watching_sensor_refreshes_what_changes_touch(
    materialized: Deployment, changed: set[str], mongo_uri: str
) -> None:
    """Insert, move between partitions and delete: exactly the partitions touched are read again."""
    deployment = materialized
    wait_for_a_look(deployment, "tumors_watch")
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
    observed = deployment.asset("tumors/source")["assetObservations"]
    assert {one["partition"] for one in observed} >= {"east", "south"}
    assert {one["description"] for one in observed} == {"A change, seen in the change stream."}


def test_a_standalone_server_is_polled(deployment: Deployment, standalone: Mongod) -> None:
    """Insert, update and delete are found by counts and dates; what keeps its date is not seen."""
    now = datetime(2025, 2, 1)
    changes = [
        InsertOne({"site": "north", "diagnosis": "benign", "updated_at": now}),
        UpdateOne({"site": "east"}, {"$set": {"diagnosis": "malignant", "updated_at": now}}),
        DeleteOne({"site": "south"}),
        UpdateOne({"site": "west"}, {"$set": {"diagnosis": "malignant"}}),
    ]
    wait_for_a_look(deployment, "polled_watch")  # the next one, seconds later, sees all of them
    with standalone.client() as client:
        client[DATABASE].tumors.bulk_write(changes)
    deployment.wait(
        "a refresh of what was polled",
        lambda: deployment.asset("polled/snapshot")["assetMaterializations"],
    )
    (run,) = [run for run in deployment.runs() if run["jobName"] == "polled_refresh"]
    tags = {tag["key"]: tag["value"] for tag in run["tags"]}
    assert tags["dagster/asset_partition_range_start"] == "north"
    assert tags["dagster/asset_partition_range_end"] == "south"
    rows = [deployment.metadata("polled/documents", site)["dagster/row_count"] for site in SITES[:3]]
    assert rows == [11, 10, 9]
    assert deployment.metadata("polled/snapshot")["partitions_missing"] == 1


def ticks(deployment: Deployment, name: str) -> list[dict[str, Any]]:
    """Return the latest looks of a sensor that have ended."""
    (sensor,) = [sensor for sensor in deployment.instigators()["sensors"] if sensor["name"] == name]
    found = sensor["sensorState"]["ticks"]
    assert not [tick["error"] for tick in found if tick["error"]], found
    return [tick for tick in found if tick["status"] != "STARTED"]


def wait_for_a_look(deployment: Deployment, name: str) -> None:
    """Wait until a sensor has begun and ended a look from now on."""
    now = time.time()
    deployment.wait(
        f"a look by {name}", lambda: any(tick["timestamp"] > now for tick in ticks(deployment, name))
    )


def test_automation_takes_what_changed_and_one_snapshot(materialized: Deployment, changed: set[str]) -> None:
    """Of the one partition that was changed every asset is made again, then one snapshot."""

    def made() -> list[Any]:
        found = materialized.asset("digits/snapshot")["assetMaterializations"]
        return [one for one in found if one["runId"] not in changed]

    materialized.wait("a snapshot by automation", made)
    automatic = [
        {tag["key"]: tag["value"] for tag in run["tags"]}.get("dagster/partition")
        for run in materialized.runs()
        if run["runId"] not in changed
        and any(tag["key"] == "dagster/from_automation_condition" for tag in run["tags"])
    ]
    assert sorted(filter(None, automatic)) == ["2025-05"]
    assert len(made()) == 1


def content(file: Path) -> bytes:
    """Return the bytes of a file; none when a run that still ends has removed it since it was listed."""
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return b""


def test_the_password_is_nowhere(materialized: Deployment) -> None:
    """In no log, event, compute log, manifest or shard, also after a run that could not reach its server."""
    run_id = materialized.launch(assets=["unreachable/documents"])
    assert materialized.finish(run_id) == "FAILURE"
    said = " ".join(materialized.messages(run_id))
    assert "127.0.0.1:1" in said
    assert CANARY not in said
    materialized.stop()
    found = [Path(parent, name) for parent, _, names in os.walk(materialized.folder) for name in names]
    files = [file for file in found if file.is_file()]
    for suffix in (".db", ".json", ".err", ".log", ".arrow"):
        assert any(file.suffix == suffix for file in files), suffix
    assert [str(file) for file in files if CANARY.encode() in content(file)] == []
