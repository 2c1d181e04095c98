"""Which rows of a snapshot the samples of a split or subset are."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from loaders.files import Rows
from loaders.pages import AVAILABLE
from loaders.readahead import ReadAhead
from shards import DamagedFile

LARGE_INDEX = 1 << 20  # samples of an index that need not be in memory
MANY_SAMPLES = 64  # that are looked up together, which is when their pages are asked for together


class RowNumbers(Protocol):
    """The file of an index, wherever it is. Safe from any thread."""

    def __len__(self) -> int:
        """Row numbers."""

    def take(self, samples: Rows) -> npt.NDArray[Any]:
        """Give the row numbers of samples; uint32 or uint64."""

    def is_ready(self, samples: Rows) -> bool:
        """Whether those of samples are here; if not, they will be soon, unless they are too many."""


class MappedRows:
    """Row numbers of a mapped file."""

    def __init__(self, rows: npt.NDArray[Any]) -> None:
        self._rows = rows
        self._ahead = ReadAhead(rows.itemsize) if len(rows) >= LARGE_INDEX and AVAILABLE else None

    def __len__(self) -> int:
        """Row numbers."""
        return len(self._rows)

    def take(self, samples: Rows) -> npt.NDArray[Any]:
        """Give the row numbers of samples."""
        if self._ahead is not None and len(samples) >= MANY_SAMPLES and self._ahead.due():
            absent = self._ahead.absent({0: self._rows}, 0, samples)
            if absent is not None:
                self._ahead.advise({0: self._rows}, 0, samples, len(samples), absent)
        return np.take(self._rows, samples)

    def is_ready(self, samples: Rows) -> bool:
        """All are here."""
        return True


class Index:
    """Which rows of the snapshot the samples are, in order.

    Parameters
    ----------
    numbers
        Row numbers.
    ascending
        Whether each row is greater than the one before; so for splits, not for subsets.
    num_rows
        Rows of the snapshot. The index was not read as a whole when it was opened, so every use looks whether
        its rows are below it.

    Attributes
    ----------
    first
        First row where the rows follow each other without a gap, else None.
    """

    def __init__(self, numbers: RowNumbers, *, ascending: bool, num_rows: int) -> None:
        self._numbers, self._num_rows = numbers, num_rows
        size = len(numbers)
        ends = numbers.take(np.array([0, size - 1] if size else [], np.int64))
        self._check(ends[1:])
        run = ascending and size > 0 and int(ends[1]) - int(ends[0]) == size - 1
        self.first = int(ends[0]) if run else None

    def __len__(self) -> int:
        """Samples."""
        return len(self._numbers)

    def __call__(self, samples: Rows) -> Rows:
        """Give the rows of samples."""
        if self.first is not None:
            return samples + self.first if self.first else samples
        rows = self._numbers.take(samples)
        self._check(rows)
        return rows.astype(np.int64)

    def is_ready(self, samples: Rows) -> bool:
        """Whether rows of samples can be given at once; if not, they come soon, unless they are too many."""
        return self.first is not None or self._numbers.is_ready(samples)

    def _check(self, rows: npt.NDArray[Any]) -> None:
        if rows.size and int(rows.max()) >= self._num_rows:
            raise DamagedFile("the index", f"names row {rows.max()}, the last is {self._num_rows - 1}")
