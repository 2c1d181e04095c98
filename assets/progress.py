"""How long work tells how far it is: one callable, shown as a bar in a terminal and as lines in a run's log."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Receives steps of work done; `total` is None while it is unknown. Called from any thread."""

    def __call__(self, done: int, total: int | None, unit: str) -> None: ...


def silent(done: int, total: int | None, unit: str) -> None:
    """Show nothing."""
