"""A small dataset of its own for each test: goods with pictures, cut by month, in a real MongoDB."""

from __future__ import annotations

import io
import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from bson import Binary, ObjectId
from PIL import Image
from pymongo.database import Database

from assets.dataset import definitions_of
from assets.partitions import partition_keys
from assets.schedules import RANGE_END, RANGE_START
from assets.spec import DatasetSpec
from shards import ShardStore

MONTHS = ["2025-01", "2025-02", "2025-03", "2025-04"]


def attributes(database: str, **changes: Any) -> dict[str, Any]:
    """Return the attributes of the dataset, as its YAML would have them."""
    return {
        "name": "goods",
        "owners": ["team:shop"],
        "source": {"database": database, "collection": "goods"},
        "partitions": {
            "by": "time",
            "field": "at",
            "every": "month",
            "start": "2025-01-01",
            "end": "2025-05-01",
        },
        "columns": {
            "picture": {"kind": "image", "path": "picture", "size": [8, 8], "transform": ["standardize"]},
            "price": {"kind": "number", "path": "price", "transform": ["standardize"]},
            "color": {"kind": "category", "path": "color"},
        },
        "checks": {"max_reject_share": 0.5, "max_broken_image_share": 0.5},
        "runs": {"retry_seconds": 0.1},
        **changes,
    }


def goods(database: Database[Any], **changes: Any) -> DatasetSpec:
    """Return the specification of the dataset."""
    return DatasetSpec.model_validate(attributes(database.name, **changes))


def document(row: int, month: int) -> dict[str, Any]:
    """Return a document; a function of its row."""
    chance = random.Random(row)
    target = io.BytesIO()
    pixels = bytes(chance.randrange(256) for _ in range(8 * 8 * 3))
    Image.frombytes("RGB", (8, 8), pixels).save(target, "PNG")
    return {
        "_id": ObjectId(row.to_bytes(12, "big")),
        "at": datetime(2025, month, 1, tzinfo=timezone.utc) + timedelta(hours=row % 600),
        "price": chance.uniform(1, 100),
        "color": chance.choice(["red", "green", "blue"]),
        "picture": Binary(target.getvalue()),
    }


def fill(database: Database[Any], per_month: int = 30, months: Iterable[int] = (1, 2, 3, 4)) -> None:
    """Insert documents of some months."""
    documents = [document(1_000 * month + row, month) for month in months for row in range(per_month)]
    database.goods.insert_many(documents)


class Pipeline:
    """The dataset's jobs on an instance and a store of the test's own."""

    def __init__(self, spec: DatasetSpec, instance: dg.DagsterInstance, store: ShardStore) -> None:
        self.spec, self.instance, self.store = spec, instance, store
        self.definitions = definitions_of(spec)

    def run(
        self, *partitions: str, job: str = "all", assets: Iterable[str] = (), **execute: Any
    ) -> dg.ExecuteInProcessResult:
        """Run a job over one partition, or over the range from the first given to the last; else all."""
        keys = list(partitions) or partition_keys(self.spec, self.instance)
        tags: dict[str, str] = {}
        if self.spec.partitions.by != "none" and job in ("all", "refresh"):
            tags = (
                {"dagster/partition": keys[0]}
                if len(keys) == 1
                else {RANGE_START: keys[0], RANGE_END: keys[-1]}
            )
        return self.definitions.resolve_job_def(f"{self.spec.name}_{job}").execute_in_process(
            instance=self.instance,
            tags=tags,
            asset_selection=[dg.AssetKey([self.spec.name, name]) for name in assets] or None,
            **{"raise_on_error": False, **execute},
        )

    def events(self, asset: str, partition: str | None = None) -> list[dg.AssetMaterialization]:
        """Return the materializations of an asset, latest first."""
        key = dg.AssetKey([self.spec.name, asset])
        records = self.instance.fetch_materializations(
            dg.AssetRecordsFilter(key, asset_partitions=[partition] if partition else None), limit=50
        ).records
        return [record.asset_materialization for record in records if record.asset_materialization]


@contextmanager
def pipeline(
    spec: DatasetSpec, folder: Any, monkeypatch: pytest.MonkeyPatch, uri: str, root: str = ""
) -> Iterator[Pipeline]:
    """Give the dataset's jobs on an instance that lives as long as the block; `root` for shards elsewhere."""
    root = root or str(folder / "shards")
    monkeypatch.setenv("SHARDS_ROOT", root)
    monkeypatch.setenv("MONGODB_URI", uri)
    home = Path(folder) / "home"
    home.mkdir(parents=True, exist_ok=True)
    with dg.DagsterInstance.local_temp(str(home)) as instance:
        yield Pipeline(spec, instance, ShardStore(root))


def failures(result: dg.ExecuteInProcessResult) -> str:
    """Return the errors of a run."""
    return "\n".join(
        event.step_failure_data.error.to_string() if event.step_failure_data.error else ""
        for event in result.all_events
        if event.is_step_failure
    )
