"""One column over all shards: rows by number into a tensor or into cells, runs of rows as views."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from loaders import nodes
from loaders.cells import Cells
from loaders.files import FileWatch, Locator, Place, Rows
from loaders.pool import Pool
from loaders.readahead import ReadAhead
from loaders.span import Buffer, Span, alias, span
from shards import ColumnReader

TOUCH_SECONDS = 1.0  # between two notes that a shard is in use


class _Recency:
    """Tells a place now and then which shards are in use."""

    def __init__(self, place: Place, reader: ColumnReader) -> None:
        self._place, self._reader = place, reader
        self._told = 0.0

    def used(self, shards: Rows | int) -> None:
        if self._place.evicts and time.monotonic() - self._told > TOUCH_SECONDS:
            self._told = time.monotonic()
            self._place.touch(self._reader, np.unique(shards).tolist())


@dataclass(frozen=True, slots=True)
class _Open:
    """The shards of a dense column that are mapped, at one moment."""

    arrays: Mapping[int, npt.NDArray[Any]]
    is_open: npt.NDArray[np.bool_]
    all_open: bool
    span: Span | None


class DenseColumn:
    """A column of rows of one shape, in `.npy` shards.

    Shards are mapped when a row of theirs is first asked for. Safe from any thread.
    """

    def __init__(self, reader: ColumnReader, place: Place) -> None:
        self.column = reader.column
        self.dtype = np.dtype(self.column.dtype)
        self.row_bytes = self.dtype.itemsize * int(np.prod(self.column.shape, dtype=np.int64))
        self.locator = Locator(reader.shard_offsets)
        self.watch = FileWatch(place, reader, self._release)
        self.read_ahead = ReadAhead(self.row_bytes)
        self.path = reader.path
        self._reader, self._place = reader, place
        self._recency = _Recency(place, reader)
        self._lock = threading.Lock()
        self._open = _Open({}, np.zeros(self.locator.num_shards, np.bool_), False, None)
        self._views: dict[int, torch.Tensor] = {}

    def gather(self, rows: Rows, pool: Pool) -> torch.Tensor:
        """Copy rows, numbered over all shards, into a tensor of shape (len(rows), *shape)."""
        tensor, array = pool.tensor((len(rows), *self.column.shape), self.dtype)
        if not len(rows):
            return tensor
        shards, local = self.locator.locate(rows)
        found = self._ensure(shards)
        laid = found.span
        with self.watch.copying():
            if laid is not None:
                laid.take(laid.index(shards, local), array.reshape(len(rows), -1).view(np.uint8))
            else:
                self._gather_by_shard(found, np.asarray(shards), local, array)
        self.watch.check()
        return tensor

    def view(self, start: int, stop: int) -> torch.Tensor | None:
        """Rows `start` to `stop` as they are mapped, read-only; None when they lie in several shards."""
        place = self.locator.run(start, stop)
        if place is None:
            return None
        shard, first = place
        found = self._ensure(shard)
        self.watch.check()
        view = self._views.get(shard)
        if view is None:
            view = self._views[shard] = torch.from_numpy(alias(found.arrays[shard]))
        return view[first : first + stop - start]

    def advise(self, rows: Rows) -> None:
        """Ask the system to read the pages of rows that will be gathered soon."""
        if self._place.evicts or not self.read_ahead.possible:
            return  # what was fetched lately is in memory
        shards, local = self.locator.locate(rows)
        self.read_ahead.advise(self._ensure(shards).arrays, shards, local)

    def want(self, shard: int) -> int:
        """Begin to fetch a shard that will be gathered soon; its bytes."""
        if not self._open.is_open[shard]:
            self._place.want(self._reader, [shard])
        return self._reader.file(shard).shard.bytes

    def _ensure(self, shards: Rows | int) -> _Open:
        """Map these shards; what is mapped then, which stays mapped while it is held."""
        found = self._open
        if not found.all_open and not bool(np.all(found.is_open[shards])):
            wanted = np.unique(shards)
            self._place.want(self._reader, wanted[~found.is_open[wanted]].tolist())
            with self._lock:
                arrays = dict(self._open.arrays)
                for number in wanted.tolist():
                    if number not in arrays:
                        arrays[number] = self._reader.shard(number)
                        self.watch.add(number)
                found = self._set_open(arrays)
        self._recency.used(shards)
        return found

    def _set_open(self, arrays: Mapping[int, npt.NDArray[Any]]) -> _Open:
        is_open = np.zeros(self.locator.num_shards, np.bool_)
        is_open[list(arrays)] = True
        buffers = {number: Buffer.of_array(array) for number, array in arrays.items()}
        laid = span(buffers, self.locator.num_shards, self.row_bytes) if buffers else None
        self._open = _Open(arrays, is_open, bool(is_open.all()), laid)
        return self._open

    def _release(self, shards: list[int]) -> None:
        """Give up maps of evicted files; whoever gathers from them now holds them until it is done."""
        with self._lock:
            self.watch.forget(shards)
            for shard in shards:
                self._reader.forget(shard)
                self._views.pop(shard, None)
            self._set_open({n: array for n, array in self._open.arrays.items() if n not in shards})

    @staticmethod
    def _gather_by_shard(found: _Open, shards: Rows, local: Rows, out: npt.NDArray[Any]) -> None:
        for shard in np.unique(shards):
            here = np.flatnonzero(shards == shard)
            out[here] = np.take(found.arrays[int(shard)], local[here], axis=0)


@dataclass(frozen=True, slots=True)
class _OpenTree:
    """The shards of an Arrow column that are mapped, at one moment."""

    arrays: Mapping[int, pa.Array]
    is_open: npt.NDArray[np.bool_]
    tree: nodes.Node


class ArrowColumn:
    """A column of Arrow arrays, one a shard: texts, lists, records, pictures of many shapes.

    Shards are mapped, and validated by `shards`, when a row of theirs is first asked for. Safe from any
    thread.
    """

    def __init__(self, reader: ColumnReader, place: Place) -> None:
        self.column = reader.column
        self.type: pa.DataType = self.column.pyarrow_type
        self.locator = Locator(reader.shard_offsets)
        self.watch = FileWatch(place, reader, self._release)
        self.path = reader.path
        self._reader, self._place = reader, place
        self._recency = _Recency(place, reader)
        self._lock = threading.Lock()
        self._open = self._set_open({})

    @cached_property
    def row_bytes(self) -> int:
        """Bytes of an average row, by the sizes of the files."""
        num_bytes = sum(self._reader.file(shard).shard.bytes for shard in range(self.locator.num_shards))
        return num_bytes // max(self._reader.num_rows, 1)

    def gather(self, rows: Rows) -> Cells:
        """Copy rows, numbered over all shards."""
        shards, local = self.locator.locate(rows)
        found = self._ensure(shards)
        self.watch.before()
        with self.watch.copying():
            gathered = found.tree.gather(shards, local)
        self.watch.check()
        return gathered

    def want(self, shard: int) -> int:
        """Begin to fetch a shard that will be gathered soon; its bytes."""
        if not self._open.is_open[shard]:
            self._place.want(self._reader, [shard])
        return self._reader.file(shard).shard.bytes

    def _ensure(self, shards: Rows | int) -> _OpenTree:
        """Map these shards; what is mapped then, which stays mapped while it is held."""
        found = self._open
        if not bool(np.all(found.is_open[shards])):
            wanted = np.unique(shards)
            self._place.want(self._reader, wanted[~found.is_open[wanted]].tolist())
            with self._lock:
                arrays = dict(self._open.arrays)
                for number in wanted.tolist():
                    if number not in arrays:
                        arrays[number] = self._reader.shard(number)
                        self.watch.add(number)
                found = self._set_open(arrays)
        self._recency.used(shards)
        return found

    def _set_open(self, arrays: Mapping[int, pa.Array]) -> _OpenTree:
        is_open = np.zeros(self.locator.num_shards, np.bool_)
        is_open[list(arrays)] = True
        self._open = _OpenTree(arrays, is_open, nodes.node(self.type, arrays, self.locator.num_shards))
        return self._open

    def _release(self, shards: list[int]) -> None:
        """Give up maps of evicted files; whoever gathers from them now holds them until it is done."""
        with self._lock:
            self.watch.forget(shards)
            for shard in shards:
                self._reader.forget(shard)
            self._set_open({n: array for n, array in self._open.arrays.items() if n not in shards})


def open_columns(readers: Sequence[ColumnReader], place: Place) -> dict[str, DenseColumn | ArrowColumn]:
    """Open columns by name, in the given order; maps nothing yet."""
    return {
        reader.column.name: (DenseColumn if reader.column.encoding == "npy" else ArrowColumn)(reader, place)
        for reader in readers
    }
