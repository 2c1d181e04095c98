"""`deploy/dagster.yaml` against a real Postgres: what runs through the queue is stored there."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from pymongo import MongoClient

from demo.seed import seed
from tests.servers import postgres
from tests.ui.deployment import PROJECT, Deployment

pytestmark = [pytest.mark.xdist_group("front_door"), pytest.mark.timeout(900)]


def test_a_run_through_the_queue_is_stored_in_postgres(mongo_uri: str, tmp_path: Path) -> None:
    with MongoClient(mongo_uri) as client:
        seed(client, tmp_path / "data" / "pictures")
    with postgres() as url:
        environment = {
            "MONGODB_URI": mongo_uri,
            "DAGSTER_PG_URL": url,
            "DAGSTER_COMPUTE_LOGS": str(tmp_path / "logs"),
        }
        with Deployment(tmp_path / "dagster", environment, PROJECT / "deploy" / "dagster.yaml") as deployment:
            run_id = deployment.launch(
                assets=["tumors/documents", "tumors/records"], tags={"dagster/partition": "west"}
            )
            deployment.succeed(run_id)
            assert deployment.metadata("tumors/records", "west")["dagster/row_count"] > 100
            stored = subprocess.run(
                ["psql", url, "-Atc", f"select status from runs where run_id = '{run_id}'"],
                capture_output=True,
                text=True,
                check=True,
            )
            assert stored.stdout.strip() == "SUCCESS"
            assert list(deployment.home.rglob("*.db")) == []
