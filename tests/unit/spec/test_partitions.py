"""Dagster's partitions are the ones that the extraction reads: the same keys, the same windows."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import dagster as dg
import pytest

from assets.mongo.ranges import window
from assets.partitions import partition_keys, partitions_definition
from assets.spec import DatasetSpec
from assets.spec.partitions import TimePartitions


def dataset(**partitions: Any) -> DatasetSpec:
    return DatasetSpec.model_validate(
        {
            "name": "goods",
            "source": {"database": "shop", "collection": "goods"},
            "partitions": partitions,
            "columns": {"price": {"kind": "number", "path": "price"}},
        }
    )


@pytest.mark.parametrize(
    ("every", "start", "end"),
    [
        ("hour", "2025-03-29T00:00:00", "2025-04-02T00:00:00"),  # clocks go forward in most zones
        ("hour", "2025-10-25T00:00:00", "2025-11-03T00:00:00"),  # and back
        ("day", "2024-02-26", "2025-11-05"),
        ("week", "2024-12-30", "2026-01-05"),
        ("month", "2023-11-01", "2026-03-01"),
    ],
)
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Apia"])
def test_windows_are_the_same(every: str, start: str, end: str, zone: str) -> None:
    spec = dataset(by="time", field="at", every=every, start=start, end=end, timezone=zone)
    definition = partitions_definition(spec)
    assert isinstance(definition, dg.TimeWindowPartitionsDefinition)
    assert isinstance(spec.partitions, TimePartitions)
    keys = definition.get_partition_keys(current_time=datetime(2027, 1, 1, tzinfo=timezone.utc))
    assert keys
    end_of_last = None
    for key in keys:
        theirs = definition.time_window_for_partition_key(key)
        ours = window(spec.partitions, key)
        assert ours == (theirs.start.astimezone(timezone.utc), theirs.end.astimezone(timezone.utc)), key
        assert end_of_last in (None, ours[0])
        end_of_last = ours[1]


def test_the_open_window_is_a_partition() -> None:
    spec = dataset(by="time", field="at", every="day", start="2025-01-01")
    now = datetime(2025, 1, 3, 12, tzinfo=timezone.utc)
    with dg.DagsterInstance.ephemeral() as instance:
        assert partition_keys(spec, instance, now) == ["2025-01-01", "2025-01-02", "2025-01-03"]


def test_a_closed_set_ends_where_it_says() -> None:
    spec = dataset(by="time", field="at", every="day", start="2025-01-01", end="2025-01-03")
    with dg.DagsterInstance.ephemeral() as instance:
        now = datetime(2025, 1, 1, tzinfo=timezone.utc) + timedelta(days=400)
        assert partition_keys(spec, instance, now) == ["2025-01-01", "2025-01-02"]


def test_keys_of_values_and_buckets() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        assert partition_keys(dataset(by="none"), instance) == ["all"]
        assert partition_keys(dataset(by="static", field="s", values=["b", 7]), instance) == ["b", "7"]
        assert partition_keys(dataset(by="hash", buckets=3), instance) == ["0", "1", "2"]
        instance.add_dynamic_partitions("goods_partitions", ["north"])
        assert partition_keys(dataset(by="dynamic", field="s"), instance) == ["north"]
