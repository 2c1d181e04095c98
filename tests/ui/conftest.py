"""One deployment over the shipped datasets for all tests of the front door."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pymongo import MongoClient

from demo.seed import seed
from tests.ui.deployment import PROJECT, Deployment

CANARY = "canary5e2a"
"""A secret in every connection string of the deployment; it may be nowhere in what the deployment leaves."""


@pytest.fixture(scope="module")
def deployment(mongo_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Give a running webserver and daemon; documents are seeded, nothing is materialized."""
    folder = tmp_path_factory.mktemp("deployment")
    environment = {
        "MONGODB_URI": f"{mongo_uri}&appName={CANARY}",
        "UNREACHABLE_URI": f"mongodb://someone:{CANARY}@127.0.0.1:1/?serverSelectionTimeoutMS=500",
        "PYTHONPATH": str(PROJECT),
    }
    with MongoClient(mongo_uri) as client:
        seed(client, folder / "data" / "pictures")
    with Deployment(folder, environment, location=("tests.ui.location", PROJECT)) as running:
        yield running


@pytest.fixture(scope="session")
def screenshots() -> Path:
    """Give the directory of the pictures that the README shows."""
    folder = Path(__file__).resolve().parents[2] / "docs" / "images"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
