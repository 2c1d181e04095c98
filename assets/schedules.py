"""The schedule of a dataset: the last closed window, and as many before it as late documents may need."""

from collections.abc import Sequence
from datetime import datetime

import dagster as dg

from assets.documents import add_partitions
from assets.jobs import refresh_name
from assets.partitions import ALL, partition_keys, partitions_definition
from assets.resources import client_of, resource_keys
from assets.shape import asset_names
from assets.spec import DatasetSpec

RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


def refresh_schedule(spec: DatasetSpec) -> dg.ScheduleDefinition | None:
    """Return the schedule of `spec`; None when it has none."""
    if spec.refresh.schedule is None:
        return None

    @dg.schedule(
        name=f"{spec.name}_schedule",
        job_name=refresh_name(spec),
        cron_schedule=spec.refresh.schedule,
        execution_timezone=spec.refresh.timezone,
        description=f"Refreshes {spec.name}; windows looked back: {spec.refresh.look_back}.",
        required_resource_keys=resource_keys(spec),
    )
    def schedule(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest]:
        moment = context.scheduled_execution_time
        if spec.partitions.by == "dynamic":
            with client_of(spec, context) as client:
                add_partitions(spec, context.instance, client)
        return run_requests(spec, due_partitions(spec, context.instance, moment), moment.isoformat())

    return schedule


def due_partitions(spec: DatasetSpec, instance: dg.DagsterInstance, moment: datetime) -> list[str]:
    """Return the partitions that a schedule refreshes at `moment`.

    By time: the last window closed by then, and `refresh.look_back` windows before it. Otherwise all.
    """
    keys = partition_keys(spec, instance, moment)
    if spec.partitions.by != "time":
        return keys
    definition = partitions_definition(spec)
    assert isinstance(definition, dg.TimeWindowPartitionsDefinition)
    closed = [key for key in keys if definition.time_window_for_partition_key(key).end <= moment]
    return closed[-1 - spec.refresh.look_back :]


def run_requests(
    spec: DatasetSpec, partitions: Sequence[str], run_key: str, instance_keys: Sequence[str] | None = None
) -> list[dg.RunRequest]:
    """Return runs that make `partitions` (adjacent ones together) and then the snapshot once.

    Parameters
    ----------
    spec, partitions
        What to make; partitions in the dataset's order.
    run_key
        Makes the runs of one tick unique.
    instance_keys
        All keys of the dataset in order; tells which partitions are adjacent. All are when absent.
    """
    if not partitions:
        return []
    if list(partitions) == [ALL]:
        return [dg.RunRequest(run_key=run_key)]
    ranges = _ranges(list(partitions), list(instance_keys or partitions))
    without_snapshot = [dg.AssetKey([spec.name, name]) for name in asset_names(spec)[:-1]]
    requests = []
    for position, (first, last) in enumerate(ranges, 1):
        tags = {"dagster/partition": first} if first == last else {RANGE_START: first, RANGE_END: last}
        requests.append(
            dg.RunRequest(
                run_key=f"{run_key} {first}",
                tags=tags,
                asset_selection=None if position == len(ranges) else without_snapshot,
            )
        )
    return requests


def _ranges(partitions: list[str], keys: list[str]) -> list[tuple[str, str]]:
    position = {key: index for index, key in enumerate(keys)}
    ranges: list[tuple[str, str]] = []
    for key in sorted(partitions, key=position.__getitem__):
        if ranges and position[key] == position[ranges[-1][1]] + 1:
            ranges[-1] = (ranges[-1][0], key)
        else:
            ranges.append((key, key))
    return ranges
