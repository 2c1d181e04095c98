"""Declarative automation: partitions whose source changed, what depends on them, then one snapshot."""

from __future__ import annotations

from typing import Any, TypeAlias

import dagster as dg

from assets.spec import DatasetSpec

Condition: TypeAlias = dg.AutomationCondition[Any]


def partition_condition(spec: DatasetSpec) -> Condition | None:
    """Return when a partition of `documents`, `images` or `records` is made again.

    When something it depends on was updated, in any window and not only the latest, or when a partition
    appears. Partitions that exist when automation is switched on are left to a backfill.
    """
    if not spec.refresh.automation:
        return None
    condition = dg.AutomationCondition
    due = condition.newly_missing() | (condition.any_deps_updated() & ~condition.missing())
    return (
        due.since_last_handled()
        & ~condition.any_deps_missing()
        & ~condition.any_deps_in_progress()
        & ~condition.in_progress()
    )


def snapshot_condition(spec: DatasetSpec) -> Condition | None:
    """Return when the snapshot is made again: when updates have settled; partitions may be missing."""
    if not spec.refresh.automation:
        return None
    updated = dg.AutomationCondition.any_deps_updated().since_last_handled()
    return updated & ~dg.AutomationCondition.any_deps_in_progress() & ~dg.AutomationCondition.in_progress()
