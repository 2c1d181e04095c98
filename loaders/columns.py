"""One column over all shards: rows by number into a tensor or into cells, runs of rows as views."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from loaders import nodes
from loaders.cells import Cells
from loaders.files import FileWatch, Locator, Rows
from loaders.pool import Pool
from loaders.readahead import ReadAhead
from loaders.span import Buffer, Span, alias, span
from shards import ColumnReader


class DenseColumn:
    """A column of rows of one shape, in `.npy` shards.

    Shards are mapped when a row of theirs is first asked for. Safe from any thread.
    """

    def __init__(self, reader: ColumnReader, root: Path) -> None:
        self.column = reader.column
        self.dtype = np.dtype(self.column.dtype)
        self.row_bytes = self.dtype.itemsize * int(np.prod(self.column.shape, dtype=np.int64))
        self.locator = Locator(reader.shard_offsets)
        self.watch = FileWatch(root, reader)
        self.read_ahead = ReadAhead(self.row_bytes)
        self.path = reader.path
        self._reader = reader
        self._lock = threading.Lock()
        self._open: dict[int, npt.NDArray[Any]] = {}
        self._is_open = np.zeros(self.locator.num_shards, np.bool_)
        self._all_open = False
        self._span: Span | None = None
        self._views: dict[int, torch.Tensor] = {}

    def gather(self, rows: Rows, pool: Pool) -> torch.Tensor:
        """Copy rows, numbered over all shards, into a tensor of shape (len(rows), *shape)."""
        tensor, array = pool.tensor((len(rows), *self.column.shape), self.dtype)
        if not len(rows):
            return tensor
        shards, local = self.locator.locate(rows)
        self.ensure(shards)
        self.watch.check()
        laid = self._span
        if laid is not None:
            laid.take(laid.index(shards, local), array.reshape(len(rows), -1).view(np.uint8))
        else:
            self._gather_by_shard(np.asarray(shards), local, array)
        return tensor

    def view(self, start: int, stop: int) -> torch.Tensor | None:
        """Rows `start` to `stop` as they are mapped, read-only; None when they lie in several shards."""
        place = self.locator.run(start, stop)
        if place is None:
            return None
        shard, first = place
        self.ensure(shard)
        self.watch.check()
        if shard not in self._views:
            self._views[shard] = torch.from_numpy(alias(self._open[shard]))
        return self._views[shard][first : first + stop - start]

    def advise(self, rows: Rows) -> None:
        """Ask the system to read the pages of rows that will be gathered soon."""
        shards, local = self.locator.locate(rows)
        self.ensure(shards)
        self.read_ahead.advise(self._open, shards, local)

    def ensure(self, shards: Rows | int) -> None:
        """Map these shards."""
        if self._all_open or bool(np.all(self._is_open[shards])):
            return
        with self._lock:
            for shard in np.unique(shards):
                number = int(shard)
                if number not in self._open:
                    self._open[number] = self._reader.shard(number)
                    self.watch.add(number)
            buffers = {number: Buffer.of_array(array) for number, array in self._open.items()}
            self._span = span(buffers, self.locator.num_shards, self.row_bytes)
            self._is_open[list(self._open)] = True
            self._all_open = bool(self._is_open.all())

    def _gather_by_shard(self, shards: Rows, local: Rows, out: npt.NDArray[Any]) -> None:
        for shard in np.unique(shards):
            here = np.flatnonzero(shards == shard)
            out[here] = np.take(self._open[int(shard)], local[here], axis=0)


class ArrowColumn:
    """A column of Arrow arrays, one a shard: texts, lists, records, pictures of many shapes.

    Shards are mapped, and validated by `shards`, when a row of theirs is first asked for. Safe from any
    thread.
    """

    def __init__(self, reader: ColumnReader, root: Path) -> None:
        self.column = reader.column
        self.type: pa.DataType = self.column.pyarrow_type
        self.locator = Locator(reader.shard_offsets)
        self.watch = FileWatch(root, reader)
        self.path = reader.path
        self._reader = reader
        self._lock = threading.Lock()
        self._open: dict[int, pa.Array] = {}
        self._is_open = np.zeros(self.locator.num_shards, np.bool_)
        self._tree: nodes.Node = nodes.node(self.type, {}, self.locator.num_shards)

    @property
    def row_bytes(self) -> int:
        """Bytes of an average row, from the shards that are open."""
        arrays = list(self._open.values())
        return int(sum(array.nbytes for array in arrays)) // max(sum(len(array) for array in arrays), 1)

    def gather(self, rows: Rows) -> Cells:
        """Copy rows, numbered over all shards."""
        shards, local = self.locator.locate(rows)
        self.ensure(shards)
        self.watch.check()
        return self._tree.gather(shards, local)

    def ensure(self, shards: Rows | int) -> None:
        """Map these shards."""
        if bool(np.all(self._is_open[shards])):
            return
        with self._lock:
            for shard in np.unique(shards):
                number = int(shard)
                if number not in self._open:
                    self._open[number] = self._reader.shard(number)
                    self.watch.add(number)
            self._tree = nodes.node(self.type, dict(self._open), self.locator.num_shards)
            self._is_open[list(self._open)] = True


def open_columns(readers: Sequence[ColumnReader], root: Path) -> dict[str, DenseColumn | ArrowColumn]:
    """Open columns by name, in the given order; maps nothing yet."""
    return {
        reader.column.name: (DenseColumn if reader.column.encoding == "npy" else ArrowColumn)(reader, root)
        for reader in readers
    }
