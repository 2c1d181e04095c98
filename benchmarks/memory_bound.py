"""A bound on the memory of a process, its page cache included, by what this system has for it."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

GROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Bound:
    """How a command is started within the bound, and in what words to say it."""

    prefix: list[str]
    how: str
    reclaim: tuple[Path, str] | None = None

    def empty(self) -> None:
        """Take back the page cache of what runs within, where the system can."""
        if self.reclaim is not None:
            with contextlib.suppress(OSError):  # not all of it could be taken back
                self.reclaim[0].write_text(self.reclaim[1])


@contextlib.contextmanager
def memory_bound(limit_bytes: int) -> Iterator[Bound]:
    """Give a bound that holds for all processes started with its prefix together.

    A control group where one can be made (version 2, else version 1), else a scope of systemd, else
    `ulimit -d`, which bounds what a process allocates and not the page cache.
    """
    group = _group_v2(limit_bytes) or _group_v1(limit_bytes)
    if group is not None:
        enter = f'echo $$ > {group}/cgroup.procs && exec "$@"'
        first = (group / "memory.reclaim", str(limit_bytes))
        reclaim = first if first[0].exists() else (group / "memory.force_empty", "0")
        try:
            yield Bound(["sh", "-c", enter, "sh"], "a control group", reclaim)
        finally:
            with contextlib.suppress(OSError):
                group.rmdir()
        return
    scope = ["systemd-run", "--scope", "--quiet", f"-pMemoryMax={limit_bytes}", "-pMemorySwapMax=0", "--"]
    if shutil.which("systemd-run") and not subprocess.run([*scope, "true"], capture_output=True).returncode:
        yield Bound(scope, "a scope of systemd")
        return
    enter = f'ulimit -d {limit_bytes >> 10} && exec "$@"'
    yield Bound(["sh", "-c", enter, "sh"], "ulimit -d, which leaves the page cache unbound")


def _group_v2(limit_bytes: int) -> Path | None:
    """Below the root group, which alone may have processes beside groups."""
    try:
        if "memory" not in (GROUPS / "cgroup.controllers").read_text().split():
            return None
        (GROUPS / "cgroup.subtree_control").write_text("+memory")
        return _made(GROUPS, {"memory.max": limit_bytes, "memory.swap.max": 0})
    except OSError:
        return None


def _group_v1(limit_bytes: int) -> Path | None:
    """Below this process's own group, so that its bounds go on to hold."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
        own = next((line.split(":", 2)[2] for line in lines if line.split(":")[1] == "memory"), None)
        if own is None:
            return None
        return _made(GROUPS / "memory" / own.lstrip("/"), {"memory.limit_in_bytes": limit_bytes})
    except OSError:
        return None


def _made(parent: Path, settings: dict[str, int]) -> Path:
    group = parent / f"benchmark-{os.getpid()}-{secrets.token_hex(4)}"
    group.mkdir()
    try:
        for name, value in settings.items():
            if (group / name).exists():
                (group / name).write_text(str(value))
    except OSError:
        group.rmdir()
        raise
    return group
