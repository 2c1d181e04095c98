"""Reads pages before they are needed, when the page cache does not hold them.

The order is known ahead, so the system can be told which rows come next. On a warm cache that advice costs a
fifth of the gather and brings nothing, so a few of the rows are looked at first (`mincore`). Where the system
does not tell the truth about them (files of another user), a thread looks at its own major faults instead:
after a fault, advice is given for the next `PATIENCE` times.

Rows that lie together are asked for as one run, gaps included that cost no more to read than to skip. Whoever
asks this precisely wants no guessing: mappings that were met cold are told so (`MADV_RANDOM`), because a
system that reads 8 MiB around each fault otherwise reads a hundred rows for one. (On its own, without the
advice, that costs a factor of 20.) See docs/decisions/0711-cold-pages-are-asked-for-in-runs.md.

And what was read is unmapped once it has been copied: where memory is short, the system takes back pages that
nobody maps several times faster. See docs/decisions/0712-copied-pages-are-unmapped.md.
"""

from __future__ import annotations

import ctypes
import mmap
import resource
import threading
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from loaders.files import Rows

PATIENCE = 4
CALM = 15  # times that nobody looks after all was in memory, unless a page was not
SAMPLES = 8  # rows that are looked at
MIN_ROW_BYTES = 4096  # smaller rows share pages; the system's own read-ahead does as well
BRIDGED_BYTES = 64 << 10  # a gap that is read, because a request of its own costs as much
SHORT_BYTES = 256 << 10  # of a call that is shorter than giving the interpreter's lock away
LONGEST_BYTES = 8 << 20
PAGE = mmap.PAGESIZE

_Arrays: TypeAlias = "dict[int, npt.NDArray[Any]]"

_holding, _releasing = ctypes.PyDLL(None), ctypes.CDLL(None)  # the interpreter's lock
AVAILABLE = hasattr(_holding, "madvise") and hasattr(_holding, "mincore")
if AVAILABLE:
    for _libc in (_holding, _releasing):
        _libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    _holding.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]


class ReadAhead:
    """Advises the system about rows of one column; safe from any thread."""

    def __init__(self, row_bytes: int) -> None:
        self._row_bytes = row_bytes
        self.possible = row_bytes >= MIN_ROW_BYTES and AVAILABLE
        self._thread = threading.local()
        self._told: set[int] = set()
        self._latest: tuple[_Arrays, _Arrays] = ({}, {})  # of the advice before, and of the one before that

    def due(self) -> bool:
        """Whether it is time to look; asked once before each `advise`."""
        faulted, calm = self._faulted(), getattr(self._thread, "calm", 0)
        if calm and not faulted:
            self._thread.calm = calm - 1
            return False
        return True

    def advise(self, arrays: Mapping[int, npt.NDArray[Any]], shards: Rows | int, rows: Rows) -> None:
        """Ask for the pages of `rows` of open shards, if they are not in memory."""
        if not len(rows):
            return
        faulted = getattr(self._thread, "left", 0) > 0
        few = slice(None, None, -(-len(rows) // SAMPLES))
        absent = self._absent(
            self._addresses(arrays, shards if isinstance(shards, int) else shards[few], rows[few])
        )
        if not absent and not faulted:
            self._thread.calm = CALM
            return
        if absent:
            used = {shard: arrays[shard] for shard in np.unique(shards).tolist()}
            for array in used.values():
                self._tell(array.__array_interface__["data"][0], array.nbytes)
            if self.possible:
                self._unmap_copied(used)
        addresses = self._addresses(arrays, shards, rows)
        for start, stop in self._runs(np.sort(addresses)):
            for part in range(start, stop, LONGEST_BYTES):
                length = min(LONGEST_BYTES, stop - part)
                library = _holding if length <= SHORT_BYTES else _releasing
                library.madvise(part, length, mmap.MADV_WILLNEED)

    def _addresses(self, arrays: Mapping[int, npt.NDArray[Any]], shards: Rows | int, rows: Rows) -> Rows:
        used, place = np.unique(shards, return_inverse=True)
        bases = np.array([arrays[shard].__array_interface__["data"][0] for shard in used.tolist()], np.int64)
        found: Rows = bases[place] + rows * self._row_bytes
        return found

    def _absent(self, addresses: Rows) -> bool:
        """Whether one of a few rows is not in memory."""
        found = ctypes.create_string_buffer(1)
        for address in addresses.tolist():
            middle = address + self._row_bytes // 2
            if not _holding.mincore(middle - middle % PAGE, PAGE, found) and not found.raw[0] & 1:
                return True
        return False

    def _faulted(self) -> bool:
        """Whether this thread met pages that were not in memory lately."""
        faults = resource.getrusage(resource.RUSAGE_THREAD).ru_majflt
        before = getattr(self._thread, "faults", faults)
        left = PATIENCE if faults > before else max(getattr(self._thread, "left", 0) - 1, 0)
        self._thread.faults, self._thread.left = faults, left
        return left > 0

    def _tell(self, base: int, num_bytes: int) -> None:
        """Have the system read no more around a fault than the page."""
        if base not in self._told:
            self._told.add(base)
            start = base - base % PAGE
            _holding.madvise(start, base + num_bytes - start, mmap.MADV_RANDOM)

    def _unmap_copied(self, used: _Arrays) -> None:
        """Give up maps of what was asked for lately; a page that is needed again is still cached."""
        before, earlier = self._latest
        self._latest = (used, before)
        for array in (before | earlier).values():
            if not array.flags.writeable:  # a mapped file: memory would lose its content
                base = array.__array_interface__["data"][0]
                start = base - base % PAGE
                _releasing.madvise(start, base + array.nbytes - start, mmap.MADV_DONTNEED)

    def _runs(self, addresses: Rows) -> list[tuple[int, int]]:
        """Pages of sorted rows as runs of memory, from a page up to an address."""
        starts = addresses - addresses % PAGE
        stops = addresses + self._row_bytes
        breaks = np.flatnonzero(starts[1:] - stops[:-1] > BRIDGED_BYTES)
        firsts = starts[np.concatenate([[0], breaks + 1])].tolist()
        lasts = stops[np.concatenate([breaks, [len(stops) - 1]])].tolist()
        return list(zip(firsts, lasts, strict=True))
