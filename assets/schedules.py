"""Schedules of a dataset: its last closed windows are refreshed, and what nobody needs is removed."""

from collections.abc import Iterable, Sequence
from datetime import datetime

import dagster as dg

from assets.documents import add_partitions
from assets.jobs import gc_name, refresh_name
from assets.partitions import ALL, partition_keys, partitions_definition
from assets.resources import client_of, resource_keys
from assets.shape import asset_key, asset_names
from assets.spec import DatasetSpec

RANGE_START, RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


def schedules(spec: DatasetSpec) -> list[dg.ScheduleDefinition]:
    """Return the schedules that a dataset asks for."""
    found = [refresh_schedule(spec), gc_schedule(spec)]
    return [schedule for schedule in found if schedule is not None]


def refresh_schedule(spec: DatasetSpec) -> dg.ScheduleDefinition | None:
    """Return the schedule that refreshes `spec`; None when it has none."""
    if spec.refresh.schedule is None:
        return None

    @dg.schedule(
        name=f"{spec.name}_schedule",
        job_name=refresh_name(spec),
        cron_schedule=spec.refresh.schedule,
        execution_timezone=spec.refresh.timezone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"Refreshes {spec.name}; windows looked back: {spec.refresh.look_back}.",
        required_resource_keys=resource_keys(spec),
    )
    def schedule(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest]:
        moment = context.scheduled_execution_time
        if spec.partitions.by == "dynamic":
            with client_of(spec, context) as client:
                add_partitions(spec, context.instance, client)
        due = due_partitions(spec, context.instance, moment)
        return [range_request(spec, due[0], due[-1], moment.isoformat())] if due else []

    return schedule


def gc_schedule(spec: DatasetSpec) -> dg.ScheduleDefinition | None:
    """Return the schedule of the gc job of `spec`; None when it has none."""
    if spec.storage.gc is None:
        return None
    return dg.ScheduleDefinition(
        name=f"{spec.name}_gc_schedule",
        job_name=gc_name(spec),
        cron_schedule=spec.storage.gc,
        execution_timezone=spec.refresh.timezone,
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"Removes versions of {spec.name} beyond the last {spec.storage.keep_versions}.",
    )


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


def range_request(
    spec: DatasetSpec, first: str, last: str, run_key: str, *, snapshot: bool = True
) -> dg.RunRequest:
    """Return a run over the partitions from `first` to `last`, and over the snapshot after them.

    Parameters
    ----------
    spec, first, last
        What to make.
    run_key
        A second request with the same key is dropped.
    snapshot
        Whether the snapshot is made as well.
    """
    tags = {"dataset": spec.name}
    if [first, last] != [ALL, ALL]:
        tags |= {"dagster/partition": first} if first == last else {RANGE_START: first, RANGE_END: last}
    chosen = None if snapshot else [asset_key(spec, name) for name in asset_names(spec)[:-1]]
    return dg.RunRequest(run_key=run_key, tags=tags, asset_selection=chosen)


def ranges(partitions: Iterable[str], keys: Sequence[str]) -> list[tuple[str, str]]:
    """Return the first and the last of every group of partitions that follow each other in `keys`."""
    position = {key: index for index, key in enumerate(keys)}
    found: list[tuple[str, str]] = []
    for key in sorted(set(partitions) & position.keys(), key=position.__getitem__):
        if found and position[key] == position[found[-1][1]] + 1:
            found[-1] = (found[-1][0], key)
        else:
            found.append((key, key))
    return found
