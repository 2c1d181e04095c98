"""Which shard a row lies in, and whether the file of a shard is still the one that was mapped."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from loaders.errors import ShardChanged
from loaders.guard import Guard
from shards import ColumnReader

Rows: TypeAlias = npt.NDArray[np.int64]

CHECKS = 8  # files looked at before and after each gather; all in turn where there are more
CHECKS_A_MAP = 2  # more for each map made since, where files are evicted: maps go as fast as they come
FRESH_SECONDS = 1e-3  # a look that is no older counts as one before a gather


class Locator:
    """Turns row numbers of a column into shards and rows within them."""

    def __init__(self, shard_offsets: Rows) -> None:
        self.offsets = shard_offsets
        sizes = np.diff(shard_offsets)
        self.num_shards = len(sizes)
        regular = self.num_shards > 1 and bool((sizes[:-1] == sizes[0]).all()) and sizes[-1] <= sizes[0]
        self._size = int(sizes[0]) if regular and sizes[0] else 0

    def locate(self, rows: Rows) -> tuple[Rows | int, Rows]:
        """Give the shard of every row (one number when it is the same for all) and the row within it."""
        if self.num_shards == 1:
            return 0, rows
        if self._size:
            shards = rows // self._size
            return shards, rows - shards * self._size
        shards = np.searchsorted(self.offsets, rows, side="right") - 1
        return shards, rows - self.offsets[shards]

    def run(self, start: int, stop: int) -> tuple[int, int] | None:
        """Give the one shard that holds rows `start` to `stop` and the first row within it, or None."""
        shard = int(np.searchsorted(self.offsets, start, side="right")) - 1
        if stop > self.offsets[shard + 1]:
            return None
        return shard, start - int(self.offsets[shard])

    def stop(self, row: int) -> int:
        """Give the first row after the shard that holds `row`."""
        return int(self.offsets[np.searchsorted(self.offsets, row, side="right")])


class Place(Protocol):
    """Where the files that are mapped lie on this machine."""

    evicts: bool
    """Whether files are taken away to make room, so that their maps must be given up."""

    bytes_ahead: int
    """Bytes of shards that a loader may fetch before it needs them."""

    def file(self, reader: ColumnReader, shard: int) -> str:
        """Path of a shard's file on this machine."""

    def want(self, reader: ColumnReader, shards: Iterable[int]) -> None:
        """Begin to fetch shards that will be mapped soon; returns at once."""

    def touch(self, reader: ColumnReader, shards: Iterable[int]) -> None:
        """Say that shards are in use."""


class LocalPlace:
    """The directory of the store itself; nothing has to be fetched."""

    evicts = False
    bytes_ahead = 0

    def __init__(self, root: Path) -> None:
        self._root = root

    def file(self, reader: ColumnReader, shard: int) -> str:
        """Path of a shard's file."""
        return str(self._root / reader.path(shard))

    def want(self, reader: ColumnReader, shards: Iterable[int]) -> None:
        """All is here."""

    def touch(self, reader: ColumnReader, shards: Iterable[int]) -> None:
        """Nothing goes away."""


class FileWatch:
    """Remembers what the mapped files of a column were, and looks at them again.

    A file of the store never changes. One that was written to would give wrong numbers, which one `stat` a
    file shows before and after each copy. One that was cut short would end the
    process (SIGBUS) when a row beyond its end is touched; `copying` makes an exception of that. An unlinked
    file is no failure: its mapping stays whole. Where files are evicted, the mapping is given up, because the
    disk has no room for it.

    Parameters
    ----------
    release
        Called with the shards whose files were evicted; calls `forget`.
    """

    def __init__(self, place: Place, reader: ColumnReader, release: Callable[[list[int]], None]) -> None:
        self._place, self._reader, self._release = place, reader, release
        self._seen: list[tuple[int, str, tuple[int, int, int]]] = []
        self._next = 0
        self._num_checks = CHECKS
        self._looked = 0.0
        if place.evicts:
            with _watches_lock:
                _watches.add(self)

    def add(self, shard: int) -> None:
        """Remember the file of a shard that was just mapped."""
        path = self._place.file(self._reader, shard)
        if self._place.evicts:
            self._num_checks += CHECKS_A_MAP
        try:
            self._seen.append((shard, path, _identity(os.stat(path))))  # noqa: PTH116 - on the hot path below
        except FileNotFoundError:
            if not self._place.evicts:
                raise
            self._seen.append((shard, path, (0, 0, 0)))  # evicted already: given up at the next look

    @contextmanager
    def copying(self) -> Iterator[None]:
        """Context in which rows are copied from the mapped files.

        Raises
        ------
        ShardChanged
            A page could not be read, whatever else went wrong because of that.
        """
        guard, failed = Guard(), True
        try:
            with guard:
                yield
            failed = False
        finally:
            if failed or guard.num_lost:  # what a changed file made of the copy is explained by the file
                self._look(self._seen)
            if guard.num_lost:
                raise ShardChanged(
                    f"column {self._reader.column.name}: {guard.num_lost} pages of its mapped files could "
                    "not be read: a file was cut short for a moment, or its disk fails. Look at the system's "
                    "log, then open the dataset again"
                )

    def before(self) -> None:
        """Look at the next few files unless that was done just now; for copies that follow stored offsets.

        Raises
        ------
        ShardChanged
            One is not the file that was mapped.
        """
        if time.monotonic() - self._looked > FRESH_SECONDS:
            self.check()

    def check(self) -> None:
        """Look at the next few files; after each copy.

        Raises
        ------
        ShardChanged
            One is not the file that was mapped.
        """
        first, last = self._next, self._next + self._num_checks
        self._num_checks = CHECKS
        self._next = last if last < len(self._seen) else 0
        self._look(self._seen[first:last])
        self._looked = time.monotonic()

    def check_all(self) -> None:
        """Look at all files; raises as `check`."""
        self._look(self._seen)

    def _look(self, seen: Iterable[tuple[int, str, tuple[int, int, int]]]) -> None:
        evicted: list[int] = []
        for shard, path, identity in seen:
            try:
                now = _identity(os.stat(path))  # noqa: PTH116
            except FileNotFoundError:
                if self._place.evicts:
                    evicted.append(shard)
                continue
            if self._place.evicts and now[2] != identity[2]:  # evicted and fetched again by somebody
                evicted.append(shard)
            elif now != identity:
                raise ShardChanged(
                    f"{path} (shard {shard} of column {self._reader.column.name}): {_change(identity, now)} "
                    "while this process had it mapped; files of a store never change. Find out who writes "
                    "there, then open the dataset again (`python -m shards verify` tells whether it is whole)"
                )
        if evicted:
            self._release(evicted)

    def forget(self, shards: Iterable[int]) -> None:
        """Look at shards no more."""
        gone = set(shards)
        self._seen = [entry for entry in self._seen if entry[0] not in gone]


_watches: weakref.WeakSet[FileWatch] = weakref.WeakSet()  # of files that may be evicted
_watches_lock = threading.Lock()


def give_up_evicted() -> None:
    """Have every column of this process give up its maps of evicted files, whose room is free then."""
    with _watches_lock:
        watches = list(_watches)
    for watch in watches:
        watch.check_all()


def _identity(status: Any) -> tuple[int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ino


def _change(before: tuple[int, int, int], now: tuple[int, int, int]) -> str:
    if now[2] != before[2]:
        return "was replaced by another file"
    if now[0] != before[0]:
        return f"changed its size from {before[0]} to {now[0]} bytes"
    return "was written to"
