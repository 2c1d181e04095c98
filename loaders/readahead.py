"""Reads pages before they are needed, when the page cache does not hold them.

The order is known ahead, so the system can be told which rows come next. On a warm cache that advice costs a
fifth of the gather and brings nothing. A thread therefore looks at its own major faults: pages that had to
come from disk. After a fault, advice is given for the next `PATIENCE` gathers; then a cold cache shows itself
by the next fault. (`madvise(MADV_RANDOM)` is never used: it cost a factor of 20.)
"""

from __future__ import annotations

import ctypes
import mmap
import resource
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from loaders.files import Rows

PATIENCE = 32
MIN_ROW_BYTES = 4096  # smaller rows share pages; the system's own read-ahead does as well
PAGE = mmap.PAGESIZE

_libc = ctypes.PyDLL(None)  # keeps the interpreter's lock: the calls are shorter than giving it away
if hasattr(_libc, "madvise"):
    _libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


class ReadAhead:
    """Decides whether rows of one column are worth asking for; each thread for itself."""

    def __init__(self, row_bytes: int) -> None:
        self._row_bytes = row_bytes
        self._possible = row_bytes >= MIN_ROW_BYTES and hasattr(_libc, "madvise")
        self._thread = threading.local()

    def wanted(self) -> bool:
        """Whether this thread met pages that were not in memory."""
        if not self._possible:
            return False
        faults = resource.getrusage(resource.RUSAGE_THREAD).ru_majflt
        before = getattr(self._thread, "faults", faults)
        left = PATIENCE if faults > before else max(getattr(self._thread, "left", 0) - 1, 0)
        self._thread.faults, self._thread.left = faults, left
        return left > 0

    def advise(self, arrays: Mapping[int, npt.NDArray[Any]], shards: Rows | int, rows: Rows) -> None:
        """Ask for the pages of `rows` of open shards; in order of address, so that the disk reads forward."""
        bases = {shard: array.__array_interface__["data"][0] for shard, array in arrays.items()}
        if isinstance(shards, int):
            addresses = bases[shards] + rows * self._row_bytes
        else:
            table = np.zeros(max(bases) + 1, np.int64)
            table[list(bases)] = list(bases.values())
            addresses = table[shards] + rows * self._row_bytes
        addresses = np.sort(addresses)
        first = addresses - addresses % PAGE
        lengths = addresses + self._row_bytes - first
        for address, length in zip(first.tolist(), lengths.tolist(), strict=True):
            _libc.madvise(address, length, mmap.MADV_WILLNEED)
