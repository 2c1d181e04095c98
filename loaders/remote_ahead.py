"""Fetches shards in the order in which a loader will need them, as far ahead as the cache allows."""

from __future__ import annotations

import threading
from collections.abc import Iterable

import numpy as np

from loaders.columns import AnyColumn
from loaders.files import Rows
from loaders.index import Index
from loaders.order import Order

STEP_BYTES = 32 << 20  # of rows that are looked at once
MIN_STEP, MAX_STEP = 256, 65_536  # in rows


class Lookahead:
    """Walks an order ahead of its reader.

    Parameters
    ----------
    order, index
        From positions to samples, and from samples to rows.
    columns
        What is read.
    bytes_ahead
        Bytes of shards that may be fetched before the reader is there; less than the cache holds, or what was
        fetched first is evicted before it is read.

    Notes
    -----
    Safe from any thread. Looks at positions of all ranks, which share blocks.
    """

    def __init__(self, order: Order, index: Index, columns: Iterable[AnyColumn], bytes_ahead: int) -> None:
        self._order, self._index, self._bytes_ahead = order, index, bytes_ahead
        self._columns = list(columns)
        self._lock = threading.Lock()
        self._epoch = -1
        self._cursor = 0
        self._asked: dict[tuple[int, int], tuple[int, int]] = {}  # (column, shard) -> (position, bytes)

    def look(self, epoch: int, position: int) -> None:
        """Ask for what comes after `position`; returns at once."""
        if not self._lock.acquire(blocking=False):
            return  # another thread is at it
        try:
            if epoch != self._epoch or position > self._cursor:
                self._epoch, self._cursor, self._asked = epoch, position, {}
            self._asked = {key: found for key, found in self._asked.items() if found[0] >= position}
            ahead = sum(size for _, size in self._asked.values())
            row_bytes = max(sum(column.row_bytes for column in self._columns), 1)
            step = int(np.clip(STEP_BYTES // row_bytes, MIN_STEP, MAX_STEP))
            while ahead < self._bytes_ahead and self._cursor < self._order.num_positions:
                stop = min(self._cursor + step, self._order.num_positions)
                samples = self._order.at(epoch, np.arange(self._cursor, stop))
                if not self._index.is_ready(samples):
                    break  # whoever looks next goes on from here
                ahead += self._ask(self._index(samples), stop)
                self._cursor = stop
        finally:
            self._lock.release()

    def _ask(self, rows: Rows, stop: int) -> int:
        """Fetch the shards of rows in the order of their first use; bytes of those not asked for before."""
        new = 0
        for number, column in enumerate(self._columns):
            shards, first = np.unique(np.asarray(column.locator.locate(rows)[0]), return_index=True)
            for shard in shards[np.argsort(first)].tolist():
                asked = self._asked.get((number, shard))
                size = column.want(shard) if asked is None else asked[1]
                new += size if asked is None else 0
                self._asked[number, shard] = (stop, size)
        return new
