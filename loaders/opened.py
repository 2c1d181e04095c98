"""A snapshot opened by one process: its columns, its rows, its fits, its lease."""

from __future__ import annotations

import copy
import errno
import os
import warnings
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import torch

from loaders.columns import AnyColumn, open_columns
from loaders.errors import InvalidOption, UnknownName
from loaders.files import LocalPlace, Place
from loaders.index import Index, MappedRows
from loaders.index_pieces import open_rows
from loaders.pictures import Fitted
from loaders.remote import CachePlace, RemotePath
from loaders.transforms import Transforms
from shards import Column, ShardStore, Snapshot
from shards.index import IndexReader
from shards.lease import Lease


@dataclass(frozen=True, slots=True)
class Selection:
    """What of which snapshot is loaded; all that a pickled dataset carries.

    `version` is a number once the snapshot was resolved, so that every process reads the same one.
    """

    path: Path | RemotePath
    version: int | str | datetime | None
    split: str | None
    subset: str | None
    columns: tuple[str, ...] | None


class Opened:
    """Everything that is mapped; made lazily in each process and never pickled.

    Parameters
    ----------
    selection
        What is loaded.
    lease_seconds
        Life of the lease that keeps the snapshot from being collected; renewed while this object lives. None
        takes no lease: for workers of a process that has one.

    Attributes
    ----------
    part
        The split, or `split/subset`.
    """

    def __init__(self, selection: Selection, lease_seconds: float | None) -> None:
        path = selection.path
        storage = path.storage() if isinstance(path, RemotePath) else None
        self.store = ShardStore(path.parent, storage=storage)
        self.place: Place = LocalPlace(Path(path.parent)) if storage is None else CachePlace(storage)
        self.snapshot: Snapshot = self.store.snapshot(path.name, selection.version)
        self.part, rows = _part(self.snapshot, selection)
        self.index = Index(
            MappedRows(rows.rows()) if storage is None else open_rows(rows, storage, self.place),
            ascending=selection.subset is None,
            num_rows=self.snapshot.num_rows,
        )
        names = selected(self.snapshot, selection.columns)
        readers = [self.snapshot.column(name) for name in names]
        self.columns: dict[str, AnyColumn] = open_columns(readers, self.place)
        self._fits = Transforms.from_snapshot(self.snapshot, list(names))
        self._fits_by_device: dict[torch.device, Transforms] = {}
        self.lease = None if lease_seconds is None else self._take_lease(lease_seconds)

    @property
    def schema(self) -> dict[str, Column]:
        """The loaded columns as they are stored (pictures that are decoded to one size, as such), by name."""
        return {name: column.column for name, column in self.columns.items()}

    @property
    def fitted(self) -> list[str]:
        """Columns to which fits apply."""
        return self._fits.names

    def fits_on(self, dense: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Apply the fits of the snapshot to tensors of any rows, on the device where they are."""
        if not self.fitted:
            return dense
        device = next(iter(dense.values())).device if dense else torch.device("cpu")
        if device not in self._fits_by_device:
            self._fits_by_device[device] = copy.deepcopy(self._fits).to(device).requires_grad_(False)
        with torch.no_grad():
            done: dict[str, torch.Tensor] = self._fits_by_device[device](dense)
        return done

    def picture_fit(self, name: str) -> Fitted | None:
        """Give what applies the fits of a column to a picture of any shape; None where it has none."""
        if name not in self.fitted:
            return None
        return lambda picture: self.fits_on({name: picture[None]})[name][0]

    def _take_lease(self, seconds: float) -> Lease | None:
        try:
            lease = self.store.lease(self.snapshot.dataset, self.snapshot.number, seconds)
        except OSError as error:
            if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
                raise
            warnings.warn(
                f"{self.snapshot}: no lease can be written ({error}); garbage collection by others will not "
                "know that it is in use. Pass lease_seconds=None where that is intended",
                RuntimeWarning,
                stacklevel=4,
            )
            return None
        weakref.finalize(self, _release, lease, os.getpid())
        return lease

    def row_bytes(self) -> int:
        """Bytes of an average row, as far as it is known."""
        return sum(column.row_bytes for column in self.columns.values())

    def shard_rows(self) -> int:
        """Rows of the largest shard of the column that takes most bytes."""
        widest = max(self.columns.values(), key=lambda column: column.row_bytes, default=None)
        return 0 if widest is None else int(np.diff(widest.locator.offsets).max(initial=0))


def _release(lease: Lease, process: int) -> None:
    if os.getpid() == process:  # a forked child does not own what its parent holds
        lease.release()


def selected(snapshot: Snapshot, columns: Sequence[str] | None) -> list[str]:
    """Give the columns to load: those asked for (or all), each followed by its masks."""
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
        for mask in (stored[name].mask, stored[name].attributes.get("element_mask")):
            if isinstance(mask, str):
                names[mask] = None
    return list(names)


def _part(snapshot: Snapshot, selection: Selection) -> tuple[str, IndexReader]:
    """Give what is selected, by name, and the reader of its rows."""
    if selection.subset is not None:
        if selection.subset not in snapshot.subsets:
            raise UnknownName("subset", selection.subset, str(snapshot), snapshot.subsets)
        parent = snapshot.subsets[selection.subset]
        if selection.split not in (None, parent):
            raise InvalidOption(
                f"subset {selection.subset!r} lies in split {parent!r}, not in {selection.split!r}"
            )
        return f"{parent}/{selection.subset}", snapshot.subset_reader(selection.subset)
    split = selection.split
    if split is None:
        if len(snapshot.splits) != 1:
            raise InvalidOption(f"split is not given; {snapshot} has: {', '.join(snapshot.splits) or 'none'}")
        split = snapshot.splits[0]
    if split not in snapshot.splits:
        raise UnknownName("split", split, str(snapshot), snapshot.splits)
    return split, snapshot.index_reader(split)
