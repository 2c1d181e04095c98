"""Real `kill -9`: at every storage operation (in the suite) or at every system call (`make crash`).

A forked child commits, snapshots and collects over a copy of a small store; it is killed; what it left is
verified in full, compared with what it had been told, and written over.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from shards import ShardStore
from shards.storage import LocalStorage
from tests.crash.shards.commits import ASSET, DATASET, commit, main, snapshot, wrong_rows

NUM_BEFORE = 4


def template(root: Path) -> None:
    """Versions and a snapshot that stand before."""
    store = ShardStore(root)
    for seed in range(NUM_BEFORE):
        commit(store, seed)
    snapshot(store)


def wrong(root: Path, ledger: Path) -> list[str]:
    """Say what is wrong with what a killed process left."""
    store = ShardStore(root, verify="full")
    found = [f"{damage}" for damage in store.verify(full=True).damages]
    standing = {}
    for number in store.versions(DATASET, ASSET):
        standing[number] = store.version(DATASET, ASSET, "all", number).statistics["seed"]
        problem = wrong_rows(store, number)
        if problem is not None:
            found.append(problem)
    for line in ledger.read_text().splitlines() if ledger.exists() else []:
        word, *values = line.split()
        if word == "version" and standing.get(int(values[0])) != int(values[1]):
            found.append(f"told {line}, standing {standing}")
        if word == "snapshot" and store.snapshot(DATASET, int(values[0])).num_rows != 1000:
            found.append(f"told {line}, it has other rows")
    number = commit(store, 77)
    store.gc(DATASET, keep=1, grace_seconds=0.0, dry_run=False)
    if store.versions(DATASET, ASSET)[-1] != number or wrong_rows(store, number) is not None:
        found.append("the next commit is not the latest version")
    return found


def child(root: Path, ledger: Path, before: Callable[[], Any] | None = None) -> int:
    """Fork a process that commits, snapshots and collects; its number."""
    process = os.fork()
    if process == 0:
        try:
            if before is not None:
                before()
            main(str(root), 55, str(ledger))
            os._exit(0)
        except BaseException as error:
            os.write(2, f"{error!r}\n".encode())
            os._exit(1)
    return process


class Workplace:
    """A template and fresh copies of it."""

    def __init__(self, directory: Path) -> None:
        self._template = directory / "template"
        self.root = directory / "root"
        self.ledger = directory / "ledger"
        template(self._template)

    def fresh(self) -> None:
        """Copy the template over what is left of the last run."""
        shutil.rmtree(self.root, ignore_errors=True)
        shutil.copytree(self._template, self.root, copy_function=os.link)
        self.ledger.unlink(missing_ok=True)


def kill_at_operation(place: Workplace, position: int) -> bool:
    """Kill a child before storage operation `position`; False when it has fewer."""
    place.fresh()

    def arm() -> None:
        count = 0
        for name in OPERATIONS:
            original = getattr(LocalStorage, name)

            def counted(*given: Any, original: Any = original) -> Any:
                nonlocal count
                if count == position:
                    os.kill(os.getpid(), signal.SIGKILL)
                count += 1
                return original(*given)

            setattr(LocalStorage, name, counted)

    _, status = os.waitpid(child(place.root, place.ledger, arm), 0)
    if os.WIFEXITED(status):
        assert os.WEXITSTATUS(status) == 0
        return False
    return True


OPERATIONS = (
    "create", "make_directory", "sync_directory", "link", "replace", "remove", "remove_directory", "names",
    "sizes", "age_seconds", "read", "map", "pieces",
)  # fmt: skip


def traced(place: Workplace, *options: str) -> int:
    """Run a child under strace; its wait status."""
    place.fresh()
    process = child(place.root, place.ledger, lambda: os.kill(os.getpid(), signal.SIGSTOP))
    os.waitpid(process, os.WUNTRACED)
    strace = subprocess.Popen(
        ["strace", "-f", "-p", str(process), *options], stderr=subprocess.PIPE, text=True
    )
    assert strace.stderr is not None
    line = strace.stderr.readline()
    if "attached" not in line:
        os.kill(process, signal.SIGKILL)
        raise RuntimeError(f"strace: {line}{strace.stderr.read()}")
    os.kill(process, signal.SIGCONT)
    _, status = os.waitpid(process, 0)
    strace.wait()
    strace.stderr.close()
    return status


def system_calls(place: Workplace) -> Counter[str]:
    """How often a whole run makes each system call."""
    log = place.root.with_name("trace")
    assert traced(place, "-o", str(log)) == 0
    names = re.findall(r"^\d+ +(?:<\.\.\. )?([a-z_0-9]+)(?:\(| resumed)", log.read_text(), re.MULTILINE)
    return Counter(name for name in names if name not in ("exit", "exit_group"))


def every_system_call() -> int:
    """Kill a commit at every system call that it makes; the exit code of `make crash`."""
    if shutil.which("strace") is None:
        print("strace is not installed: apt-get install strace")
        return 2
    began, num_killed, failures = time.monotonic(), 0, []
    with tempfile.TemporaryDirectory(prefix="crash-") as directory:
        place = Workplace(Path(directory))
        calls = system_calls(place)
        total = calls.total()
        print(f"a commit, a snapshot and a collection make {total} system calls of {len(calls)} kinds")
        for name, count in sorted(calls.items()):
            for position in range(1, count + 1):
                status = traced(
                    place,
                    "-o",
                    "/dev/null",
                    "-e",
                    f"trace={name}",
                    "-e",
                    f"inject={name}:signal=KILL:when={position}",
                )
                if not os.WIFSIGNALED(status):
                    break  # a run makes a few calls more or less
                num_killed += 1
                failures += [f"{name} {position}: {problem}" for problem in wrong(place.root, place.ledger)]
                print(f"\r{num_killed} of about {total} killed, {len(failures)} wrong", end="", flush=True)
    seconds = time.monotonic() - began
    print(f"\nkilled at {num_killed} system calls in {seconds:.0f} s: {len(failures)} violations")
    print("\n".join(failures[:20]))
    return 1 if failures or not num_killed else 0
