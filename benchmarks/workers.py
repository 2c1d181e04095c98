"""A backfill by one worker and by two: documents/s from the begin of the first run to the end of the last.

Everything is real and on this machine: MongoDB, Redis, Postgres, webserver, daemon and the workers of
`deploy/celery`, started by the commands of its README. So both workers share the cores (and the disk) with
all of these; what a second machine would give is seen only where the source, not the processor, is the
limit, which the second leg stands for. Queueing before the first run is not counted: Dagster's daemon looks
for new backfills every 30 s. `--only NAME` runs one of the legs.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from pymongo import MongoClient

from benchmarks.harness import ROOT, Suite
from benchmarks.refresh import MONTHS as ALL_MONTHS
from benchmarks.refresh import fill
from benchmarks.workers_location import DOCUMENTS_PER_SECOND
from demo.daemon import ensure_running, stop_running
from tests.integration.deploy.cluster import Cluster, cluster

LOCATION = ("benchmarks.workers_location", ROOT)
FIRST, SECOND = "north", "south"
MONTHS = ALL_MONTHS[:6]
LEGS = {
    "fast": f"{len(MONTHS)} partitions of pictures, two cores shared by all",
    "slow": f"the same, a source of {DOCUMENTS_PER_SECOND} documents/s a run",
}
ENDS = ("SUCCESS", "FAILURE", "CANCELED")


def keys(dataset: str) -> list[str]:
    """Return the partitioned assets of a dataset."""
    return [f"{dataset}/{asset}" for asset in ("documents", "images", "records")]


def warm_up(running: Cluster) -> None:
    """Have every worker do a run."""
    cold = {worker.name for worker in running.workers.values()}
    running.start_daemon()
    while cold:
        launched = [
            running.launch(assets=keys("fast"), tags={"dagster/partition": month})
            for month in MONTHS[: len(running.workers)]
        ]
        for run_id in launched:
            running.succeed(run_id)
        cold -= {str(running.worker_of(run)) for run in running.runs() if run["runId"] in launched}
    running.stop_daemon()


def backfill(running: Cluster, dataset: str, num_workers: int, num_documents: int) -> float:
    """Make all partitions anew by so many workers; return documents/s."""
    running.take_part(SECOND, num_workers == 2)
    shutil.rmtree(running.shards)
    backfill_id = running.begin_backfill(keys(dataset), MONTHS)
    running.start_daemon()

    def ended() -> list[dict[str, Any]]:
        tag = {"key": "dagster/backfill", "value": backfill_id}
        runs = [run for run in running.runs() if tag in run["tags"]]
        return runs if len(runs) == len(MONTHS) and all(run["status"] in ENDS for run in runs) else []

    runs = running.wait("the backfill", ended)
    running.stop_daemon()
    assert all(run["status"] == "SUCCESS" for run in runs), runs
    assert len({running.worker_of(run) for run in runs}) == num_workers
    seconds = max(float(run["endTime"]) for run in runs) - min(float(run["startTime"]) for run in runs)
    return num_documents / seconds


def main() -> int:
    """Measure."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--only", choices=LEGS)
    chosen, others = parser.parse_known_args()
    suite = Suite.from_command_line("workers", __doc__, others)
    os.environ["DAGSTER_DISABLE_TELEMETRY"] = "1"
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # leave no server behind
    per_month = 200 if suite.quick else 1_000
    mongo = suite.directory / "mongo"
    uri = ensure_running(mongo)
    folder = Path(tempfile.mkdtemp(dir=suite.directory))
    try:
        with MongoClient[dict[str, Any]](uri) as client:
            fill(client, per_month)
        with cluster(folder, {"MONGODB_URI": uri}, LOCATION, [FIRST, SECOND]) as running:
            warm_up(running)
            for dataset in [chosen.only] if chosen.only else LEGS:
                _measure(suite, running, dataset, per_month * len(MONTHS))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        stop_running(mongo)
    return suite.finish()


def _measure(suite: Suite, running: Cluster, dataset: str, num_documents: int) -> None:
    def by(num_workers: int) -> float:
        return backfill(running, dataset, num_workers, num_documents)

    suite.leg(
        LEGS[dataset],
        unit="documents/s",
        ours=lambda: by(2),
        peers={"1 worker": lambda: by(1)},
        warm_up=False,
    )


if __name__ == "__main__":
    sys.exit(main())
