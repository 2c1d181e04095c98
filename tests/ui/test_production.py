"""`deploy/dagster.yaml` against a real Postgres: what a schedule launches is queued, run and stored there."""

from __future__ import annotations

import re
import subprocess
import sys
from operator import itemgetter
from pathlib import Path

import pytest
from pymongo import MongoClient

from demo.seed import seed
from tests.servers import postgres
from tests.ui.deployment import PROJECT, Deployment

COMMAND = re.compile(r"^#  +(dagster instance concurrency set \w+ \d+)", re.MULTILINE)
"""What `deploy/dagster.yaml` says is to be typed once."""

POOLS = "query { instance { concurrencyLimits { concurrencyKey limit usingDefaultLimit } } }"

pytestmark = [pytest.mark.xdist_group("front_door"), pytest.mark.timeout(1800)]


def test_what_a_schedule_launches_goes_through_the_queue_into_postgres(
    mongo_uri: str, tmp_path: Path
) -> None:
    """The last closed window and the one before, then a snapshot; nothing is kept outside Postgres."""
    with MongoClient(mongo_uri) as client:
        seed(client, tmp_path / "data" / "pictures")
    with postgres() as url:
        environment = {
            "MONGODB_URI": mongo_uri,
            "DAGSTER_PG_URL": url,
            "DAGSTER_COMPUTE_LOGS": str(tmp_path / "logs"),
            "PYTHONPATH": str(PROJECT),
        }
        settings, location = PROJECT / "deploy" / "dagster.yaml", ("tests.ui.ticking", PROJECT)
        production = Deployment(tmp_path / "dagster", environment, settings, location)
        for command in COMMAND.findall(settings.read_text()):
            arguments = [Path(sys.executable).with_name("dagster"), *command.split()[1:]]
            subprocess.run(arguments, env=production.environment, check=True, capture_output=True)
        with production as deployment:
            limits = deployment.graphql(POOLS)["instance"]["concurrencyLimits"]
            assert sorted(limits, key=itemgetter("concurrencyKey")) == [
                {"concurrencyKey": "images", "limit": 2, "usingDefaultLimit": False},
                {"concurrencyKey": "mongo", "limit": 2, "usingDefaultLimit": False},
            ]
            run = deployment.wait("a tick of the schedule", lambda: (deployment.runs() or [None])[-1])
            assert run is not None
            deployment.succeed(run["runId"])
            tags = {tag["key"]: tag["value"] for tag in run["tags"]}
            assert tags["dagster/schedule_name"] == "ticking_schedule"
            assert tags["dagster/asset_partition_range_start"] == "2025-11"
            assert tags["dagster/asset_partition_range_end"] == "2025-12"
            assert deployment.metadata("ticking/records", "2025-12")["dagster/row_count"] > 100
            assert deployment.metadata("ticking/snapshot")["partitions"] == 2
            stored = subprocess.run(
                ["psql", url, "-Atc", f"select status from runs where run_id = '{run['runId']}'"],
                capture_output=True,
                text=True,
                check=True,
            )
            assert stored.stdout.strip() == "SUCCESS"
            assert list(deployment.home.rglob("*.db")) == []
