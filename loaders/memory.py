"""How much memory a process may still use, its page cache included."""

from __future__ import annotations

import contextlib
from pathlib import Path

_GROUPS = Path("/sys/fs/cgroup")
_ENDLESS = 1 << 62


def available_bytes(groups: Path = _GROUPS, own: Path = Path("/proc/self/cgroup")) -> int:
    """Give what the system, and every control group around this process, has left or can take back.

    0 where the system does not say. Control groups of version 2 and 1; see
    https://docs.kernel.org/admin-guide/cgroup-v2.html#memory.
    """
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        system = next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return 0
    return min([system, *_left_in_groups(groups, own)])


def _left_in_groups(groups: Path, own: Path) -> list[int]:
    found = []
    with contextlib.suppress(OSError):
        for line in own.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:
                found += _left(groups, path, "memory.max", "memory.current")
            elif "memory" in controllers.split(","):
                names = "memory.limit_in_bytes", "memory.usage_in_bytes"
                found += _left(groups / "memory", path, *names)
    return found


def _left(root: Path, path: str, limit_name: str, used_name: str) -> list[int]:
    """Give what each group from one up to the root has left; without those that have no limit."""
    found = []
    group = root / path.lstrip("/")
    while group.is_relative_to(root):
        with contextlib.suppress(OSError, ValueError):  # the root has none, and "max" is no number
            limit = int((group / limit_name).read_text())
            if limit < _ENDLESS:
                used = int((group / used_name).read_text())
                statistics = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
                cached = sum(int(statistics.get(name, 0)) for name in ("inactive_file", "active_file"))
                found.append(limit - used + cached)
        group = group.parent
    return found
