"""Dagster's Celery launcher, with a check of health that notices a worker whose host is gone.

Celery's own record of a task says STARTED for ever when the worker dies together with its parent process.
Here the worker is asked whether it has the task; runs of workers that keep silent are marked as failed by
Dagster's run monitoring, and `run_retries` begins them again elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dagster import DagsterRun, Field, IntSource
from dagster._core.launcher import CheckRunHealthResult, WorkerStatus
from dagster_celery.launcher import CeleryRunLauncher
from dagster_celery.tags import DAGSTER_CELERY_TASK_ID_TAG

REPLY_SECONDS = 2.0
ENDED = ("SUCCESS", "FAILURE", "REVOKED")


class WatchedRunLauncher(CeleryRunLauncher):
    """Starts runs as Celery tasks and asks workers whether they still have them.

    Parameters
    ----------
    missed_checks
        Consecutive checks, one each `run_monitoring.poll_interval_seconds`, in which nobody says to have
        the task before its run counts as dead. A live worker that was cut off for so long goes on beside
        the retry; both may publish, one version comes of it.
    """

    def __init__(self, missed_checks: int = 3, **options: Any) -> None:
        super().__init__(**options)
        self._missed_checks = missed_checks
        self._missed: dict[str, int] = {}

    @classmethod
    def config_type(cls) -> Any:
        """Return Celery's options and this class's own."""
        own = Field(IntSource, is_required=False, default_value=3, description="Checks without an answer.")
        options: Any = super().config_type()
        return {**options, "missed_checks": own}

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Return RUNNING while a worker has the task of a run, or may have it."""
        task = run.tags.get(DAGSTER_CELERY_TASK_ID_TAG)
        if task is None:
            return CheckRunHealthResult(WorkerStatus.RUNNING, "The task was not yet tagged.")
        record: Mapping[str, Any] = self.celery.backend.get_task_meta(task)
        if record["status"] in ENDED:
            # Dagster looks again whether the run has ended by now; if so, it ignores this.
            return self._dead(task, f"its Celery task ended as {record['status']}, the run did not end")
        details = record.get("result")
        worker = details.get("hostname") if isinstance(details, dict) else None
        if self._has(worker, task):
            self._missed.pop(task, None)
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        missed = self._missed[task] = self._missed.get(task, 0) + 1
        if missed < self._missed_checks:
            return CheckRunHealthResult(WorkerStatus.RUNNING, f"{missed} checks missed by {worker}")
        return self._dead(task, f"worker {worker} did not say to have its task in {missed} checks")

    def _has(self, worker: str | None, task: str) -> bool:
        """Ask the worker that took a task, or all of them when it is not known, what is under way."""
        asked = [worker] if worker else None
        replies = self.celery.control.inspect(destination=asked, timeout=REPLY_SECONDS).active() or {}
        return any(active["id"] == task for tasks in replies.values() for active in tasks)

    def _dead(self, task: str, reason: str) -> CheckRunHealthResult:
        self._missed.pop(task, None)
        return CheckRunHealthResult(WorkerStatus.FAILED, f"The run worker is gone: {reason}.")
