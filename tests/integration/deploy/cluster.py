"""Webserver, daemon and workers of `deploy/celery`, started by the very commands of its README."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from celery import Celery

from tests.servers import postgres, redis
from tests.ui.deployment import PROJECT, Deployment

CELERY = PROJECT / "deploy" / "celery"
TASK = "dagster-celery/task_id"
SLOTS = """
query($key: String!) { instance { concurrencyLimit(concurrencyKey: $key) { activeSlotCount slotCount } } }"""


@dataclass(frozen=True, slots=True)
class Killed:
    """A backfill, and the runs of it that died: with its host, and alone."""

    backfill: str
    with_host: str
    alone: str


def command(program: str, subcommand: str = "") -> Sequence[str]:
    """Return the one command of the README that begins so, run by a shell."""
    text = (CELERY / "README.md").read_text()
    blocks = [block.partition("```")[0] for block in text.split("```bash\n")[1:]]
    (line,) = [
        line
        for block in blocks
        for line in block.splitlines()
        if line.startswith(f"{program} {subcommand}".strip())
    ]
    return ["bash", "-c", f"exec {line}"]


class Worker:
    """A worker with a host name and a directory of its own, as far as the system lets it have one."""

    def __init__(self, name: str, folder: Path, environment: Mapping[str, str]) -> None:
        self.name = f"run@{name}"
        self._folder = folder / name
        self._folder.mkdir(exist_ok=True)
        own: Sequence[str] = []
        if subprocess.run(["unshare", "--uts", "true"], check=False, capture_output=True).returncode == 0:
            own = ["unshare", "--uts", "sh", "-c", f'hostname {name} && exec "$@"', "sh"]
        with (self._folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*own, *command("celery")],
                cwd=self._folder,
                env={**environment, "WORKER_NAME": name},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def signal_all(self, number: signal.Signals) -> None:
        """Send a signal to the worker and to the processes of its runs."""
        os.killpg(self.process.pid, number)

    def signal_runs(self, number: signal.Signals) -> None:
        """Send a signal to the processes of its runs alone."""
        for child in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split():
            os.kill(int(child), number)

    def kill(self) -> None:
        """End everything at once, as when the host loses power."""
        self.signal_all(signal.SIGKILL)
        self.process.wait()

    def log(self) -> str:
        """Return what it has written."""
        return (self._folder / "log").read_text(errors="replace")


class Cluster(Deployment):
    """A deployment of `deploy/celery`.

    Parameters
    ----------
    folder, environment, location
        As of `Deployment`; the environment holds DAGSTER_PG_URL and REDIS_URL.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str], location: tuple[str, Path]) -> None:
        super().__init__(folder, environment, CELERY / "dagster.yaml", location)
        programs = str(Path(sys.executable).parent)
        self.environment["PATH"] = os.pathsep.join([programs, self.environment["PATH"]])
        self.environment["PYTHONPATH"] = str(CELERY)
        self.environment["PORT"] = str(self.port)
        self.environment["DAGSTER_COMPUTE_LOGS"] = str(folder / "logs")
        self.workers: dict[str, Worker] = {}
        url = self.environment["REDIS_URL"]
        self._celery = Celery("tests", broker=url, backend=url)

    def commands(self) -> dict[str, Sequence[str]]:
        """Return the commands to begin with; the daemon comes when there is work for it."""
        return {"limits": command("dagster", "instance"), "webserver": command("dagster-webserver")}

    def start_daemon(self) -> None:
        """Start the daemon. It looks for backfills as it starts, and every 30 s from then on."""
        self._daemon = self._start("daemon", command("dagster-daemon"))

    def stop_daemon(self) -> None:
        """Stop the daemon; runs go on."""
        self._processes.remove(self._daemon)
        os.killpg(self._daemon.pid, signal.SIGTERM)
        self._daemon.wait()

    def start_worker(self, name: str) -> Worker:
        """Start a worker, in place of the one of that name that there was."""
        self.workers[name] = Worker(name, self.folder, self.environment)
        return self.workers[name]

    def take_part(self, name: str, takes_part: bool) -> None:
        """Have a worker take runs, or leave them to the others."""
        control, worker = self._celery.control, [f"run@{name}"]
        change = control.add_consumer if takes_part else control.cancel_consumer
        assert change("dagster", destination=worker, reply=True), f"{name} does not answer"
        time.sleep(2)  # what it asked Redis for before lasts for a second

    def stop(self) -> None:
        """End everything."""
        for worker in self.workers.values():
            if worker.process.poll() is None:
                worker.kill()
        super().stop()
        self._celery.close()

    def logs(self) -> str:
        """Return what all processes have written."""
        return super().logs() + "".join(worker.log() for worker in self.workers.values())

    def worker_of(self, run: Mapping[str, Any]) -> str | None:
        """Return the name of the worker that took a run; None when none has."""
        task = next((tag["value"] for tag in run["tags"] if tag["key"] == TASK), None)
        if task is None:
            return None
        name = self._celery.AsyncResult(task).worker
        return None if name is None else str(name)

    def runs_of(self, worker: Worker, *statuses: str) -> list[dict[str, Any]]:
        """Return the runs of these statuses that a worker took."""
        return [
            run for run in self.runs() if run["status"] in statuses and self.worker_of(run) == worker.name
        ]

    def slots(self, pool: str) -> tuple[int, int]:
        """Return the slots of a pool that are taken, and all of them."""
        limit = self.graphql(SLOTS, key=pool)["instance"]["concurrencyLimit"]
        return int(limit["activeSlotCount"]), int(limit["slotCount"])

    def redis_values(self) -> str:
        """Return everything that Redis has: messages under way and the record of those that are done."""
        client = self._celery.backend.client
        values = [client.get(key) for key in client.scan_iter() if client.type(key) == b"string"]
        return b"\n".join(values).decode()

    def stop_amid(self, worker: Worker, step: str, *, runs_alone: bool = False) -> str:
        """Stop the processes of a worker if that leaves a run between begin and end of a step; return its id.

        A worker that was not caught in the act goes on, and the answer is empty.
        """
        send = worker.signal_runs if runs_alone else worker.signal_all
        if not self.runs_of(worker, "STARTED"):
            return ""
        send(signal.SIGSTOP)
        for run in self.runs_of(worker, "STARTED"):
            if self._is_amid(run["runId"], step):
                return str(run["runId"])
        send(signal.SIGCONT)
        return ""

    def _is_amid(self, run_id: str, step: str) -> bool:
        events = self.events(run_id)
        begun = [event for event in events if event["__typename"] == "ExecutionStepStartEvent"]
        ended = [event for event in events if event["__typename"] == "MaterializationEvent"]
        return any(event["stepKey"] == step for event in begun) and not ended


@contextmanager
def cluster(
    folder: Path, environment: Mapping[str, str], location: tuple[str, Path], workers: Sequence[str]
) -> Iterator[Cluster]:
    """Give a running deployment with Postgres, Redis and workers of its own."""
    with postgres() as pg_url, redis(folder / "redis") as redis_url:
        urls = {"DAGSTER_PG_URL": pg_url, "REDIS_URL": redis_url}
        running = Cluster(folder / "dagster", {**environment, **urls}, location)
        for name in workers:
            running.start_worker(name)
        with running:
            yield running
