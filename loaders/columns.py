"""One column over all shards: rows by number into a tensor or into cells, runs of rows as views."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Generic, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from loaders import nodes, pictures
from loaders.cells import Cells
from loaders.files import FileWatch, Locator, Place, Rows
from loaders.pool import Pool
from loaders.readahead import ReadAhead
from loaders.span import Buffer, Span, Spanned, alias
from shards import Column, ColumnReader

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


class _Shards:
    """Shards of a column that are mapped; they are added by one thread at a time, and never taken away."""

    def __init__(self, num_shards: int) -> None:
        self.arrays: dict[int, Any] = {}
        self.is_open = np.zeros(num_shards, np.bool_)
        self.all_open = False

    def add(self, number: int, array: Any) -> None:
        """Add a shard."""
        self.arrays[number] = array
        self.is_open[number] = True
        self.all_open = len(self.arrays) == len(self.is_open)


class _DenseShards(_Shards):
    """Arrays, and one span over them."""

    def __init__(self, num_shards: int, row_bytes: int) -> None:
        super().__init__(num_shards)
        self._buffers = Spanned(num_shards, row_bytes)

    def add(self, number: int, array: npt.NDArray[Any]) -> None:
        """Add a shard."""
        self._buffers.add(number, Buffer.of_array(array))
        super().add(number, array)

    @property
    def span(self) -> Span | None:
        """One array over all of them, where rows may be taken from it."""
        return self._buffers.span


class _ArrowShards(_Shards):
    """Arrow arrays, and their tree of buffers."""

    def __init__(self, num_shards: int, dtype: pa.DataType) -> None:
        super().__init__(num_shards)
        self.tree = nodes.node(dtype, num_shards)

    def add(self, number: int, array: pa.Array) -> None:
        """Add a shard."""
        self.tree.add(number, array)
        super().add(number, array)


Shards = TypeVar("Shards", bound=_Shards)


class _Mapped(Generic[Shards]):
    """A column whose shards are mapped when a row of theirs is first asked for. Safe from any thread."""

    def __init__(self, reader: ColumnReader, place: Place) -> None:
        self.column = reader.column
        self.locator = Locator(reader.shard_offsets)
        self.watch = FileWatch(place, reader, self._release)
        self.path = reader.path
        self._reader, self._place = reader, place
        self._recency = _Recency(place, reader)
        self._lock, self._mapping = threading.Lock(), threading.Lock()
        self._open: Shards = self._none()

    def _none(self) -> Shards:
        """Make what holds shards, without any."""
        raise NotImplementedError

    def want(self, shard: int) -> int:
        """Begin to fetch a shard that will be gathered soon; its bytes."""
        if not self._open.is_open[shard]:
            self._place.want(self._reader, [shard])
        return self._reader.file(shard).shard.bytes

    def _ensure(self, shards: Rows | int) -> Shards:
        """Map these shards; what is mapped then, which stays mapped while it is held."""
        found = self._open
        if not found.all_open and not bool(np.all(found.is_open[shards])):
            del found  # or the room of evicted files is not free while this waits for it
            found = self._map(np.unique(shards))
        self._recency.used(shards)
        return found

    def _map(self, wanted: Rows) -> Shards:
        """Map shards, one thread at a time, while others may give up maps of evicted files."""
        self._place.want(self._reader, wanted[~self._open.is_open[wanted]].tolist())
        with self._mapping:
            opened = self._open.arrays
            arrays = {number: opened[number] for number in wanted.tolist() if number in opened}
            del opened
            for number in wanted.tolist():
                if number not in arrays:
                    arrays[number] = self._reader.shard(number)
                    self._add({number: arrays[number]})
            return self._add(arrays)  # those again that were given up meanwhile

    def _add(self, arrays: dict[int, Any]) -> Shards:
        """Add shards that are not open; what is mapped then."""
        with self._lock:
            for number, array in arrays.items():
                if not self._open.is_open[number]:
                    self.watch.add(number)
                    self._open.add(number, array)
            return self._open

    def _release(self, shards: list[int]) -> None:
        """Give up maps of evicted files; whoever gathers from them now holds them until it is done."""
        with self._lock:
            self.watch.forget(shards)
            left = self._none()
            for number, array in self._open.arrays.items():
                if number not in shards:
                    left.add(number, array)
            self._open = left
            for shard in shards:
                self._reader.forget(shard)


class DenseColumn(_Mapped[Shards]):
    """A column that gives rows of one shape."""

    def __init__(self, reader: ColumnReader, place: Place, column: Column) -> None:
        self.dtype = np.dtype(column.dtype)
        self.row_bytes = self.dtype.itemsize * math.prod(column.shape)
        super().__init__(reader, place)
        self.column = column

    def gather(self, rows: Rows, pool: Pool) -> torch.Tensor:
        """Give rows, numbered over all shards, as a tensor of shape (len(rows), *shape)."""
        raise NotImplementedError

    def view(self, start: int, stop: int) -> torch.Tensor | None:
        """Rows `start` to `stop` as they are mapped, read-only; None where they are not mapped so."""
        return None

    def advises(self) -> bool:
        """Whether `advise` may help now; asked once before it."""
        return False

    def advise(self, rows: Rows, around: Callable[[], Rows]) -> None:
        """Have the pages of rows read that will be gathered soon; `around` says which are near."""


class NpyColumn(DenseColumn[_DenseShards]):
    """A column of rows of one shape, in `.npy` shards."""

    def __init__(self, reader: ColumnReader, place: Place) -> None:
        super().__init__(reader, place, reader.column)
        self.read_ahead = ReadAhead(self.row_bytes)

    def _none(self) -> _DenseShards:
        return _DenseShards(self.locator.num_shards, self.row_bytes)

    def gather(self, rows: Rows, pool: Pool) -> torch.Tensor:
        """Copy rows into a tensor."""
        shape = (len(rows), *self.column.shape)
        if not len(rows):
            return pool.tensor(shape, self.dtype)[0]
        shards, local = self.locator.locate(rows)
        found = self._ensure(shards)
        laid = found.span
        tensor, array = pool.tensor(shape, self.dtype, (0, 0) if laid is None else laid.bounds)
        with self.watch.copying():
            if laid is not None:
                laid.take(laid.index(shards, local), array.reshape(len(rows), -1).view(np.uint8))
            else:
                self._gather_by_shard(found, np.asarray(shards), local, array)
        self.watch.check()
        return tensor

    def view(self, start: int, stop: int) -> torch.Tensor | None:
        """Rows `start` to `stop` as they are mapped; None when they lie in several shards."""
        place = self.locator.run(start, stop)
        if place is None:
            return None
        shard, first = place
        array = self._ensure(shard).arrays[shard]
        self.watch.check()
        return torch.from_numpy(alias(array[first : first + stop - start]))

    def advises(self) -> bool:
        """Whether rows are wide enough for pages of their own, and it is time to look at them."""
        return not self._place.evicts and self.read_ahead.possible and self.read_ahead.due()

    def advise(self, rows: Rows, around: Callable[[], Rows]) -> None:
        """Have the pages of rows read, if they are not in memory."""
        shards, local = self.locator.locate(rows)
        absent = self.read_ahead.absent(self._ensure(shards).arrays, shards, local)
        if absent is not None:
            shards, local = self.locator.locate(np.concatenate([rows, around()]))
            self.read_ahead.advise(self._ensure(shards).arrays, shards, local, len(rows), absent)

    @staticmethod
    def _gather_by_shard(found: _DenseShards, shards: Rows, local: Rows, out: npt.NDArray[Any]) -> None:
        for shard in np.unique(shards):
            here = np.flatnonzero(shards == shard)
            out[here] = np.take(found.arrays[int(shard)], local[here], axis=0)


class ArrowColumn(_Mapped[_ArrowShards]):
    """A column of Arrow arrays, one a shard: texts, lists, records, pictures of many shapes.

    Shards are validated by `shards` when they are mapped.
    """

    def __init__(self, reader: ColumnReader, place: Place) -> None:
        self.type: pa.DataType = reader.column.pyarrow_type
        super().__init__(reader, place)

    def _none(self) -> _ArrowShards:
        return _ArrowShards(self.locator.num_shards, self.type)

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


class DecodedColumn(DenseColumn[_ArrowShards]):
    """Pictures that are stored encoded and handed out in one size; decoded by whichever thread gathers."""

    def __init__(self, reader: ColumnReader, place: Place) -> None:
        super().__init__(reader, place, pictures.handed_out(reader.column))
        self._stored = reader.column

    def _none(self) -> _ArrowShards:
        return _ArrowShards(self.locator.num_shards, self._reader.column.pyarrow_type)

    def gather(self, rows: Rows, pool: Pool) -> torch.Tensor:
        """Decode and resize rows."""
        tensor, array = pool.tensor((len(rows), *self.column.shape), self.dtype)
        shards, local = self.locator.locate(rows)
        found = self._ensure(shards)
        self.watch.before()
        with self.watch.copying():
            pictures.decode_into(array, self._stored, found.tree.gather(shards, local))
        self.watch.check()
        return tensor


AnyColumn: TypeAlias = "DenseColumn[Any] | ArrowColumn"


def open_columns(readers: Sequence[ColumnReader], place: Place) -> dict[str, AnyColumn]:
    """Open columns by name, in the given order; maps nothing yet."""
    return {reader.column.name: _open(reader, place) for reader in readers}


def _open(reader: ColumnReader, place: Place) -> AnyColumn:
    if reader.column.encoding == "npy":
        return NpyColumn(reader, place)
    return (DecodedColumn if pictures.has_size(reader.column) else ArrowColumn)(reader, place)
