"""One deployment over the shipped datasets for all tests of the front door."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from pymongo import MongoClient

from demo.mongod import Mongod
from demo.seed import DATABASE, seed
from tests.ui.deployment import PROJECT, Deployment
from tests.ui.location import SITES

CANARY = "canary5e2a"
"""A secret in every connection string of the deployment; it may be nowhere in what the deployment leaves."""


MONITORED = "run_monitoring:\n  enabled: true\n"


@pytest.fixture(scope="module")
def standalone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mongod]:
    """Give a server that is no replica set, with ten tumors a site."""
    with Mongod(tmp_path_factory.mktemp("standalone"), replica_set=None) as server:
        with server.client() as client:
            client[DATABASE].tumors.insert_many(
                {"site": site, "diagnosis": "benign", "updated_at": datetime(2025, 1, 1 + row)}
                for site in SITES
                for row in range(10)
            )
        yield server


@pytest.fixture(scope="module")
def deployment(
    mongo_uri: str, standalone: Mongod, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    """Give a running webserver and daemon; documents are seeded, nothing is materialized."""
    folder = tmp_path_factory.mktemp("deployment")
    settings = (PROJECT / "dagster.yaml").read_text()
    assert MONITORED in settings
    quicker = f"{MONITORED}  poll_interval_seconds: 2\n"  # two minutes by default
    (folder / "dagster.yaml").write_text(settings.replace(MONITORED, quicker))
    environment = {
        "MONGODB_URI": f"{mongo_uri}&appName={CANARY}",
        "STANDALONE_URI": standalone.uri,
        "UNREACHABLE_URI": f"mongodb://someone:{CANARY}@127.0.0.1:1/?serverSelectionTimeoutMS=500",
        "PYTHONPATH": str(PROJECT),
    }
    with MongoClient(mongo_uri) as client:
        seed(client, folder / "data" / "pictures")
    location = ("tests.ui.location", PROJECT)
    with Deployment(folder, environment, folder / "dagster.yaml", location) as running:
        yield running


@pytest.fixture(scope="session")
def screenshots() -> Path:
    """Give the directory of the pictures that the README shows."""
    folder = Path(__file__).resolve().parents[2] / "docs" / "images"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
