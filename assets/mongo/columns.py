"""Columns under construction: the walker's buffers, grown on demand and handed to Arrow without a copy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial as bind
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from assets.mongo import layout
from assets.mongo.coerce import Patches
from assets.mongo.errors import BrokenBatch
from assets.mongo.fields import Field
from assets.mongo.plan import VARIABLE, Scope, Target
from assets.mongo.pool import Pool
from assets.mongo.rejects import Reject, read_rejects
from assets.mongo.schema import arrow_type, fields_schema
from assets.mongo.tables import Tables
from assets.mongo.walker import walk
from assets.mongo.write_behind import Later, write_behind

Bytes: TypeAlias = bytes | bytearray | memoryview
Sink: TypeAlias = Callable[[pa.RecordBatch], None]

FIRST_ENTRIES = 1024
FIRST_BYTES = 16_384


class Columns:
    """Turns BSON documents into Arrow record batches, and those that do not fit into rejects.

    One thread at a time may use it. The walk itself runs without the interpreter's lock; within
    `written_behind` the sink is called by another thread meanwhile.

    Parameters
    ----------
    fields
        What to take from every document, `_id` included if it is wanted.
    sink
        Receives every complete record batch; the batch may be kept.
    max_rows
        Most rows a batch may have.
    flush_bytes
        A batch is closed after the call of `feed` in which this many bytes of BSON are reached.
    pool
        Where buffers are taken from, to share them among columns that follow one another.
    """

    def __init__(
        self,
        fields: Sequence[Field],
        sink: Sink,
        *,
        max_rows: int = 16_384,
        flush_bytes: int = 32 << 20,
        pool: Pool | None = None,
    ) -> None:
        self._tables = Tables(fields)
        self.fields = tuple(fields)
        self.schema = fields_schema(fields)
        self.rejects: list[Reject] = []
        self.num_rows = 0
        self.num_rejects = 0
        self.consumed = 0
        self._sink = sink
        self._later: Later | None = None
        self._flush_bytes = flush_bytes
        self._fed_bytes = 0
        self._last_place = 0
        self._pool = pool or Pool()
        self._patches = Patches(self._tables)
        self._valid: dict[int, npt.NDArray[np.uint8]] = {}
        self._data: dict[int, npt.NDArray[np.uint8]] = {}
        self._offsets: dict[int, npt.NDArray[np.int64]] = {}
        self._tables.put(self._tables.base + layout.STATE_MAX_ROWS, max_rows)
        self._is_provided = False

    def feed(
        self,
        data: Bytes,
        start: int = 0,
        stop: int | None = None,
        *,
        array: bool = False,
        partial: bool = False,
    ) -> int:
        """Walk the documents in `data[start:stop]`; how many there are.

        Parameters
        ----------
        array
            Whether the bytes are the elements of a BSON array (a reply's batch) or documents end to end.
        partial
            Whether the bytes may end inside a document, or in front of something else; `consumed` tells where
            the documents end.

        Raises
        ------
        BrokenBatch
            When the bytes cannot be divided into documents; those before are kept.
        """
        view = np.frombuffer(data, np.uint8)
        stop = len(view) if stop is None else stop
        if not 0 <= start <= stop <= len(view):
            raise ValueError(f"the range {start}:{stop} is not inside {len(view)} bytes")
        tables, state = self._tables, self._tables.base
        address = int(view.ctypes.data)
        before = self.num_rows + self.num_rejects + self._pending_rows()
        tables.put(state + layout.STATE_POSITION, address + start)
        tables.put(state + layout.STATE_END, address + stop)
        tables.put(state + layout.STATE_ARRAY, array)
        while True:
            if not self._is_provided:
                self._provide_all()
            status = walk(state)
            if status == layout.GROW:
                self._grow()
            elif status == layout.CONVERT:
                self._patches.convert(address, view)
            elif status == layout.FULL:
                self._take_rejects(address, view)
                if self._pending_rows() >= tables.get(state + layout.STATE_MAX_ROWS):
                    self.flush()
            else:
                break
        self._take_rejects(address, view)
        place = self.consumed = tables.get(state + layout.STATE_POSITION) - address
        if status == layout.BROKEN and not partial:
            raise BrokenBatch(f"no BSON document begins at byte {place} of {stop} bytes")
        self._last_place = tables.get(state + layout.STATE_DOCUMENT) - address
        num_documents = self.num_rows + self.num_rejects + self._pending_rows() - before
        self._fed_bytes += place - start
        if self._fed_bytes >= self._flush_bytes:
            self.flush()
        return num_documents

    def last_place(self) -> int:
        """Where in the bytes of the last `feed` its last document begins."""
        return self._last_place

    def flush(self) -> None:
        """Hand what has been gathered to the sink, if there is anything."""
        num_rows = self._pending_rows()
        self._fed_bytes = 0
        if num_rows == 0:
            return
        arrays = self._arrays(self._tables.root, num_rows)
        for scope_at in (self._tables.address[id(scope)] for scope in self._scopes()):
            self._tables.put(scope_at + layout.SCOPE_COUNT, 0)
        self._give_up()
        self.num_rows += num_rows
        self.hand_over(bind(self._sink, pa.RecordBatch.from_arrays(arrays, schema=self.schema)))

    @contextmanager
    def written_behind(self) -> Iterator[None]:
        """Have the sink called by a thread of its own while the block lasts, one call at a time.

        What was handed over has been taken by the sink when the block is left; an error of the sink is raised
        by a later `feed` or `flush`, or then.
        """
        with write_behind() as later:
            self._later = later
            try:
                yield
            finally:
                self._later = None

    def hand_over(self, call: Callable[[], None]) -> None:
        """Make a call that writes where the sink does: in its thread, after the batches before."""
        if self._later is None:
            call()
        else:
            self._later(call)

    def take_rejects(self) -> list[Reject]:
        """Rejects since the last call."""
        taken, self.rejects = self.rejects, []
        return taken

    def add_reject(self, reject: Reject) -> None:
        """Take a reject that was found before, in its place among the others."""
        self.rejects.append(reject)
        self.num_rejects += 1

    def _pending_rows(self) -> int:
        return self._tables.get(self._tables.address[id(self._tables.root)] + layout.SCOPE_COUNT)

    def _scopes(self) -> list[Scope]:
        return [
            self._tables.root,
            *(target.inner for target in self._tables.targets if target.inner is not None),
        ]

    def _take_rejects(self, address: int, view: npt.NDArray[np.uint8]) -> None:
        rejects = read_rejects(self._tables, address, view)
        self.num_rejects += len(rejects)
        self.rejects.extend(rejects)

    def _grow(self) -> None:
        tables, state = self._tables, self._tables.base
        at = tables.get(state + layout.STATE_FULL_TARGET)
        num_bytes = tables.get(state + layout.STATE_FULL_BYTES)
        target = tables.target_at[at]
        capacity = tables.get(at + layout.TARGET_CAPACITY)
        if num_bytes:
            old = self._data[at]
            new = self._pool.take(max(num_bytes, 2 * len(old)))
            new[: len(old)] = old
            self._pool.give(old)
            self._data[at] = new
        else:
            capacity *= 2
            old_valid = self._valid[at]
            self._valid[at] = self._pool.take(capacity)
            self._valid[at][: len(old_valid)] = old_valid
            width = tables.get(at + layout.TARGET_WIDTH)
            if width:
                old = self._data[at]
                self._data[at] = self._pool.take(capacity * width)
                self._data[at][: len(old)] = old
            if at in self._offsets:
                old_offsets = self._offsets[at]
                self._offsets[at] = self._pool.take(8 * capacity + 8).view(np.int64)
                self._offsets[at][: len(old_offsets)] = old_offsets
        self._point(target, capacity)

    def _provide(self, target: Target, capacity: int, num_bytes: int) -> None:
        """Give a target empty buffers."""
        at = self._tables.address[id(target)]
        width = self._tables.get(at + layout.TARGET_WIDTH)
        self._valid[at] = self._pool.take(capacity)
        if width:
            self._data[at] = self._pool.take(capacity * width)
        elif target.kind in VARIABLE:
            self._data[at] = self._pool.take(num_bytes)
        if target.kind in VARIABLE or target.kind == layout.LIST:
            self._offsets[at] = self._pool.take(8 * capacity + 8).view(np.int64)
            self._offsets[at][0] = 0
        self._tables.put(at + layout.TARGET_LENGTH, 0)
        self._point(target, capacity)

    def _provide_all(self) -> None:
        """Give every target buffers as large as the last ones were, also of other columns with this pool."""
        for number, target in enumerate(self._tables.targets):
            self._provide(target, *self._pool.sizes.get(number, (FIRST_ENTRIES, FIRST_BYTES)))
        self._is_provided = True

    def _give_up(self) -> None:
        """Hold no buffers any more; those lent to Arrow arrays come back to the pool by themselves."""
        for number, at in enumerate(self._tables.address[id(target)] for target in self._tables.targets):
            num_bytes = len(self._data[at]) if at in self._data else 0
            self._pool.sizes[number] = self._tables.get(at + layout.TARGET_CAPACITY), num_bytes
        for held in (self._valid, self._data, self._offsets):
            held.clear()
        self._is_provided = False

    def _point(self, target: Target, capacity: int) -> None:
        tables = self._tables
        at = tables.address[id(target)]
        tables.put(at + layout.TARGET_CAPACITY, capacity)
        tables.put(at + layout.TARGET_VALID, int(self._valid[at].ctypes.data))
        if at in self._data:
            tables.put(at + layout.TARGET_DATA, int(self._data[at].ctypes.data))
            tables.put(at + layout.TARGET_DATA_CAPACITY, len(self._data[at]))
        if at in self._offsets:
            tables.put(at + layout.TARGET_OFFSETS, int(self._offsets[at].ctypes.data))

    def _arrays(self, scope: Scope, num_rows: int) -> list[pa.Array]:
        return [self._array(target, num_rows) for target in scope.targets]

    def _array(self, target: Target, length: int) -> pa.Array:
        at = self._tables.address[id(target)]
        type_ = arrow_type(target.type)
        valid = None
        if target.nullable:
            flags = self._valid[at][:length]
            if not flags.all():
                valid = pa.py_buffer(np.packbits(flags, bitorder="little"))
        if target.kind in (layout.STRUCT, layout.ANY_OF):
            assert target.inner is not None
            children = self._arrays(target.inner, length)
            return pa.Array.from_buffers(type_, length, [valid], children=children)
        if target.kind == layout.LIST:
            assert target.inner is not None
            num_elements = int(self._offsets[at][length])
            children = self._arrays(target.inner, num_elements)
            if target.fixed >= 0:
                return pa.Array.from_buffers(type_, length, [valid], children=children)
            offsets = self._pool.lend(self._offsets[at], length + 1)
            return pa.Array.from_buffers(type_, length, [valid, offsets], children=children)
        if target.kind in VARIABLE:
            offsets = self._pool.lend(self._offsets[at], length + 1)
            data = self._pool.lend(self._data[at], int(self._offsets[at][length]))
            return pa.Array.from_buffers(type_, length, [valid, offsets, data])
        if target.kind == layout.BOOL:
            bits = pa.py_buffer(np.packbits(self._data[at][:length], bitorder="little"))
            return pa.Array.from_buffers(type_, length, [valid, bits])
        width = self._tables.get(at + layout.TARGET_WIDTH)
        data = self._pool.lend(self._data[at], length * width)
        return pa.Array.from_buffers(type_, length, [valid, data])
