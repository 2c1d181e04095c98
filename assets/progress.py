"""How long work tells how far it is: one callable, a bar in a terminal or lines in a log."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol


class Progress(Protocol):
    """Receives steps of work done; `total` is None while it is unknown. Called from any thread."""

    def __call__(self, done: int, total: int | None, unit: str) -> None: ...


def silent(done: int, total: int | None, unit: str) -> None:
    """Show nothing."""


class LogProgress:
    """Progress as lines of a log, at most one every few seconds, with rate and remaining time.

    Parameters
    ----------
    write
        Takes one line; a logger's `info`.
    label
        What is being made, at the head of every line.
    every_seconds
        Least time between two lines.

    Notes
    -----
    May be called from any thread. Work shorter than `every_seconds` leaves no line.
    """

    def __init__(self, write: Callable[[str], object], label: str, every_seconds: float = 5.0) -> None:
        self._write, self._label, self._every_seconds = write, label, every_seconds
        self._lock = threading.Lock()
        self._started = self._written = time.monotonic()

    def __call__(self, done: int, total: int | None, unit: str) -> None:
        """Write a line when it is time for one; `done` is the number of units finished so far."""
        now = time.monotonic()
        with self._lock:
            if now - self._written < self._every_seconds:
                return
            self._written = now
        rate = done / (now - self._started)
        line = f"{self._label}: {done:,} {unit}, {rate:,.0f} {unit}/s"
        if total:
            remaining_seconds = (total - done) / rate if rate else 0.0
            line = f"{line}, {done / total:.0%} of {total:,}, {remaining_seconds:.0f} s remaining"
        self._write(line)
