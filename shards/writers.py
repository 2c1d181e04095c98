"""Streams of rows into bounded shard files.

A writer belongs to one attempt and one thread. Files are synced when their shard is full; their names become
durable when the attempt commits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash

from shards import dictionaries, npy
from shards.errors import InvalidArgument
from shards.limits import MAX_SHARDS
from shards.schema import Column
from shards.storage import HUGE_PAGE_BYTES, Buffer, Storage, WritableFile

ARROW_SHARD_BYTES = 64 << 20
"""Most bytes of an Arrow column that are held back in memory until they are written as one batch."""


BLOCK_BYTES = 64 << 10
"""Files are written in multiples of this; small writes, as Arrow makes many, are gathered."""

WIDE_BYTES = 64
"""Rows from this size on are wide: their files are written in multiples of a huge page."""


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A synced file: what its writer knows about it, for comparison when it is read back."""

    file: str
    rows: int
    size_bytes: int
    head: bytes
    """Bytes at the start that were written last."""
    body_hash: str
    """xxh3_128 of all bytes after the head."""


class _HashedFile:
    """A new file, written in whole blocks, whose bytes are hashed as they pass."""

    def __init__(self, file: WritableFile, name: str, block_bytes: int) -> None:
        self._file = file
        self._block_bytes = block_bytes
        self._hash = xxhash.xxh3_128()
        self._gathered = bytearray()
        self._head_bytes = 0
        self.name = name
        self.size_bytes = 0
        self.closed = False

    def write(self, data: Buffer) -> int:
        view = memoryview(data).cast("B")
        start = min(-len(self._gathered) % self._block_bytes, len(view))
        self._gathered += view[:start]
        if len(self._gathered) == self._block_bytes:
            self._drain()
        stop = start + (len(view) - start) // self._block_bytes * self._block_bytes
        if start < stop:
            self._put(view[start:stop])
        self._gathered += view[stop:]
        self.size_bytes += len(view)
        return len(view)

    def _drain(self) -> None:
        self._put(memoryview(self._gathered))
        self._gathered = bytearray()

    def _put(self, view: memoryview) -> None:
        self._hash.update(view[self._head_bytes :])
        self._head_bytes = 0
        self._file.write(view)

    def flush(self) -> None:
        """Arrow asks for it; bytes need not be in the file before `finish`."""

    def finish(self, rows: int, head: bytes = b"") -> WrittenFile:
        """Write the head over the reserved bytes, sync and close."""
        if self._gathered:
            self._drain()
        if head:
            self._file.write_at(0, head)
        self._file.sync()
        self.close()
        return WrittenFile(self.name, rows, self.size_bytes, head, self._hash.hexdigest())

    def reserve(self, num_bytes: int) -> None:
        """Leave room for a head; before anything else."""
        self._head_bytes = self.write(bytes(num_bytes))

    def close(self) -> None:
        self.closed = True
        self._file.close()


class _Writer:
    """Numbers the files of one column, table or index."""

    def __init__(
        self, storage: Storage, directory: str, name_of: Callable[[int], str], shard_bytes: int
    ) -> None:
        self._storage = storage
        self._directory = directory
        self._name_of = name_of
        self._shard_bytes = shard_bytes
        self._open: _HashedFile | None = None
        self.files: list[WrittenFile] = []
        self.num_rows = 0
        self.has_dictionaries = False
        self._block_bytes = BLOCK_BYTES

    def _create(self) -> _HashedFile:
        if len(self.files) >= MAX_SHARDS:
            raise InvalidArgument(f"{self._directory}: more than {MAX_SHARDS} shards; raise shard_bytes")
        name = self._name_of(len(self.files))
        self._open = _HashedFile(self._storage.create(f"{self._directory}/{name}"), name, self._block_bytes)
        return self._open

    def _done(self, file: WrittenFile) -> None:
        self.files.append(file)
        self._open = None

    def discard(self) -> None:
        """Close what is open without publishing anything."""
        if self._open is not None:
            self._open.close()
            self._open = None


