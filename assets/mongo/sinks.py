"""Where rows and rejects go: an attempt of the store in canonical blocks, or a temporary file."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from assets.mongo.rejects import Reject, rejects_batch
from assets.mongo.schema import REJECTS
from shards import Attempt

BLOCK_ROWS = 16_384
BLOCK_BYTES = 16 << 20
REJECTS_TOGETHER = 4096


class Sink(Protocol):
    """Receives record batches in `_id` order, and rejects."""

    def rows(self, batch: pa.RecordBatch) -> None: ...

    def rejects(self, rejects: Sequence[Reject]) -> None: ...


class AttemptSink:
    """The tables `documents` and `rejects` of an attempt.

    However rows arrive, they are stored in the same blocks: a block ends after `BLOCK_ROWS` rows, or after
    the row with which its values reach `BLOCK_BYTES`. So the same content gives the same files.
    """

    def __init__(self, attempt: Attempt, schema: pa.Schema) -> None:
        self._documents = attempt.table("documents", schema)
        self._rejects = attempt.table("rejects", REJECTS)
        self._pending: list[pa.RecordBatch] = []
        self._pending_rejects: list[Reject] = []
        self.reasons: Counter[str] = Counter()
        self.num_rows = 0

    def rows(self, batch: pa.RecordBatch) -> None:
        """Take rows; they are written when their block is complete."""
        self._pending.append(batch)
        self.num_rows += batch.num_rows
        while (length := self._complete()) is not None:
            self._write(length)

    def rejects(self, rejects: Sequence[Reject]) -> None:
        """Take rejects."""
        self.reasons.update(reject.reason for reject in rejects)
        self._pending_rejects += rejects
        while len(self._pending_rejects) >= REJECTS_TOGETHER:
            self._write_rejects()

    def finish(self) -> None:
        """Write what is left."""
        length = sum(batch.num_rows for batch in self._pending)
        if length:
            self._write(length)
        if self._pending_rejects:
            self._write_rejects()

    def _complete(self) -> int | None:
        """Rows of the first block, None while it may grow."""
        num_rows = sum(batch.num_rows for batch in self._pending)
        length = BLOCK_ROWS if num_rows >= BLOCK_ROWS else None
        if sum(batch.nbytes for batch in self._pending) < BLOCK_BYTES:
            return length
        sizes = np.concatenate([row_sizes(batch) for batch in self._pending])
        reached = int(np.searchsorted(np.cumsum(sizes[:BLOCK_ROWS]), BLOCK_BYTES)) + 1
        return reached if reached <= min(num_rows, BLOCK_ROWS) else length

    def _write(self, length: int) -> None:
        taken = []
        while length:
            first = self._pending.pop(0)
            if first.num_rows > length:
                self._pending.insert(0, first.slice(length))
                first = first.slice(0, length)
            taken.append(first)
            length -= first.num_rows
        self._documents.append(concatenate(taken))

    def _write_rejects(self) -> None:
        together = self._pending_rejects[:REJECTS_TOGETHER]
        self._pending_rejects = self._pending_rejects[REJECTS_TOGETHER:]
        self._rejects.append(rejects_batch(together))


class Spool:
    """A temporary Arrow file that rows are put into, and read from again through a memory map."""

    def __init__(self, schema: pa.Schema) -> None:
        self._schema = schema
        self._file = tempfile.NamedTemporaryFile(prefix="shardmill-", suffix=".arrow")  # noqa: SIM115
        self._writer: Any = pa.ipc.new_file(self._file, schema)
        self.rejected: list[Reject] = []
        self.num_rows = 0

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            self._writer.close()
        self._file.close()

    def rows(self, batch: pa.RecordBatch) -> None:
        """Take rows."""
        self._writer.write_batch(batch)
        self.num_rows += batch.num_rows

    def rejects(self, rejects: Sequence[Reject]) -> None:
        """Take rejects; they stay in memory."""
        self.rejected += rejects

    def batches(self) -> Iterator[pa.RecordBatch]:
        """All rows, in the order in which they came; nothing can be put in any more."""
        self._close()
        with pa.memory_map(self._file.name) as source:
            reader = pa.ipc.open_file(source)
            for index in range(reader.num_record_batches):
                yield reader.get_batch(index)

    def table(self) -> pa.Table:
        """All rows as one table over the memory map."""
        return pa.Table.from_batches(list(self.batches()), schema=self._schema)

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
            self._file.flush()


def concatenate(batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    """One record batch of several; one alone is not copied."""
    if len(batches) == 1:
        return batches[0]
    arrays = [
        pa.concat_arrays([batch.column(index) for batch in batches])
        for index in range(batches[0].num_columns)
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=batches[0].schema)


def row_sizes(batch: pa.RecordBatch) -> npt.NDArray[np.int64]:
    """Bytes of the values of every row; a function of the content alone."""
    total = np.zeros(batch.num_rows, np.int64)
    for column in batch.columns:
        total += _sizes(column)
    return total


def _sizes(array: pa.Array) -> npt.NDArray[np.int64]:
    type_ = array.type
    if pa.types.is_struct(type_):
        total = np.zeros(len(array), np.int64)
        for index in range(type_.num_fields):
            total += _sizes(array.field(index))
        return total
    if pa.types.is_fixed_size_list(type_):
        inner = _sizes(array.values)
        width = type_.list_size
        start = array.offset * width
        rows = inner[start : start + len(array) * width].reshape(len(array), width)
        return np.asarray(rows.sum(axis=1), np.int64)
    if pa.types.is_large_list(type_):
        ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(_sizes(array.values))])
        offsets = _offsets(array)
        return np.asarray(ends[offsets[1:]] - ends[offsets[:-1]], np.int64)
    if pa.types.is_large_string(type_) or pa.types.is_large_binary(type_):
        return np.diff(_offsets(array))
    return np.full(len(array), (type_.bit_width + 7) // 8, np.int64)


def _offsets(array: pa.Array) -> npt.NDArray[np.int64]:
    if len(array) == 0:
        return np.zeros(1, np.int64)
    return np.frombuffer(array.buffers()[1], np.int64)[array.offset : array.offset + len(array) + 1]
