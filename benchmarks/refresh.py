"""What a refresh costs: 1 % of the documents of one of twelve partitions changed, beside a full run.

Both go through Dagster, in process, from a real MongoDB to a new snapshot. A refresh reads the partition that
changed, copies pictures whose bytes are the same, and makes one snapshot. The ratio is its seconds by those
of the full run, lower is better; a second leg counts the pictures that it decodes.
"""

from __future__ import annotations

import io
import logging
import os
import shutil
import sys
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
from bson import Binary
from PIL import Image
from pymongo import MongoClient

from assets.dataset import definitions_of
from assets.schedules import RANGE_END, RANGE_START
from assets.spec import DatasetSpec
from benchmarks.harness import Suite
from demo.daemon import ensure_running, stop_running

MONTHS = [f"2025-{month:02}" for month in range(1, 13)]
CHANGED = "2025-06"
DATABASE = "bench_refresh"
ATTRIBUTES: dict[str, Any] = {
    "name": "refresh",
    "source": {"database": DATABASE, "collection": "pictures"},
    "partitions": {"by": "time", "field": "at", "every": "month", "start": "2025-01-01", "end": "2026-01-01"},
    "columns": {
        "picture": {"kind": "image", "path": "picture", "size": [96, 96], "transform": ["standardize"]},
        "score": {"kind": "number", "path": "score", "transform": ["standardize"]},
        "label": {"kind": "category", "path": "label"},
        "sizes": {"kind": "list", "path": "sizes", "element": "float32"},
    },
    "checks": {"drift_psi": 10},
}


def fill(client: MongoClient[Any], per_month: int) -> None:
    """Insert documents with JPEG pictures of 240 x 180."""
    client.drop_database(DATABASE)
    source = np.random.default_rng(0)
    pictures = [_jpeg(source) for _ in range(64)]
    for month in range(12):
        documents = []
        for row in range(per_month):
            number = month * per_month + row
            documents.append(
                {
                    "_id": number,
                    "at": datetime(2025, month + 1, 1, tzinfo=timezone.utc) + timedelta(minutes=row),
                    "score": float(source.normal()),
                    "label": f"label-{number % 7}",
                    "sizes": source.normal(size=number % 12).tolist(),
                    "picture": _unique(pictures[number % 64], number),
                }
            )
        client[DATABASE].pictures.insert_many(documents)
    client[DATABASE].pictures.create_index("at")


def _jpeg(source: np.random.Generator) -> bytes:
    target = io.BytesIO()
    coarse = Image.fromarray(source.integers(0, 256, (12, 16, 3), dtype=np.uint8))
    coarse.resize((240, 180), Image.Resampling.BICUBIC).save(target, "JPEG", quality=90)
    return target.getvalue()


def _unique(jpeg: bytes, number: int) -> Binary:
    """Give a picture of its own bytes: a comment with a number goes behind the first marker."""
    return Binary(jpeg[:2] + b"\xff\xfe\x00\x0a" + number.to_bytes(8, "big") + jpeg[2:])


class Pipeline:
    """The dataset's job over a store, on an instance that outlives its runs."""

    def __init__(self, root: Path, instance: dg.DagsterInstance) -> None:
        self._spec = DatasetSpec.model_validate(ATTRIBUTES)
        self._job = definitions_of(self._spec).resolve_job_def("refresh_refresh")
        self._root = root
        self._instance = instance

    def run(self, first: str, last: str) -> tuple[dg.ExecuteInProcessResult, float]:
        """Make the partitions from first to last, and a snapshot; give the result and its seconds."""
        os.environ["SHARDS_ROOT"] = str(self._root)
        tags = {RANGE_START: first, RANGE_END: last}
        began = time.perf_counter()
        result = self._job.execute_in_process(instance=self._instance, tags=tags)
        return result, time.perf_counter() - began


def decoded(result: dg.ExecuteInProcessResult) -> int:
    """Count the pictures that a run decoded."""
    events = result.asset_materializations_for_node("refresh__images")
    return sum(int(str(event.metadata["num_decoded"].value)) for event in events)


def main() -> int:
    """Measure."""
    suite = Suite.from_command_line("refresh", __doc__)
    logging.getLogger("dagster").setLevel(logging.CRITICAL)
    os.environ["DAGSTER_DISABLE_TELEMETRY"] = "1"
    per_month = 200 if suite.quick else 2_000
    mongo = suite.directory / "mongo"
    os.environ["MONGODB_URI"] = ensure_running(mongo)
    try:
        client = MongoClient[dict[str, Any]](os.environ["MONGODB_URI"])
        with client, dg.DagsterInstance.ephemeral() as instance:
            _measure(suite, client, instance, per_month)
    finally:
        stop_running(mongo)
    return suite.finish()


def _measure(
    suite: Suite, client: MongoClient[dict[str, Any]], instance: dg.DagsterInstance, per_month: int
) -> None:
    fill(client, per_month)
    full, kept = suite.directory / "full", suite.directory / "kept"
    for root in (full, kept):
        shutil.rmtree(root, ignore_errors=True)
    everything, changes = Pipeline(full, instance), Pipeline(kept, instance)
    changes.run(MONTHS[0], MONTHS[-1])
    tick = 0

    def run_all() -> float:
        shutil.rmtree(full, ignore_errors=True)
        return everything.run(MONTHS[0], MONTHS[-1])[1]

    def refresh() -> tuple[dg.ExecuteInProcessResult, float]:
        nonlocal tick
        tick += 1
        first = MONTHS.index(CHANGED) * per_month
        changed = {"_id": {"$gte": first, "$lt": first + max(1, per_month // 100)}}
        client[DATABASE].pictures.update_many(changed, {"$inc": {"score": 0.001 * tick}})
        return changes.run(CHANGED, CHANGED)

    suite.leg(
        "1 % of 1 of 12 partitions changed",
        unit="s",
        ours=lambda: refresh()[1],
        peers={"full run": run_all},
        goals={"vs_best_peer": "<= 0.15"},
        better="lower",
    )
    suite.leg(
        "pictures decoded by it",
        unit="pictures",
        ours=lambda: float(decoded(refresh()[0])),
        goals={"ours": "<= 0"},
        better="lower",
    )


if __name__ == "__main__":
    sys.exit(main())