class NpyWriter(_Writer):
    """Rows of one dtype and shape as `.npy` files."""

    def __init__(
        self,
        storage: Storage,
        directory: str,
        name_of: Callable[[int], str],
        shard_bytes: int,
        dtype: str,
        shape: tuple[int, ...] = (),
    ) -> None:
        super().__init__(storage, directory, name_of, shard_bytes)
        self._dtype = np.dtype(dtype)
        self.dtype = dtype
        self._shape = shape
        row_bytes = self._dtype.itemsize * math.prod(shape)
        self._shard_rows = max(1, shard_bytes // row_bytes)
        if row_bytes >= WIDE_BYTES:
            self._block_bytes = HUGE_PAGE_BYTES
        self._rows_in_shard = 0

    def append(self, rows: np.ndarray[Any, Any]) -> None:
        """Add rows.

        Parameters
        ----------
        rows
            Array of shape (n, *shape) and exactly the declared dtype, any memory order.

        Raises
        ------
        InvalidArgument
            Another dtype or shape.
        """
        if (
            not isinstance(rows, np.ndarray)
            or rows.dtype != self._dtype
            or rows.shape[1:] != self._shape
            or not rows.ndim
        ):
            got = f"{rows.dtype.str} {rows.shape}" if isinstance(rows, np.ndarray) else type(rows).__name__
            raise InvalidArgument(
                f"{self._name_of(0)}: got {got}, allowed is an array of {self.dtype} and shape "
                f"(n, {', '.join(map(str, self._shape))})"
            )
        start = 0
        while start < len(rows):
            count = min(len(rows) - start, self._shard_rows - self._rows_in_shard)
            part = np.ascontiguousarray(rows[start : start + count])
            if self._open is None:
                self._create().reserve(len(npy.header(self.dtype, 0, self._shape)))
            assert self._open is not None
            self._open.write(part.reshape(-1).view(np.uint8).data)
            self._rows_in_shard += count
            self.num_rows += count
            start += count
            if self._rows_in_shard == self._shard_rows:
                self.finish()

    def finish(self) -> None:
        """Close the shard under way, if any."""
        if self._open is not None:
            head = npy.header(self.dtype, self._rows_in_shard, self._shape)
            self._done(self._open.finish(self._rows_in_shard, head))
            self._rows_in_shard = 0


class ArrowColumnWriter(_Writer):
    """Arrow arrays of one type, one record batch a file."""

    def __init__(
        self,
        storage: Storage,
        directory: str,
        name_of: Callable[[int], str],
        shard_bytes: int,
        field: pa.Field,
        hold_bytes: int = ARROW_SHARD_BYTES,
    ) -> None:
        super().__init__(storage, directory, name_of, min(shard_bytes, hold_bytes))
        self._block_bytes = HUGE_PAGE_BYTES
        self._schema = pa.schema([field])
        self._held: list[pa.Array] = []
        self._held_bytes = 0

    def append(self, rows: pa.Array | pa.ChunkedArray) -> None:
        """Add rows.

        Parameters
        ----------
        rows
            Array of exactly the declared type.

        Raises
        ------
        InvalidArgument
            Another type.
        """
        wanted = self._schema.field(0).type
        if not isinstance(rows, (pa.Array, pa.ChunkedArray)) or rows.type != wanted:
            got = rows.type if isinstance(rows, (pa.Array, pa.ChunkedArray)) else type(rows).__name__
            raise InvalidArgument(f"{self._name_of(0)}: got {got}, allowed is an Arrow array of {wanted}")
        for part in rows.chunks if isinstance(rows, pa.ChunkedArray) else [rows]:
            start = 0
            while start < len(part):
                size = max(1, part.nbytes)
                room = max(1, (self._shard_bytes - self._held_bytes) * len(part) // size)
                piece = part[start : start + room]
                self._held.append(piece)
                self._held_bytes += piece.nbytes
                self.num_rows += len(piece)
                start += len(piece)
                if self._held_bytes >= self._shard_bytes:
                    self.finish()

    def finish(self) -> None:
        """Write what is held, if anything."""
        if self._held:
            array = dictionaries.encoded(pa.concat_arrays(self._held))
            self._held, self._held_bytes = [], 0
            field = self._schema.field(0).with_type(array.type)
            self.has_dictionaries = self.has_dictionaries or field != self._schema.field(0)
            batch = pa.record_batch([array], schema=pa.schema([field]))
            file = self._create()
            with pa.ipc.new_file(pa.PythonFile(file, mode="w"), batch.schema) as writer:
                writer.write_batch(batch)
            self._done(file.finish(len(array)))


class TableWriter(_Writer):
    """Record batches of one schema, many a file."""

    def __init__(
        self,
        storage: Storage,
        directory: str,
        name_of: Callable[[int], str],
        shard_bytes: int,
        schema: pa.Schema,
    ) -> None:
        super().__init__(storage, directory, name_of, shard_bytes)
        self.schema = schema
        self._writer: Any = None
        self._rows_in_shard = 0

    def append(self, rows: pa.RecordBatch | pa.Table) -> None:
        """Add rows; one or more record batches are written at once.

        Raises
        ------
        InvalidArgument
            Another schema.
        """
        if not isinstance(rows, (pa.RecordBatch, pa.Table)) or not rows.schema.equals(self.schema):
            got = rows.schema if isinstance(rows, (pa.RecordBatch, pa.Table)) else type(rows).__name__
            raise InvalidArgument(f"{self._name_of(0)}: got {got}, allowed are rows of {self.schema}")
        for batch in rows.to_batches() if isinstance(rows, pa.Table) else [rows]:
            if not batch.num_rows:
                continue
            if self._writer is None:
                self._writer = pa.ipc.new_file(pa.PythonFile(self._create(), mode="w"), self.schema)
            self._writer.write_batch(batch)
            self._rows_in_shard += batch.num_rows
            self.num_rows += batch.num_rows
            assert self._open is not None
            if self._open.size_bytes >= self._shard_bytes:
                self.finish()

    def finish(self) -> None:
        """Close the shard under way, if any."""
        if self._open is not None:
            self._writer.close()
            self._writer = None
            self._done(self._open.finish(self._rows_in_shard))
            self._rows_in_shard = 0


ColumnWriter = NpyWriter | ArrowColumnWriter


def column_writer(
    storage: Storage, directory: str, name_of: Callable[[int], str], shard_bytes: int, column: Column
) -> ColumnWriter:
    """Writer of a declared column."""
    if column.encoding == "npy":
        return NpyWriter(storage, directory, name_of, shard_bytes, column.dtype, column.shape)
    field = pa.field(column.name, column.pyarrow_type)
    return ArrowColumnWriter(storage, directory, name_of, shard_bytes, field)
