"""A Dagster deployment for tests: webserver and daemon as processes, driven through the UI's GraphQL API."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from demo.mongod import free_port

PROJECT = Path(__file__).resolve().parents[2]
LOCATION = "shardmill"
T = TypeVar("T")

DAEMON = """
import dagster._daemon.controller as controller
controller.DEFAULT_DAEMON_INTERVAL_SECONDS = 2  # a backfill is looked at every 30 s otherwise
from dagster._daemon.cli import main
main()
"""
LAUNCH = """
mutation($params: ExecutionParams!) {
  launchPipelineExecution(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message stack }
    ... on RunConfigValidationInvalid { errors { message } }
  }
}"""
RUN = "query($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"
LOGS = """
query($id: ID!) { logsForRun(runId: $id, limit: 1000) { ... on EventConnection {
  events { __typename ... on MessageEvent { message stepKey level } ... on ErrorEvent { error { message } } }
} } }"""
RUNS = """
query { runsOrError(limit: 200) { ... on Runs { results {
  runId status jobName startTime endTime tags { key value } assetSelection { path } } } } }"""
BACKFILL = """
mutation($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message stack }
  }
}"""
BACKFILL_STATUS = """
query($id: String!) { partitionBackfillOrError(backfillId: $id) {
  __typename ... on PartitionBackfill { status } } }"""
ASSET = """
query($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode {
  groupName description kinds staleStatus owners { __typename ... on TeamAssetOwner { team } }
  partitionStats { numMaterialized numPartitions numFailed }
  metadataEntries { __typename label
    ... on TableSchemaMetadataEntry { schema { columns { name type description } } }
    ... on TableColumnLineageMetadataEntry {
      lineage { columnName columnDeps { assetKey { path } columnName } } }
  }
  internalFreshnessPolicy { ... on TimeWindowFreshnessPolicy { failWindowSeconds } }
  assetObservations(limit: 50) { partition description }
  assetMaterializations(limit: 50) {
    partition runId
    tags { key value }
    metadataEntries { __typename label
      ... on IntMetadataEntry { intValue } ... on FloatMetadataEntry { floatValue }
      ... on TextMetadataEntry { text } ... on MarkdownMetadataEntry { mdStr }
      ... on BoolMetadataEntry { boolValue }
      ... on TableMetadataEntry { table { records } } }
  }
} } }"""
CHECKS = """
query($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode {
  assetChecksOrError { ... on AssetChecks { checks { name blocking description
    executionForLatestMaterialization { status evaluation { success severity description } } } } }
} } }"""
INSTIGATORS = """
query($repository: RepositorySelector!) { repositoryOrError(repositorySelector: $repository) {
 ... on Repository {
  sensors { name sensorType sensorState { status
    ticks(limit: 10) { timestamp status error { message } runIds skipReason } } }
  schedules { name scheduleState { status } }
} } }"""


class Deployment:
    """A webserver and a daemon over this code location.

    Parameters
    ----------
    folder
        Receives DAGSTER_HOME, the shards and the logs; working directory of the processes.
    environment
        What the processes find in their environment, MONGODB_URI above all.
    instance_file
        The `dagster.yaml` to run with.
    location
        Module that holds the definitions, and the directory it is imported from.
    """

    def __init__(
        self,
        folder: Path,
        environment: Mapping[str, str],
        instance_file: Path = PROJECT / "dagster.yaml",
        location: tuple[str, Path] = ("assets.definitions", PROJECT),
    ) -> None:
        self.folder, self.home, self.shards = folder, folder / "home", folder / "data" / "shards"
        self.home.mkdir(parents=True)
        shutil.copy(instance_file, self.home / "dagster.yaml")
        module, directory = location
        (folder / "workspace.yaml").write_text(
            "load_from:\n"
            f"  - python_module: {{module_name: {module}, working_directory: {directory}, "
            f"location_name: {LOCATION}}}\n"
        )
        self.environment = {
            **os.environ,
            "DAGSTER_HOME": str(self.home),
            "SHARDS_ROOT": str(self.shards),
            "PYTHONWARNINGS": "",
            **environment,
        }
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Deployment:
        """Start both and wait until the code location has loaded.

        The daemon waits for the webserver: two that make the tables of one SQLite file do not go together.
        """
        try:
            for name, command in self.commands().items():
                self._start(name, command)
                if name == "webserver":
                    self.wait("the webserver", self._answers)
            self.wait("the code location", self._is_ready)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        """End both and everything they started."""
        self.stop()

    def commands(self) -> dict[str, Sequence[str]]:
        """Return the commands of webserver and daemon, by the name of their log."""
        python, workspace = [sys.executable, "-m"], ["-w", str(self.folder / "workspace.yaml")]
        address = ["-h", "127.0.0.1", "-p", str(self.port)]
        return {
            "webserver": [*python, "dagster_webserver", *workspace, *address],
            "daemon": [sys.executable, "-c", DAEMON, "run", *workspace],
        }

    def stop(self) -> None:
        """End both and everything they started."""
        for process in self._processes:
            with contextlib.suppress(ProcessLookupError):  # has ended by itself
                os.killpg(process.pid, signal.SIGTERM)
        for process in self._processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def _start(self, name: str, command: Sequence[str]) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._processes.append(process)
        return process

    def logs(self) -> str:
        """Return what both processes have written."""
        return "".join(file.read_text(errors="replace") for file in self.folder.glob("*.log"))

    def _answers(self) -> bool:
        for process in self._processes:
            assert not process.poll(), self.logs()
        try:
            with urllib.request.urlopen(f"{self.address}/server_info", timeout=60) as response:
                return bool(response.status == 200)
        except (OSError, http.client.HTTPException):
            return False

    def _is_ready(self) -> bool:
        for process in self._processes:
            assert not process.poll(), self.logs()
        try:
            found = self.graphql(
                "{ workspaceOrError { ... on Workspace { locationEntries { loadStatus locationOrLoadError "
                "{ __typename ... on PythonError { message stack } } } } } }"
            )
        except (OSError, http.client.HTTPException):
            return False
        (entry,) = found["workspaceOrError"]["locationEntries"]
        loaded = entry["locationOrLoadError"]
        assert loaded is None or loaded["__typename"] == "RepositoryLocation", loaded
        return bool(entry["loadStatus"] == "LOADED")

    def wait(self, what: str, is_done: Callable[[], T], timeout_seconds: float = 400) -> T:
        """Ask again until the answer is true; fail with the logs when it takes too long."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            answer = is_done()
            if answer:
                return answer
            assert time.monotonic() < deadline, (
                f"{what}: not within {timeout_seconds} s\n{self.logs()[-8000:]}"
            )
            time.sleep(0.3)

    def graphql(self, query: str, **variables: Any) -> Any:
        """Return the data of one query."""
        request = urllib.request.Request(
            f"{self.address}/graphql",
            json.dumps({"query": query, "variables": variables}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            answer = json.load(response)
        assert "errors" not in answer, answer["errors"]
        return answer["data"]

    def launch(
        self,
        job: str = "__ASSET_JOB",
        assets: Sequence[str] = (),
        tags: Mapping[str, str] | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> str:
        """Launch a run and return its id; `assets` are keys such as `digits/documents`."""
        selector: dict[str, Any] = {
            "repositoryLocationName": LOCATION,
            "repositoryName": "__repository__",
            "pipelineName": job,
        }
        if assets:
            selector["assetSelection"] = [{"path": key.split("/")} for key in assets]
            selector["assetCheckSelection"] = None
        params = {
            "selector": selector,
            "runConfigData": config or {},
            "executionMetadata": {"tags": [{"key": k, "value": v} for k, v in (tags or {}).items()]},
        }
        launched = self.graphql(LAUNCH, params=params)["launchPipelineExecution"]
        assert launched["__typename"] == "LaunchRunSuccess", launched
        return str(launched["run"]["runId"])

    def status(self, run_id: str) -> str:
        """Return the status of a run."""
        return str(self.graphql(RUN, id=run_id)["runOrError"]["status"])

    def finish(self, run_id: str, timeout_seconds: float = 400) -> str:
        """Wait for the end of a run and return its status."""
        ends = ("SUCCESS", "FAILURE", "CANCELED")

        def ended() -> str:
            status = self.status(run_id)
            return status if status in ends else ""

        return self.wait(f"run {run_id}", ended, timeout_seconds)

    def succeed(self, run_id: str) -> None:
        """Wait for a run and fail the test with its errors unless it succeeds."""
        status = self.finish(run_id)
        assert status == "SUCCESS", f"{status}: {self.messages(run_id)}"

    def events(self, run_id: str) -> list[dict[str, Any]]:
        """Return the events of a run."""
        return list(self.graphql(LOGS, id=run_id)["logsForRun"]["events"])

    def messages(self, run_id: str) -> list[str]:
        """Return the messages and errors of a run."""
        return [
            event.get("message", "") + str((event.get("error") or {}).get("message", ""))
            for event in self.events(run_id)
        ]

    def runs(self) -> list[dict[str, Any]]:
        """Return the latest runs."""
        return list(self.graphql(RUNS)["runsOrError"]["results"])

    def begin_backfill(self, assets: Sequence[str], partitions: Sequence[str]) -> str:
        """Launch a backfill of partitions and return its id."""
        params = {
            "assetSelection": [{"path": key.split("/")} for key in assets],
            "partitionNames": list(partitions),
            "fromFailure": False,
        }
        launched = self.graphql(BACKFILL, params=params)["launchPartitionBackfill"]
        assert launched["__typename"] == "LaunchBackfillSuccess", launched
        return str(launched["backfillId"])

    def backfill(self, assets: Sequence[str], partitions: Sequence[str]) -> str:
        """Backfill partitions, wait, and return the backfill's id."""
        backfill = self.begin_backfill(assets, partitions)
        self.finish_backfill(backfill)
        return backfill

    def finish_backfill(self, backfill: str) -> None:
        """Wait for the end of a backfill; fail the test unless everything in it succeeded."""

        def ended() -> str:
            status = str(
                self.graphql(BACKFILL_STATUS, id=backfill)["partitionBackfillOrError"].get("status", "")
            )
            return status if status.startswith("COMPLETED") or status in ("FAILED", "CANCELED") else ""

        status = self.wait("the backfill", ended)
        assert status == "COMPLETED_SUCCESS", (status, self.runs())

    def asset(self, key: str) -> dict[str, Any]:
        """Return what the UI shows of an asset."""
        return dict(self.graphql(ASSET, key={"path": key.split("/")})["assetNodeOrError"])

    def metadata(self, key: str, partition: str | None = None) -> dict[str, Any]:
        """Return the metadata of the latest materialization, by label."""
        for materialization in self.asset(key)["assetMaterializations"]:
            if materialization["partition"] == partition:
                return {
                    entry["label"]: next(
                        value for name, value in entry.items() if name not in ("__typename", "label")
                    )
                    if len(entry) > 2
                    else None
                    for entry in materialization["metadataEntries"]
                }
        raise AssertionError(f"{key} has no materialization of partition {partition}")

    def checks(self, key: str) -> dict[str, dict[str, Any]]:
        """Return the latest result of every check of an asset, by name."""
        node = self.graphql(CHECKS, key={"path": key.split("/")})["assetNodeOrError"]
        return {check["name"]: check for check in node["assetChecksOrError"]["checks"]}

    def instigators(self) -> dict[str, Any]:
        """Return sensors and schedules."""
        repository = {"repositoryLocationName": LOCATION, "repositoryName": "__repository__"}
        return dict(self.graphql(INSTIGATORS, repository=repository)["repositoryOrError"])
