"""Declarative automation: partitions whose source changed, what depends on them, then one snapshot.

What a run did not manage is asked for again at the next full hour, until it has worked.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import dagster as dg

from assets.spec import DatasetSpec

Condition: TypeAlias = dg.AutomationCondition[Any]

HOURLY = "0 * * * *"


def partition_condition(spec: DatasetSpec) -> Condition | None:
    """Return when a partition of `documents`, `images` or `records` is made again.

    When something it depends on was updated, in any window and not only the latest; when a partition appears;
    and when an hour begins after a run of it that failed. Partitions that exist when automation is switched
    on are left to a backfill.
    """
    if not spec.refresh.automation:
        return None
    condition = dg.AutomationCondition
    due: Condition = (
        condition.newly_missing() | (condition.any_deps_updated() & ~condition.missing()) | _failed()
    )
    return (
        due.since_last_handled()
        & ~condition.any_deps_missing()
        & ~condition.any_deps_in_progress()
        & ~condition.in_progress()
    )


def snapshot_condition(spec: DatasetSpec) -> Condition | None:
    """Return when the snapshot is made again: when updates have settled, or as a partition after a failure.

    Partitions may be missing.
    """
    if not spec.refresh.automation:
        return None
    condition = dg.AutomationCondition
    due: Condition = condition.any_deps_updated() | _failed()
    return due.since_last_handled() & ~condition.any_deps_in_progress() & ~condition.in_progress()


def _failed() -> Condition:
    return dg.AutomationCondition.execution_failed() & dg.AutomationCondition.cron_tick_passed(HOURLY)
