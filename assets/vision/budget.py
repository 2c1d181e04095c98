"""A bound on how much may be under way at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Budget:
    """Amounts that threads hold together never exceed `limit`; more than the limit may be held alone.

    Thread-safe. Waiting threads are served as room appears, in no particular order.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.peak = 0
        self._held = 0
        self._changed = threading.Condition()

    @contextmanager
    def held(self, amount: int) -> Iterator[None]:
        """Wait until `amount` fits, hold it inside the block."""
        self.take(amount)
        try:
            yield
        finally:
            self.give_back(amount)

    def take(self, amount: int) -> None:
        """Wait until `amount` fits and hold it until `give_back`."""
        with self._changed:
            self._changed.wait_for(lambda: self._held == 0 or self._held + amount <= self.limit)
            self._held += amount
            self.peak = max(self.peak, self._held)

    def give_back(self, amount: int) -> None:
        """End holding `amount`."""
        with self._changed:
            self._held -= amount
            self._changed.notify_all()
