"""A snapshot opened by one process: its columns, its rows, its fits, its lease."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from loaders.columns import ArrowColumn, DenseColumn, open_columns
from loaders.errors import InvalidOption, UnknownName
from loaders.files import Rows
from loaders.transforms import Transforms
from shards import ShardStore, Snapshot


@dataclass(frozen=True, slots=True)
class Selection:
    """What of which snapshot is loaded; all that a pickled dataset carries.

    `version` is a number once the snapshot was resolved, so that every process reads the same one.
    """

    path: Path
    version: int | str | datetime | None
    split: str | None
    subset: str | None
    columns: tuple[str, ...] | None


class Index:
    """Which rows of the snapshot the samples are, in order.

    Parameters
    ----------
    rows
        Row numbers, mapped; uint32 or uint64.
    """

    def __init__(self, rows: npt.NDArray[Any]) -> None:
        self._rows = rows
        size = len(rows)
        run = size > 0 and int(rows[-1]) - int(rows[0]) == size - 1
        # first and last alone do not tell for a subset, which may have any order
        self.first = int(rows[0]) if run and bool((rows[1:] > rows[:-1]).all()) else None

    def __len__(self) -> int:
        """Samples."""
        return len(self._rows)

    def __call__(self, samples: Rows) -> Rows:
        """Give the rows of samples."""
        if self.first is not None:
            return samples + self.first if self.first else samples
        return np.take(self._rows, samples).astype(np.int64)


class Opened:
    """Everything that is mapped; made lazily in each process and never pickled."""

    def __init__(self, selection: Selection) -> None:
        path = selection.path
        self.store = ShardStore(path.parent)
        self.snapshot: Snapshot = self.store.snapshot(path.name, selection.version)
        self.index = Index(_rows(self.snapshot, selection))
        names = selected(self.snapshot, selection.columns)
        readers = [self.snapshot.column(name) for name in names]
        self.columns: dict[str, DenseColumn | ArrowColumn] = open_columns(readers, path.parent)
        self.fits = Transforms.from_snapshot(self.snapshot, list(names))

    def row_bytes(self) -> int:
        """Bytes of an average row, as far as it is known."""
        return sum(column.row_bytes for column in self.columns.values())


def selected(snapshot: Snapshot, columns: Sequence[str] | None) -> list[str]:
    """Give the columns to load: those asked for (or all), each followed by its mask."""
    stored = snapshot.columns
    if columns is None:
        columns = [name for name in stored if "__" not in name]
    if isinstance(columns, str):
        raise InvalidOption(f"columns={columns!r}; allowed: a list of names, such as columns=[{columns!r}]")
    names: dict[str, None] = {}
    for name in columns:
        if name not in stored:
            raise UnknownName("column", name, str(snapshot), stored)
        names[name] = None
        mask = stored[name].mask
        if mask is not None:
            names[mask] = None
    return list(names)


def _rows(snapshot: Snapshot, selection: Selection) -> npt.NDArray[Any]:
    if selection.subset is not None:
        if selection.subset not in snapshot.subsets:
            raise UnknownName("subset", selection.subset, str(snapshot), snapshot.subsets)
        parent = snapshot.subsets[selection.subset]
        if selection.split not in (None, parent):
            raise InvalidOption(
                f"subset {selection.subset!r} lies in split {parent!r}, not in {selection.split!r}"
            )
        return snapshot.subset_index(selection.subset)
    split = selection.split
    if split is None:
        if len(snapshot.splits) != 1:
            raise InvalidOption(f"split is not given; {snapshot} has: {', '.join(snapshot.splits) or 'none'}")
        split = snapshot.splits[0]
    if split not in snapshot.splits:
        raise UnknownName("split", split, str(snapshot), snapshot.splits)
    return snapshot.index(split)
