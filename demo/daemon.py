"""The demo's server: one `mongod` under `data/mongo` that every command finds again and only `stop` ends.

A file lock makes starting exclusive, a state file names the server, and the state is believed only after the
server behind it says that it serves this very directory.

    python -m demo.daemon start | uri | stop
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from demo.mongod import HOST, Mongod, MongodError

DIRECTORY = Path(__file__).resolve().parents[1] / "data" / "mongo"
PORT_VARIABLE = "SHARDMILL_MONGO_PORT"

_started: dict[
    int, Mongod
] = {}  # by process id: those whose parent is this very process, which must reap them


def ensure_running(directory: Path = DIRECTORY) -> str:
    """Give the connection string of the server over `directory`, starting it when it does not run.

    Safe against any number of processes doing the same at once: one starts it, the others wait and find it.

    Raises
    ------
    MongodError
        When it cannot be started; a subclass says why.
    """
    with _locked(directory):
        state = _living(directory)
        if state is None:
            state = _start(directory)
        return str(state["uri"])


def stop_running(directory: Path = DIRECTORY, wait_seconds: float = 60.0) -> bool:
    """Shut the server over `directory` down; False when none runs."""
    with _locked(directory):
        state = _living(directory)
        if state is None:
            _state_file(directory).unlink(missing_ok=True)
            return False
        pid = int(state["pid"])
        if pid in _started:
            _started.pop(pid).stop(wait_seconds)
        else:
            _terminate(pid, wait_seconds)
        _state_file(directory).unlink(missing_ok=True)
        return True


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _state_file(directory: Path) -> Path:
    return directory / "state.json"


def _living(directory: Path) -> dict[str, Any] | None:
    """Read the state file; None when it is missing, torn, or the server it names is not ours."""
    try:
        state: dict[str, Any] = json.loads(_state_file(directory).read_text())
        port, pid = int(state["port"]), int(state["pid"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
    if not _runs(pid):
        return None
    options: dict[str, Any] = {"directConnection": True, "serverSelectionTimeoutMS": 3_000}
    try:
        with MongoClient(HOST, port, **options) as client:
            told = client.admin.command("getCmdLineOpts")["parsed"]["storage"]["dbPath"]
            actual = client.admin.command("serverStatus")["pid"]
    except (PyMongoError, KeyError):
        return None
    return state if Path(told) == _files(directory) and int(actual) == pid else None


def _files(directory: Path) -> Path:
    return directory.resolve() / "db"


def _start(directory: Path) -> dict[str, Any]:
    server = Mongod(_files(directory), int(os.environ.get(PORT_VARIABLE, "0"))).start()
    assert server.pid is not None
    _started[server.pid] = server
    state = {"pid": server.pid, "port": server.port, "uri": server.uri}
    scratch = directory / "state.json.new"
    scratch.write_text(json.dumps(state) + "\n")
    scratch.replace(_state_file(directory))
    return state


def _terminate(pid: int, wait_seconds: float) -> None:
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + wait_seconds
    while _runs(pid):
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def _runs(pid: int) -> bool:
    if pid in _started:
        return _started[pid].pid is not None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True


def main(arguments: list[str] | None = None) -> int:
    """Run one of the commands; the exit status is 0 on success."""
    parser = argparse.ArgumentParser(prog="python -m demo.daemon", description=__doc__.split("\n")[0])
    parser.add_argument("command", choices=["start", "uri", "stop"])
    parser.add_argument("--directory", type=Path, default=DIRECTORY)
    chosen = parser.parse_args(arguments)
    try:
        if chosen.command == "stop":
            print("stopped" if stop_running(chosen.directory) else "no server was running", file=sys.stderr)
        else:
            print(ensure_running(chosen.directory))
    except MongodError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
