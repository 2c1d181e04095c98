"""A split of a snapshot as a map-style dataset."""

from __future__ import annotations

import copy
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch.utils.data import Dataset, get_worker_info

from loaders import board, display, export
from loaders.cells import Cells
from loaders.columns import AnyColumn, DenseColumn
from loaders.errors import InvalidOption
from loaders.feed import DatasetFeed, Group
from loaders.files import Rows
from loaders.forms import Batch, Forms, deliver_one, finished
from loaders.opened import Opened, Selection
from loaders.order import SequentialOrder
from loaders.pool import Pool
from loaders.remote import RemotePath
from loaders.samples import Sample, Samples, sample_number, sample_numbers
from shards import Column
from shards.remote import is_url

if TYPE_CHECKING:
    from loaders.loader import ShardLoader

LEASE_SECONDS = 600.0
ROWS = "values whose first dimension is the sample"  # what a transform has to give


class ShardDataset(Dataset[Sample]):
    """Samples of one split or subset of a snapshot.

    Parameters
    ----------
    path
        Directory of the dataset: `<root>/<dataset>`; or its address on an object store,
        `s3://bucket/prefix/<dataset>`, which needs `cache`.
    split
        Which split; may be left out when there is only one.
    columns
        Which columns, in this order; all by default. The mask of a column follows it, as `<name>__present`.
    subset
        A named subset in place of a whole split.
    version
        Snapshot: None for the latest, a number, a tag, or a moment. It is resolved here, once: every worker
        and every copy of this object reads the same one.
    transform
        Called with every batch after the fits, returns a batch: a dict of tensors whose first dimension is
        the sample. Single samples go through it as a batch of one. Must pickle when workers are spawned.
    fits
        Apply the transforms that the snapshot holds (standardize, one-hot, ...). Without, and for columns
        that declare none, values come as they are stored: images as uint8 in the stored layout.
    read_only
        Give views of the mapped files where rows lie together. They must not be written to: that ends the
        process. Without, every tensor is the caller's own.
    ragged, records, images
        Forms of lists, dicts and pictures of many shapes in batches, see `loaders.forms.Forms`.
    lease_seconds
        Life of the lease that keeps the snapshot from garbage collection; renewed while this object lives.
        None takes none.
    cache
        Directory on a fast local disk through which shards of an object store are read: fetched when they
        are needed or, by a loader, ahead of its order; verified, mapped, and shared by this user's processes
        on the host; other users may only read what it holds. Not used for a directory.
    cache_bytes
        Bound of the cache, least recently used files go first; by default 0.9 of what is free. Choose more
        than the shards that are in use at once: with `shuffle="block"` a few, with a full shuffle all.

    Raises
    ------
    shards.NotFound
        There is no such dataset or version.
    UnknownName
        There is no such split, subset or column.

    Notes
    -----
    Safe to share between threads. Pickles as a few hundred bytes and maps files again where it arrives, at
    the first use; so it does after spawn and forkserver, while a forked child keeps its parent's mappings.
    No Python object is kept per sample.

    Examples
    --------
    >>> train = ShardDataset("data/shards/digits", split="train", columns=["image", "label"])
    >>> for batch in train.loader(batch_size=256, shuffle=True, seed=0):
    ...     loss = step(batch["image"], batch["label"])
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        split: str | None = None,
        *,
        columns: Sequence[str] | None = None,
        subset: str | None = None,
        version: int | str | datetime | None = None,
        transform: Callable[[Batch], Batch] | None = None,
        fits: bool = True,
        read_only: bool = False,
        ragged: Literal["padded", "nested", "flat"] = "padded",
        records: Literal["dict", "columns", "arrow"] = "dict",
        images: Literal["list", "padded"] = "list",
        lease_seconds: float | None = LEASE_SECONDS,
        cache: str | os.PathLike[str] | None = None,
        cache_bytes: int | None = None,
    ) -> None:
        chosen = None if columns is None else (columns if isinstance(columns, str) else tuple(columns))
        where: Path | RemotePath = (
            RemotePath.of(str(path), cache, cache_bytes) if is_url(path) else Path(path).absolute()
        )
        selection = Selection(where, version, split, subset, chosen)  # type: ignore[arg-type]
        self.forms = Forms(ragged, records, images)
        self.transform, self.fits, self.read_only = transform, fits, read_only
        self.lease_seconds = lease_seconds
        self._opened: Opened | None = Opened(selection, lease_seconds)
        number = self._opened.snapshot.number
        self.selection = Selection(selection.path, number, split, subset, selection.columns)
        self._pool = Pool()
        self._board: board.Board | None = None

    @property
    def opened(self) -> Opened:
        """The mapped snapshot of this process; opened again after the dataset was pickled."""
        if self._opened is None:
            in_worker = get_worker_info() is not None  # whoever made the worker holds the lease
            self._opened = Opened(self.selection, None if in_worker else self.lease_seconds)
        return self._opened

    def __len__(self) -> int:
        """Samples."""
        return len(self.opened.index)

    @property
    def version(self) -> int:
        """Number of the snapshot."""
        return self.opened.snapshot.number

    @property
    def schema(self) -> dict[str, Column]:
        """The loaded columns as they are stored, by name."""
        return self.opened.schema

    @property
    def statistics(self) -> Mapping[str, Any]:
        """Statistics of the loaded columns over the train split, as the snapshot holds them."""
        found = self.opened.snapshot.statistics
        return {name: found[name] for name in self.opened.columns if name in found}

    @property
    def splits(self) -> list[str]:
        """Names of all splits of the snapshot."""
        return self.opened.snapshot.splits

    def vocabulary(self, column: str) -> list[Any]:
        """Give the values of a category column in order of their codes."""
        values: list[Any] = self.opened.snapshot.vocabulary(column).to_pylist()
        return values

    def __getitem__(self, position: int | slice) -> Any:
        """Give one sample, or the batch of a slice."""
        if isinstance(position, slice):
            return self.batch(np.arange(*position.indices(len(self)), dtype=np.int64))
        return self._sample(sample_number(position, len(self)))

    def __getitems__(self, positions: Sequence[int] | npt.NDArray[Any]) -> Samples:
        """Give samples that are gathered together; torch's DataLoader calls this with a whole batch."""
        samples = sample_numbers(positions, len(self))
        if self.transform is not None:  # of one sample, or of a batch: neither is part of the other
            return Samples(
                len(samples), lambda number: self._sample(int(samples[number])), lambda: self.batch(samples)
            )
        gathered = functools.cache(lambda: self._gathered(samples))
        return Samples(
            len(samples),
            lambda number: self._part(gathered()[1], number),
            lambda: self._finished(*gathered()),
        )

    def batch(self, samples: npt.ArrayLike) -> Batch:
        """Gather samples by number, in the given order, repeats allowed; fits and transform applied.

        Parameters
        ----------
        samples
            Integers in 0..len-1, or a mask of as many booleans as there are samples.

        Raises
        ------
        InvalidOption
            They are neither.
        IndexError
            There is no such sample.
        """
        return self._finished(*self._gathered(sample_numbers(samples, len(self))))

    def _gathered(self, wanted: Rows) -> tuple[DatasetFeed, Group]:
        """Gather samples and apply fits."""
        order = SequentialOrder(len(self))
        feed = DatasetFeed(
            self.opened, order, self.forms, self._pool, read_only=self.read_only, fits=self.fits
        )
        rows = feed.resolve(0, wanted)
        self._post(rows)
        if feed.advises():
            feed.advise(rows, lambda: rows[:0])
        group = feed.group(rows, [len(wanted)])
        return feed, Group(feed.fits(group.dense), group.cells, group.ends)

    def _finished(self, feed: DatasetFeed, group: Group) -> Batch:
        batch = finished(feed.batches(group)[0])
        return batch if self.transform is None else self.transform(batch)

    def _part(self, group: Group, number: int) -> Sample:
        """Give one of the samples that were gathered; it holds no memory of the others."""
        sample = Sample()
        for name, column in self.opened.columns.items():
            if name in group.dense:
                row = group.dense[name][number]
                sample[name] = row if self.read_only else row.clone()
            else:
                value = self._one(name, column, group.cells[name].slice(number, number + 1))
                sample[name] = value.clone() if isinstance(value, torch.Tensor) else value
        return sample

    def _sample(self, number: int) -> Sample:
        samples = np.array([number], np.int64)
        if self.transform is not None:
            return Sample(_alone(self.batch(samples)))
        rows = self.opened.index(samples)
        self._post(rows)
        dense: dict[str, torch.Tensor] = {}
        sample = Sample()
        for name, column in self.opened.columns.items():
            if isinstance(column, DenseColumn):
                view = column.view(int(rows[0]), int(rows[0]) + 1) if self.read_only else None
                dense[name] = column.gather(rows, self._pool) if view is None else view
                sample[name] = None  # keeps the order of the columns
            else:
                sample[name] = self._one(name, column, column.gather(rows))
        if self.fits:
            dense = self.opened.fits_on(dense)
        sample.update({name: value[0] for name, value in dense.items()})
        return sample

    def _one(self, name: str, column: AnyColumn, found: Cells) -> Any:
        """Give the value of a row of a column that has no one shape."""
        fit = self.opened.picture_fit(name) if self.fits else None
        with column.watch.copying():
            return deliver_one(column.column, found, fit)

    def _post(self, rows: Rows) -> None:
        if self._board is not None:
            self._board.post(rows)

    def loader(self, batch_size: int, **options: Any) -> ShardLoader:
        """Make a `ShardLoader` of this dataset; for the options see there."""
        from loaders.loader import ShardLoader

        return ShardLoader(self, batch_size, **options)

    def dataloader(self, batch_size: int = 1, **options: Any) -> torch.utils.data.DataLoader[Any]:
        """Make a stock `DataLoader` that says which shard a worker read when it was killed.

        Takes every option of `torch.utils.data.DataLoader`.
        """
        return board.ReportingDataLoader(self, batch_size=batch_size, **options)

    def as_stored(self) -> ShardDataset:
        """Give a copy that applies neither fits nor `transform`."""
        other = copy.copy(self)
        other.fits, other.transform = False, None
        return other

    def with_board(self, reads: board.Board) -> ShardDataset:
        """Give a copy that writes down on `reads` what worker processes read."""
        other = copy.copy(self)
        other._board = reads
        return other

    def to_arrow(self, samples: npt.ArrayLike | None = None) -> pa.Table:
        """Give samples (all by default) as an Arrow table: stored values, no fits."""
        return export.to_arrow(self, samples)

    def to_numpy(self, samples: npt.ArrayLike | None = None) -> dict[str, npt.NDArray[Any]]:
        """Give samples (all by default) as arrays by column: stored values, no fits; objects where ragged."""
        return export.to_numpy(self, samples)

    def sample(self, num_samples: int = 1, seed: int = 0) -> list[Sample]:
        """Draw samples without repeats; the same ones for the same seed."""
        return export.sample(self, num_samples, seed)

    def plot(self, num_samples: int = 16, seed: int = 0) -> Any:
        """Draw pictures with their labels, or histograms of the numbers where there is no picture.

        Returns
        -------
        matplotlib.figure.Figure
            Needs matplotlib.
        """
        return display.plot(self, num_samples, seed)

    def __repr__(self) -> str:
        """What is loaded, from where, and one line a column."""
        return display.text(self)

    def _repr_html_(self) -> str:
        return display.html(self)

    def __copy__(self) -> ShardDataset:
        """Share what is mapped, and the lease on it."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        return other

    def __getstate__(self) -> dict[str, Any]:
        """Everything but what is mapped."""
        return self.__dict__ | {"_opened": None}


def _alone(batch: Batch) -> Batch:
    """Give the only sample of a batch; values that lie end to end are all its own."""
    if not isinstance(batch, dict):
        raise InvalidOption(f"transform gave a {type(batch).__name__}; allowed: a dict of {ROWS}")
    flat = {name for name in batch if f"{name}__offsets" in batch}
    offsets = {f"{name}__offsets" for name in flat}
    return {
        name: value if name in flat else _first(name, value)
        for name, value in batch.items()
        if name not in offsets
    }


def _first(name: str, value: Any) -> Any:
    """Give the first row of a member of a batch."""
    if isinstance(value, dict):
        return {key: _first(f"{name}.{key}", member) for key, member in value.items()}
    try:
        return value[0]
    except (TypeError, IndexError) as error:
        raise InvalidOption(
            f"transform gave {name!r}, a {type(value).__name__} that has no first row; allowed: {ROWS}"
        ) from error
