"""All assets of a dataset through Dagster: one run in this process over all partitions, with progress."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from typing import Any

import dagster as dg
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG

from assets.definitions import defs
from assets.jobs import all_name
from assets.partitions import partition_keys
from assets.shape import asset_names
from assets.spec import DatasetSpec


class PipelineFailed(RuntimeError):
    """A run failed, or a check did; the message has the reasons."""


def materialize(spec: DatasetSpec, instance: dg.DagsterInstance) -> dict[str, float]:
    """Run the job of every asset of a dataset over every partition.

    Returns
    -------
    dict of str to float
        Seconds of each step by the name of its asset, as Dagster recorded them.

    Raises
    ------
    PipelineFailed
        When a step fails or a check of severity ERROR does not pass.
    """
    definitions = dg.Definitions.merge(
        defs(), dg.Definitions(loggers={"console": dg.LoggerDefinition(_console)})
    )
    job = definitions.resolve_job_def(all_name(spec))
    keys = partition_keys(spec, instance)
    tags = {ASSET_PARTITION_RANGE_START_TAG: keys[0], ASSET_PARTITION_RANGE_END_TAG: keys[-1]}
    partitioned = spec.partitions.by != "none"
    result = job.execute_in_process(
        run_config={"loggers": {"console": {}}},
        instance=instance,
        tags=tags if partitioned else None,
        raise_on_error=False,
    )
    reasons = [
        f"{event.step_key}: {event.step_failure_data.error_display_string}"
        for event in result.all_events
        if event.is_step_failure
    ]
    reasons += failed_checks(result.get_asset_check_evaluations())
    if reasons or not result.success:
        raise PipelineFailed("\n".join([f"{spec.name}: run {result.run_id} failed", *reasons]))
    succeeded = {str(event.step_key): event for event in result.all_events if event.is_step_success}
    return {
        name: succeeded[f"{spec.name}__{name}"].step_success_data.duration_ms / 1_000
        for name in asset_names(spec)
    }


def failed_checks(evaluations: Sequence[dg.AssetCheckEvaluation]) -> list[str]:
    """Name the checks that did not pass and are no mere warnings."""
    return [
        f"check {evaluation.check_name} of {evaluation.asset_key.to_user_string()}: {evaluation.description}"
        for evaluation in evaluations
        if not evaluation.passed and evaluation.severity == dg.AssetCheckSeverity.ERROR
    ]


class _Plain(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        meta: dict[str, Any] = getattr(record, "dagster_meta", {})
        return f"  {meta.get('orig_message', record.getMessage())}"


def _console(context: dg.InitLoggerContext) -> logging.Logger:
    """Print the messages of assets; Dagster's own events are in its records."""
    made = logging.Logger("demo", logging.INFO)  # of its own: Dagster asks more than once in a run
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_Plain())
    handler.addFilter(lambda record: getattr(record, "dagster_meta", {}).get("dagster_event") is None)
    made.addHandler(handler)
    return made
