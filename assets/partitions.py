"""Dagster's partitions of a dataset: the same keys and windows that the extraction computes for itself."""

from __future__ import annotations

from datetime import date, datetime

import dagster as dg

from assets.spec import DatasetSpec
from assets.spec.partitions import DynamicPartitions, HashPartitions, StaticPartitions, TimePartitions

ALL = "all"
"""Key of the one partition of a dataset without partitions, and of every snapshot."""

_TIME = {
    "hour": ("0 * * * *", "%Y-%m-%d-%H:%M"),
    "day": ("0 0 * * *", "%Y-%m-%d"),
    "week": ("0 0 * * 1", "%Y-%m-%d"),
    "month": ("0 0 1 * *", "%Y-%m"),
}


def partitions_definition(spec: DatasetSpec) -> dg.PartitionsDefinition[str] | None:
    """Return how Dagster cuts the partitioned assets of `spec`; None when there is one partition.

    Time windows without an end include the one that is still open, so that fresh documents can be read
    before their window closes.
    """
    partitions = spec.partitions
    if isinstance(partitions, TimePartitions):
        cron, fmt = _TIME[partitions.every]
        return dg.TimeWindowPartitionsDefinition(
            start=_local(partitions.start),
            end=None if partitions.end is None else _local(partitions.end),
            fmt=fmt,
            timezone=partitions.timezone,
            cron_schedule=cron,
            end_offset=1 if partitions.end is None else 0,
        )
    if isinstance(partitions, StaticPartitions):
        return dg.StaticPartitionsDefinition([str(value) for value in partitions.values])
    if isinstance(partitions, HashPartitions):
        return dg.StaticPartitionsDefinition([str(bucket) for bucket in range(partitions.buckets)])
    if isinstance(partitions, DynamicPartitions):
        return dg.DynamicPartitionsDefinition(name=dynamic_name(spec))
    return None


def dynamic_name(spec: DatasetSpec) -> str:
    """Return the name under which Dagster keeps the keys of dynamic partitions."""
    return f"{spec.name}_partitions"


def _local(moment: date | datetime) -> datetime:
    return moment if isinstance(moment, datetime) else datetime(moment.year, moment.month, moment.day)


def run_partitions(spec: DatasetSpec, context: dg.AssetExecutionContext) -> list[str]:
    """Return the keys that a run is to make, one or many."""
    return [ALL] if partitions_definition(spec) is None else list(context.partition_keys)


def partition_keys(spec: DatasetSpec, instance: dg.DagsterInstance, now: datetime | None = None) -> list[str]:
    """Return every key of the dataset as of `now`, in order."""
    definition = partitions_definition(spec)
    if definition is None:
        return [ALL]
    return list(definition.get_partition_keys(current_time=now, dynamic_partitions_store=instance))
