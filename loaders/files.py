"""Which shard a row lies in, and whether the file of a shard is still the one that was mapped."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from loaders.errors import ShardChanged
from shards import ColumnReader

Rows: TypeAlias = npt.NDArray[np.int64]

CHECKS = 8  # files looked at before each gather; all of them in turn where there are more


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


class FileWatch:
    """Remembers what the mapped files of a column were, and looks at them again.

    A file of the store never changes. One that was truncated would end the process (SIGBUS) when a row
    beyond its end is touched, and one that was written to would give wrong numbers; both are noticed here,
    before the next gather, by one `stat` a file. What happens between the look and the copy is not noticed.
    An unlinked file is no failure: its mapping stays whole.
    """

    def __init__(self, root: Path, reader: ColumnReader) -> None:
        self._root, self._reader = root, reader
        self._seen: list[tuple[int, str, tuple[int, int, int]]] = []
        self._next = 0

    def add(self, shard: int) -> None:
        """Remember the file of a shard that was just mapped."""
        path = str(self._root / self._reader.path(shard))
        self._seen.append((shard, path, _identity(os.stat(path))))  # noqa: PTH116 - on the hot path below

    def check(self) -> None:
        """Look at the next few files.

        Raises
        ------
        ShardChanged
            One is not the file that was mapped.
        """
        seen = self._seen
        first = self._next
        self._next = first + CHECKS if first + CHECKS < len(seen) else 0
        for shard, path, identity in seen[first : first + CHECKS]:
            try:
                now = _identity(os.stat(path))  # noqa: PTH116
            except FileNotFoundError:
                continue
            if now != identity:
                raise ShardChanged(
                    f"{path} (shard {shard} of column {self._reader.column.name}): {_change(identity, now)} "
                    "while this process had it mapped; files of a store never change. Find out who writes "
                    "there, then open the dataset again (`python -m shards verify` tells whether it is whole)"
                )


def _identity(status: Any) -> tuple[int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ino


def _change(before: tuple[int, int, int], now: tuple[int, int, int]) -> str:
    if now[2] != before[2]:
        return "was replaced by another file"
    if now[0] != before[0]:
        return f"changed its size from {before[0]} to {now[0]} bytes"
    return "was written to"
