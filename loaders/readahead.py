"""Reads pages before they are needed, when the page cache does not hold them.

The order is known ahead, so the system can be told which rows come next. On a warm cache that advice costs a
fifth of the gather and brings nothing, so a few of the rows are looked at first (`mincore`). Where the system
does not tell the truth about them (files of another user), a thread looks at its own major faults instead:
after a fault, advice is given for the next `PATIENCE` times.

Where rows take most of the huge pages they lie in, or where all the files fit in memory and are small, whole
huge pages are read by a thread beside: that costs the processor a tenth of what single pages do. Other rows
are asked for as runs, gaps included that cost no more to read than to skip. Whoever asks this precisely wants
no guessing: mappings that were met cold are told so (`MADV_RANDOM`), because a system that reads 8 MiB around
each fault otherwise reads a hundred rows for one. (On its own, without the advice, that costs a factor of
20.) See docs/decisions/0711-cold-pages-are-asked-for-in-runs.md and 0713-huge-pages-are-read-beside.md.

And what was read is unmapped once it has been copied: where memory is short, the system takes back pages that
nobody maps several times faster. See docs/decisions/0712-copied-pages-are-unmapped.md.
"""

from __future__ import annotations

import resource
import threading
import time
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from loaders import pages
from loaders.files import Rows
from loaders.memory import available_bytes
from loaders.reader import Reader
from loaders.regions import Regions, Span, runs

PATIENCE = 4
CALM = 15  # times that nobody looks after all was in memory, unless a page was not
SAMPLES = 8  # rows that are looked at
MIN_ROW_BYTES = 4096  # smaller rows share pages; the system's own read-ahead does as well
BRIDGED_BYTES = 64 << 10  # a gap that is read, because a request of its own costs as much
WHOLE_BYTES = 2 << 30  # of files that are read whole although few of their rows come soon
PROBES = 3  # huge pages, of which the fastest tells whether that is worth it
FAST = 700e6  # bytes/s; single pages come nearly as fast, and the first rows much sooner

_Arrays: TypeAlias = "dict[int, npt.NDArray[Any]]"


