"""What every test may ask for: a MongoDB server shared by all workers, a database of its own, a store."""

from __future__ import annotations

import atexit
import shutil
import tempfile
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings
from pymongo import MongoClient

from demo.daemon import ensure_running, stop_running

if TYPE_CHECKING:
    from pymongo.database import Database

    from shards import ShardStore

# The same cases in every run, as `make fuzz` explores; how long one takes on busy cores says nothing of it.
settings.register_profile(
    "suite",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("suite")

DIRECTORY = pytest.StashKey[Path]()


def pytest_configure(config: pytest.Config) -> None:
    given = getattr(config, "workerinput", {}).get("mongo_directory")
    config.stash[DIRECTORY] = Path(given or tempfile.mkdtemp(prefix="shardmill-tests-"))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    node.workerinput["mongo_directory"] = str(node.config.stash[DIRECTORY])


def pytest_unconfigure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):  # the server may be a child of this worker, and other workers need it
        atexit.register(warnings.filterwarnings, "ignore", "subprocess .* is still running", ResourceWarning)
    elif DIRECTORY in config.stash:
        directory = config.stash[DIRECTORY]
        stop_running(directory)
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def mongo_uri(request: pytest.FixtureRequest) -> str:
    """Connection string of an embedded replica set of one, the same for all workers of this run."""
    return ensure_running(request.config.stash[DIRECTORY])


@pytest.fixture(scope="session")
def mongo_client(mongo_uri: str) -> Iterator[MongoClient[dict[str, Any]]]:
    """A client of that server."""
    with MongoClient[dict[str, Any]](mongo_uri, tz_aware=True) as client:
        yield client


@pytest.fixture
def database(mongo_client: MongoClient[dict[str, Any]]) -> Iterator[Database[dict[str, Any]]]:
    """An empty database with a name of its own, dropped after the test."""
    name = f"test_{uuid.uuid4().hex}"
    yield mongo_client[name]
    mongo_client.drop_database(name)


@pytest.fixture
def store(tmp_path: Path) -> ShardStore:
    """An empty shard store."""
    from shards import ShardStore

    return ShardStore(tmp_path / "shards")
