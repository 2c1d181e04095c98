"""A thread that reads spans of mapped files, one after another, while others copy what is there."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Sequence
from queue import SimpleQueue
from typing import Any, TypeAlias

from loaders import pages
from loaders.regions import Span

_Task: TypeAlias = "tuple[Any, Sequence[Span]]"


class Reader:
    """Reads in order; its thread begins with the first span and ends with this object.

    Notes
    -----
    Safe from any thread. A process that was forked reads with a thread of its own.
    """

    def __init__(self) -> None:
        self._tasks: dict[int, SimpleQueue[_Task | None]] = {}  # of each process

    def read(self, held: Any, spans: Sequence[Span]) -> None:
        """Read spans of what is `held` until then; returns at once."""
        tasks = self._tasks.get(os.getpid())
        if tasks is None:
            made: SimpleQueue[_Task | None] = SimpleQueue()
            tasks = self._tasks.setdefault(os.getpid(), made)
            if tasks is made:  # and not that of a thread that came first
                threading.Thread(target=_work, args=[tasks], name="shardmill-reader", daemon=True).start()
                weakref.finalize(self, tasks.put, None).atexit = False
        tasks.put((held, spans))


def _work(tasks: SimpleQueue[_Task | None]) -> None:
    while (task := tasks.get()) is not None:
        for span in task[1]:
            pages.read(*span)
        del task  # what it holds must not stay mapped until the next