class ReadAhead:
    """Has rows of one column read that come soon; safe from any thread."""

    def __init__(self, row_bytes: int) -> None:
        self._row_bytes = row_bytes
        self.possible = row_bytes >= MIN_ROW_BYTES and pages.AVAILABLE
        self._thread = threading.local()
        self._told: dict[int, bool] = {}  # whether a fault reads a huge page, by start of a map
        self._latest: tuple[_Arrays, _Arrays] = ({}, {})  # of the advice before, and of the one before that
        self._asked: tuple[set[int], set[int]] = (set(), set())  # huge pages, by the two latest advices
        self._reader = Reader()
        self._num_sparse = PATIENCE  # latest advices that were for no huge pages
        self._is_fast: bool | None = None

    def due(self) -> bool:
        """Whether it is time to look; asked once before each `absent`."""
        faulted, calm = self._faulted(), getattr(self._thread, "calm", 0)
        if calm and not faulted:
            self._thread.calm = calm - 1
            return False
        return True

    def absent(self, arrays: Mapping[int, npt.NDArray[Any]], shards: Rows | int, rows: Rows) -> Rows | None:
        """Look at a few rows of open shards.

        Returns
        -------
        Rows or None
            Addresses of those that are not in memory, none where only faults say that there are some; None
            where nothing has to be read.
        """
        if not len(rows):
            return None
        few = slice(None, None, -(-len(rows) // SAMPLES))
        _, _, found = self._located(arrays, shards if isinstance(shards, int) else shards[few], rows[few])
        middles = (found + self._row_bytes // 2).tolist()
        found = found[np.array([pages.is_absent(middle) for middle in middles], np.bool_)]
        if not len(found) and getattr(self._thread, "left", 0) == 0:
            self._thread.calm = CALM
            return None
        return found

    def advise(
        self,
        arrays: Mapping[int, npt.NDArray[Any]],
        shards: Rows | int,
        rows: Rows,
        num_due: int,
        absent: Rows,
    ) -> None:
        """Have the pages of the first `num_due` (at least 1) of these rows read.

        Parameters
        ----------
        arrays
            Open shards.
        shards, rows
            Where each row lies: those that are due, then others that come shortly before or after.
        num_due
            How many are due.
        absent
            What `absent` found.
        """
        used, maps, starts = self._located(arrays, shards, rows)
        left = starts[:num_due], starts[:num_due] + self._row_bytes
        if len(absent):
            spans, is_whole = None, False
            if pages.HAS_HUGE:
                is_whole = self.possible and self._reads_whole(used, absent)
                spans, left = self._huge(used, maps, starts, num_due, is_whole)
            self._num_sparse = self._num_sparse + 1 if spans is None else 0
            self._tell(used, is_huge=self._num_sparse < PATIENCE)
            if self.possible and not is_whole:
                self._unmap_copied(used)
            if spans:
                self._reader.read(used, spans)
        for run in runs(*left, BRIDGED_BYTES):
            pages.ask(*run)

    def _huge(
        self, used: _Arrays, maps: Rows, starts: Rows, num_due: int, is_whole: bool
    ) -> tuple[list[Span] | None, tuple[Rows, Rows]]:
        """Give huge pages that are to be read, or None where few rows lie in such, and what is due beside."""
        regions = Regions([pages.extent(array) for array in used.values()])
        places = regions.of(maps, starts), regions.of(maps, starts + self._row_bytes - 1)
        first, last = (place[:num_due] for place in places)
        due = starts[:num_due]
        is_chosen = regions.taken(first, last, due, self._row_bytes) > 0
        if not is_whole:
            taken = regions.taken(*places, starts, self._row_bytes)
            is_chosen &= 2 * taken >= regions.ends - regions.begins
        left = regions.without(is_chosen, first, last, due, due + self._row_bytes)
        if 2 * len(left[0]) > num_due:
            return None, (due, due + self._row_bytes)
        newest, newer = self._asked
        asked = set()
        for region in np.flatnonzero(is_chosen).tolist():
            begin, end = int(regions.begins[region]), int(regions.ends[region])
            asked.add(begin)
            if begin in newest or begin in newer or not pages.is_absent((begin + end) // 2):
                is_chosen[region] = False
        self._asked = asked, newest
        return regions.spans(is_chosen), left

    def _reads_whole(self, used: _Arrays, absent: Rows) -> bool:
        """Whether all of these files may be read for some of their rows."""
        num_bytes = sum(array.nbytes for array in used.values())
        if num_bytes > WHOLE_BYTES or 2 * num_bytes > available_bytes():
            return False
        if self._is_fast is None:
            self._tell(used, is_huge=True)
            seconds = []
            for address in absent[:PROBES].tolist():
                if pages.is_absent(address):  # and not in the huge page of another one
                    began = time.perf_counter()
                    pages.read(address - address % pages.PAGE, address + self._row_bytes)
                    seconds.append(time.perf_counter() - began)
            self._is_fast = FAST * min(seconds, default=0.0) < pages.HUGE  # a fault reads one
        return self._is_fast

    def _located(
        self, arrays: Mapping[int, npt.NDArray[Any]], shards: Rows | int, rows: Rows
    ) -> tuple[_Arrays, Rows, Rows]:
        """Give the shards that rows lie in, which of these holds each row, and the row's address."""
        numbers, maps = np.unique(shards, return_inverse=True)
        used = {number: arrays[number] for number in numbers.tolist()}
        bases = np.array([array.__array_interface__["data"][0] for array in used.values()], np.int64)
        maps = np.broadcast_to(maps, len(rows))
        return used, maps, bases[maps] + rows * self._row_bytes

    def _faulted(self) -> bool:
        """Whether this thread met pages that were not in memory lately."""
        faults = resource.getrusage(resource.RUSAGE_THREAD).ru_majflt
        before = getattr(self._thread, "faults", faults)
        left = PATIENCE if faults > before else max(getattr(self._thread, "left", 0) - 1, 0)
        self._thread.faults, self._thread.left = faults, left
        return left > 0

    def _tell(self, used: _Arrays, *, is_huge: bool) -> None:
        """Have the system read no more around a fault than a page."""
        for array in used.values():
            start, _ = pages.extent(array)
            if start not in self._told:
                pages.read_nothing_around(array)
            if is_huge != self._told.get(start, False):
                pages.read_huge(array, is_huge=is_huge)
            self._told[start] = is_huge

    def _unmap_copied(self, used: _Arrays) -> None:
        """Give up maps of what was asked for lately; a page that is needed again is still cached."""
        before, earlier = self._latest
        self._latest = (used, before)
        for array in (before | earlier).values():
            if not array.flags.writeable:  # a mapped file: memory would lose its content
                pages.unmap(array)
