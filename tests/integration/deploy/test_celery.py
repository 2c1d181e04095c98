"""`deploy/celery` as it is shipped: real servers, shards on an address, two workers, of which one dies."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import pytest
from pymongo import MongoClient

from demo.seed import seed
from shards import ShardStore
from tests.integration.deploy.cluster import Cluster, Killed, cluster
from tests.integration.remote.server import BUCKET, Server
from tests.ui.deployment import PROJECT

pytestmark = [pytest.mark.xdist_group("celery"), pytest.mark.timeout(600)]

DATABASE = "deploy_celery"
MONTHS = [f"2025-{month:02}" for month in range(1, 13)]
ASSETS = ("documents", "images", "records")
KEYS = [f"digits/{asset}" for asset in ASSETS]
DOCUMENTS = "digits__documents"
LOCATION = ("tests.integration.deploy.location", PROJECT)
SHARDS = f"s3://{BUCKET}/celery"


@pytest.fixture(scope="module")
def object_store() -> Iterator[None]:
    """Give the environment an object store."""
    server = Server()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "test-key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test-secret")
        patch.setenv("AWS_REGION", "us-east-1")
        yield
    server.stop()


@pytest.fixture(scope="module")
def running(
    object_store: None, mongo_uri: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    """Give a webserver and two workers; documents are seeded, nothing is materialized."""
    folder = tmp_path_factory.mktemp("celery")
    with MongoClient[dict[str, Any]](mongo_uri) as client:
        seed(client, folder / "pictures", DATABASE)
    environment = {
        "MONGODB_URI": mongo_uri,
        "SHARDS_ROOT": SHARDS,
        "TEST_DATABASE": DATABASE,
        "TEST_PICTURES": str(folder / "pictures"),
        "TEST_DOCUMENTS_PER_SECOND": "200",
    }
    with cluster(folder, environment, LOCATION, ["north", "south"]) as deployment:
        yield deployment


@pytest.fixture(scope="module")
def killed(running: Cluster) -> Killed:
    """Kill a host amid a run of a backfill, and a run alone on the other; the host comes back later."""
    backfill = running.begin_backfill(KEYS, MONTHS)
    running.start_daemon()
    north, south = running.workers["north"], running.workers["south"]
    running.wait("a run by the worker to kill", lambda: running.runs_of(north, "SUCCESS"), 120)
    with_host = running.wait("a run to kill", lambda: running.stop_amid(north, DOCUMENTS), 120)
    north.kill()
    alone = running.wait("another", lambda: running.stop_amid(south, DOCUMENTS, runs_alone=True), 120)
    south.signal_runs(signal.SIGKILL)
    assert running.finish(alone) == "FAILURE"
    assert running.finish(with_host) == "FAILURE"
    running.start_worker("north")
    killed = Killed(backfill, with_host, alone)
    running.wait("every partition", lambda: _is_made(running, killed))
    return killed


def _is_made(running: Cluster, killed: Killed) -> bool:
    runs = running.runs()
    failed = {run["runId"] for run in runs if run["status"] == "FAILURE"}
    assert failed == {killed.with_host, killed.alone}, [running.messages(run)[-3:] for run in failed]
    ended = all(run["status"] in ("SUCCESS", "FAILURE") for run in runs)
    return ended and ShardStore(SHARDS).partitions("digits", "records") == MONTHS


def test_a_backfill_survives_the_death_of_a_host(running: Cluster, killed: Killed, mongo_uri: str) -> None:
    """Every partition is made once, whole, with the rows of the collection, by both workers."""
    runs = running.runs()
    assert {running.worker_of(run) for run in runs if run["status"] == "SUCCESS"} == {
        "run@north",
        "run@south",
    }
    for run_id, reason in (
        (killed.with_host, "worker run@north did not say to have its task in 3 checks"),
        (killed.alone, "its Celery task ended as FAILURE"),
    ):
        assert any(reason in message for message in running.messages(run_id))
        retry = {"key": "dagster/parent_run_id", "value": run_id}
        assert len([run for run in runs if retry in run["tags"]]) == 1
    store = ShardStore(SHARDS)
    assert not store.verify(full=True).damages
    with MongoClient[dict[str, Any]](mongo_uri, tz_aware=True) as client:
        digits = client[DATABASE].digits
        for number, month in enumerate(MONTHS, 1):
            begin = datetime(2025, number, 1, tzinfo=timezone.utc)
            end = datetime(2025 + number // 12, number % 12 + 1, 1, tzinfo=timezone.utc)
            for asset in ASSETS:
                assert store.versions("digits", asset, month) == [1], (asset, month)
            documents, *built = [store.version("digits", asset, month, 1) for asset in ASSETS]
            assert {version.num_rows for version in built} == {documents.num_rows}
            num_documents = digits.count_documents({"captured_at": {"$gte": begin, "$lt": end}})
            assert documents.num_rows + documents.table("rejects").num_rows == num_documents


def test_two_workers_make_one_partition_at_once(running: Cluster, killed: Killed, mongo_uri: str) -> None:
    """A run that is overtaken on another host, by newer documents, publishes nothing old and ends well."""
    month, documents = {"dagster/partition": "2025-06"}, KEYS[:1]
    overtaken: dict[str, Any] = {}

    def caught() -> bool:
        if not overtaken or running.status(overtaken["run"]) == "SUCCESS":
            overtaken["run"] = running.launch(assets=documents, tags=month)
        stopped = [
            worker
            for worker in running.workers.values()
            if running.stop_amid(worker, DOCUMENTS, runs_alone=True) == overtaken["run"]
        ]
        overtaken["workers"] = stopped
        return bool(stopped)

    running.wait("a run that can be overtaken", caught)
    (slow,) = overtaken["workers"]
    with MongoClient[dict[str, Any]](mongo_uri, tz_aware=True) as client:
        june = {
            "$gte": datetime(2025, 6, 1, tzinfo=timezone.utc),
            "$lt": datetime(2025, 7, 1, tzinfo=timezone.utc),
        }
        client[DATABASE].digits.update_one(
            {"captured_at": june, "device.dpi": 300}, {"$set": {"device.dpi": 301}}
        )
    quick = running.launch(assets=documents, tags=month)
    running.succeed(quick)
    slow.signal_runs(signal.SIGCONT)
    running.succeed(overtaken["run"])
    made = {run["runId"]: running.worker_of(run) for run in running.runs()}
    assert {made[quick], made[overtaken["run"]]} == {"run@north", "run@south"}
    store = ShardStore(SHARDS)
    assert store.versions("digits", "documents", "2025-06") == [1, 2]
    assert not store.verify(full=True).damages
    latest = store.version("digits", "documents", "2025-06", 2)
    assert latest.provenance.run_id == quick


def test_the_backfill_ends_and_no_slot_is_lost(running: Cluster, killed: Killed) -> None:
    """Dagster counts the backfill as a success; the pool slot that the dead run held can be had again."""
    running.finish_backfill(killed.backfill)
    running.wait("the slots of the pool", lambda: running.slots("mongo") == (0, 4))


def test_what_a_message_to_a_worker_holds(running: Cluster, killed: Killed, mongo_uri: str) -> None:
    """Neither Redis nor the logs hold a connection string."""
    held = running.redis_values() + running.logs()
    assert killed.alone in held
    for secret in (mongo_uri, running.environment["DAGSTER_PG_URL"]):
        assert secret not in held
