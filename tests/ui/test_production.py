"""`deploy/dagster.yaml` against a real Postgres: what runs through the queue is stored there."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pymongo import MongoClient

from demo.mongod import free_port
from demo.seed import seed
from tests.ui.deployment import PROJECT, Deployment

pytestmark = [pytest.mark.xdist_group("front_door"), pytest.mark.timeout(900)]


def programs() -> Path | None:
    """Return the directory of Postgres' programs, the newest there is."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path).parent if on_path else None


@contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """Give the URL of a server of its own; as Postgres refuses to be root, it runs as `postgres` then."""
    directory = programs()
    assert directory, "no Postgres; next: apt-get install postgresql"
    user = "postgres" if os.geteuid() == 0 else getpass.getuser()
    become = ["runuser", "-u", user, "--"] if os.geteuid() == 0 else []
    folder.mkdir(parents=True)
    if become:
        shutil.chown(folder, user)
        for parent in folder.parents:
            if parent.owner() == "root" and str(parent).startswith("/tmp/"):
                parent.chmod(parent.stat().st_mode | 0o011)
    port = free_port()

    def run(program: str, *arguments: str) -> None:
        command = [*become, str(directory / program), *arguments]
        done = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    data = str(folder / "data")
    run("initdb", "-D", data, "-U", "dagster", "--auth", "trust", "--no-sync")
    run("pg_ctl", "-D", data, "-w", "-l", str(folder / "log"), "-o", f"-p {port} -k {folder} -F", "start")
    try:
        yield f"postgresql://dagster@127.0.0.1:{port}/postgres"
    finally:
        run("pg_ctl", "-D", data, "-m", "immediate", "stop")


def test_a_run_through_the_queue_is_stored_in_postgres(mongo_uri: str, tmp_path: Path) -> None:
    with MongoClient(mongo_uri) as client:
        seed(client, tmp_path / "data" / "pictures")
    with postgres(tmp_path / "postgres") as url:
        environment = {
            "MONGODB_URI": mongo_uri,
            "DAGSTER_PG_URL": url,
            "DAGSTER_COMPUTE_LOGS": str(tmp_path / "logs"),
        }
        with Deployment(tmp_path / "dagster", environment, PROJECT / "deploy" / "dagster.yaml") as deployment:
            run_id = deployment.launch(
                assets=["tumors/documents", "tumors/records"], tags={"dagster/partition": "west"}
            )
            deployment.succeed(run_id)
            assert deployment.metadata("tumors/records", "west")["dagster/row_count"] > 100
            stored = subprocess.run(
                ["psql", url, "-Atc", f"select status from runs where run_id = '{run_id}'"],
                capture_output=True,
                text=True,
                check=True,
            )
            assert stored.stdout.strip() == "SUCCESS"
            assert list(deployment.home.rglob("*.db")) == []
