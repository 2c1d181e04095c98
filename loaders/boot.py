"""Which boot of the machine this is."""

from __future__ import annotations

from functools import cache
from pathlib import Path

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@cache
def mark() -> int:
    """A number of the machine's present boot; 0 where the system tells none."""
    try:
        return int(BOOT_ID.read_text()[:7], 16) or 1
    except (OSError, ValueError):
        return 0
