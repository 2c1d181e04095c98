"""Arrow arrays of many shards, gathered by rows with NumPy alone.

An Arrow array is a tree of flat buffers. Each class here holds one node of that tree over all open shards and
gathers rows of it; the results are flat buffers again (see `loaders.cells`). No Python object is made per
row here, and no lock is held while values are copied. Shards are added when they are opened.
"""

from __future__ import annotations

from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from loaders import cells
from loaders.errors import InvalidOption
from loaders.runs import copy_runs, flat_index
from loaders.span import Buffer, Span, Spanned
from shards import dictionaries

Rows: TypeAlias = npt.NDArray[np.int64]
Shards: TypeAlias = "npt.NDArray[np.int64] | int"

LONG = 32  # elements of an average list from which on lists are not copied before their form is known


class Node(Protocol):
    """One node of a tree of Arrow arrays; rows are gathered by any thread, shards added by one at a time."""

    def add(self, number: int, array: pa.Array) -> None:
        """Add a shard."""
        ...

    def gather(self, shards: Shards, rows: Rows) -> cells.Cells:
        """Copy `rows`, numbered within `shards` (one for all rows, or one a row)."""
        ...


def node(dtype: pa.DataType, num_shards: int) -> Node:
    """Build the tree of a column of so many shards, none of them open."""
    if pa.types.is_struct(dtype):
        return _StructNode(dtype, num_shards)
    if pa.types.is_fixed_size_list(dtype):
        return _FixedListNode(dtype, num_shards)
    if pa.types.is_list(dtype) or pa.types.is_large_list(dtype):
        return _ListNode(dtype, num_shards)
    if is_text(dtype):
        return _TextNode(dtype, num_shards)
    if pa.types.is_boolean(dtype):
        return _BoolNode(num_shards)
    if pa.types.is_null(dtype):
        return _NullNode()
    return _FixedNode(dtype, num_shards)


def is_text(dtype: pa.DataType) -> bool:
    """Whether values of the type are runs of bytes: strings and binaries of any length."""
    return bool(
        pa.types.is_string(dtype)
        or pa.types.is_large_string(dtype)
        or pa.types.is_binary(dtype)
        or pa.types.is_large_binary(dtype)
    )


def numpy_dtype(dtype: pa.DataType) -> np.dtype[Any]:
    """Give the dtype in which values of a fixed width lie: times as integers, fixed binaries as bytes."""
    if pa.types.is_timestamp(dtype):
        return np.dtype("<i8")
    if pa.types.is_date32(dtype):
        return np.dtype("<i4")
    if pa.types.is_fixed_size_binary(dtype):
        return np.dtype("|u1")
    if pa.types.is_floating(dtype):
        return np.dtype(f"<f{dtype.bit_width // 8}")
    if pa.types.is_integer(dtype):  # by its width: asking an array for its dtype would import pandas
        return np.dtype(f"<{'i' if pa.types.is_signed_integer(dtype) else 'u'}{dtype.bit_width // 8}")
    raise InvalidOption(f"values of Arrow type {dtype} cannot be loaded")


class _Bits:
    """The validity (or the values) of a node, one bit a row."""

    def __init__(self, position: int, num_shards: int) -> None:
        self._position = position
        self._first = np.zeros(num_shards, np.int64)
        self._always = np.ones(num_shards, np.bool_)
        self.bytes = Spanned(num_shards, 1)

    def add(self, number: int, array: pa.Array) -> None:
        """Add a shard."""
        buffer = array.buffers()[self._position]
        if buffer is not None and buffer.size and (self._position or array.null_count):
            self.bytes.add(number, Buffer(buffer.address, buffer.size, array))
            self._first[number] = array.offset
            self._always[number] = False

    def gather(self, shards: Shards, rows: Rows) -> npt.NDArray[np.bool_] | None:
        """Copy bits as booleans; None when all are set."""
        span = self.bytes.span
        if span is None or bool(np.all(self._always[shards])):
            return None
        bits = rows + self._first[shards]
        index = span.starts[shards] + (bits >> 3)
        set_always = self._always[shards]
        if np.any(set_always):  # such shards have no bits; any byte of the span will do
            index = np.where(set_always, span.starts.max(), index)
        found = np.take(span.parts, index, mode="clip") >> (bits & 7).astype(np.uint8) & 1
        are_set: npt.NDArray[np.bool_] = found.astype(np.bool_) | set_always
        return None if are_set.all() else are_set


class _FixedNode:
    """Values of a fixed width."""

    def __init__(self, dtype: pa.DataType, num_shards: int) -> None:
        self.dtype = numpy_dtype(dtype)
        self.shape = (dtype.byte_width,) if pa.types.is_fixed_size_binary(dtype) else ()
        self._row_bytes = dtype.bit_width // 8
        self._values = Spanned(num_shards, self._row_bytes)
        self._bits = _Bits(0, num_shards)

    def add(self, number: int, array: pa.Array) -> None:
        """Add a shard."""
        self._bits.add(number, array)
        if len(array):
            start = array.buffers()[1].address + array.offset * self._row_bytes
            self._values.add(number, Buffer(start, len(array) * self._row_bytes, array))

    def _span(self) -> Span:
        found = self._values.span
        if found is None:  # buffers are aligned to 8 bytes, so only an odd width of many bytes comes here
            raise InvalidOption(
                f"fixed binaries of {self._row_bytes} bytes over several shards cannot be loaded"
            )
        return found

    def gather(self, shards: Shards, rows: Rows) -> cells.Cells:
        """Copy rows."""
        if not len(rows):
            return cells.Fixed(np.empty((0, *self.shape), self.dtype), None)
        span = self._span()
        values = span.taken(span.index(shards, rows), self.dtype).reshape(len(rows), *self.shape)
        return cells.Fixed(values, self._bits.gather(shards, rows))

    def runs(
        self, shards: Shards, starts: Rows, bounds: Rows, present: cells.Present
    ) -> cells.Runs | cells.Ragged:
        """Give runs of rows: `bounds[i+1] - bounds[i]` rows from `starts[i]`."""
        if not bounds[-1]:
            return cells.Ragged(cells.Fixed(np.empty((0, *self.shape), self.dtype), None), bounds, present)
        span = self._span()
        index = span.index(shards, starts)
        if span.parts.ndim == 1 and not self.shape and bounds[-1] >= LONG * len(starts):
            return cells.Runs(span.parts.view(self.dtype), index, np.diff(bounds), present)
        values = span.taken_runs(index, bounds, self.dtype).reshape(-1, *self.shape)
        return cells.Ragged(cells.Fixed(values, None), bounds, present)

    def has_nulls(self) -> bool:
        """Whether any open shard has nulls."""
        return bool(self._bits.bytes)


class _BoolNode:
    """Booleans, one bit each."""

    def __init__(self, num_shards: int) -> None:
        self._values, self._bits = _Bits(1, num_shards), _Bits(0, num_shards)

    def add(self, number: int, array: pa.Array) -> None:
        """Add a shard."""
        self._values.add(number, array)
        self._bits.add(number, array)

    def gather(self, shards: Shards, rows: Rows) -> cells.Cells:
        """Copy rows."""
        values = self._values.gather(shards, rows)
        return cells.Fixed(
            np.ones(len(rows), np.bool_) if values is None else values, self._bits.gather(shards, rows)
        )


class _NullNode:
    """Nothing but nulls."""

    def add(self, number: int, array: pa.Array) -> None:
        """Add nothing."""

    def gather(self, shards: Shards, rows: Rows) -> cells.Cells:
        """Give as many nulls."""
        return cells.Fixed(np.zeros(len(rows), np.bool_), np.zeros(len(rows), np.bool_))


class _Offsets:
    """The offsets of lists and texts."""

    def __init__(self, num_shards: int, width: int) -> None:
        self._width = width
        self._dtype = np.dtype(f"<i{width}")
        self._values = Spanned(num_shards, width)

    def add(self, number: int, array: pa.Array) -> None:
        """Add a shard."""
        if len(array):
            start = array.buffers()[1].address + array.offset * self._width
            self._values.add(number, Buffer(start, (len(array) + 1) * self._width, array))

    def gather(self, shards: Shards, rows: Rows) -> tuple[Rows, Rows]:
        """Give where each row starts, and the bounds of the rows once they lie end to end."""
        bounds = np.zeros(len(rows) + 1, np.int64)
        span = self._values.span
        if span is None or not len(rows):
            return np.zeros(len(rows), np.int64), bounds
        index = span.starts[shards] + rows
        offsets = span.parts.view(self._dtype)
        starts = np.take(offsets, index, mode="clip").astype(np.int64, copy=False)
        stops = np.take(offsets, index + 1, mode="clip")
        np.cumsum(stops - starts, out=bounds[1:])
        return starts, bounds


class _Codes:
    """The numbers by which rows of dictionary-encoded texts name their values; other shards have none."""

    def __init__(self, num_shards: int) -> None:
        self._indices = Spanned(num_shards, dictionaries.INDEX.byte_width)
        self._is_coded = np.zeros(num_shards, np.bool_)
        self._first = np.zeros(num_shards, np.int64)
        self._values: npt.NDArray[np.object_] = np.empty(0, object)
        self._num_values = 0
        self._shared: dict[str, str] = {}

    def add(self, number: int, array: pa.DictionaryArray) -> None:
        """Add a shard."""
        width = dictionaries.INDEX.byte_width
        start = array.indices.buffers()[1].address + array.offset * width
        self._indices.add(number, Buffer(start, len(array) * width, array))
        values = [self._shared.setdefault(value, value) for value in array.dictionary.to_pylist()]
        first, stop = self._num_values, self._num_values + len(values)
        if stop > len(self._values):  # doubled, as shards come one by one; who gathers now keeps the old one
            grown = np.empty(max(stop, 2 * len(self._values)), object)
            grown[:first] = self._values[:first]
            self._values = grown
        self._values[first:stop] = values
        self._first[number], self._num_values = first, stop
        self._is_coded[number] = True

    def coded(self, shards: Shards, rows: Rows, present: cells.Present) -> cells.Coded | None:
        """Give rows by number of their values; None unless all lie in shards that have them."""
        if not len(rows) or not bool(np.all(self._is_coded[shards])):
            return None
        return cells.Coded(self._first[shards] + self._gather(shards, rows, present), self._values, present)

    def places(self, shards: Shards, rows: Rows, present: cells.Present) -> Rows:
        """Give where the text of each row stands among those of its shard."""
        shards = np.broadcast_to(shards, rows.shape)
        here = np.flatnonzero(self._is_coded[shards])
        if not len(here):
            return rows
        found = rows.copy()
        within = None if present is None else present[here]
        found[here] = self._gather(shards[here], rows[here], within)
        return found

    def _gather(self, shards: Shards, rows: Rows, present: cells.Present) -> Rows:
        span = self._indices.span
        assert span is not None
        indices = np.take(span.parts.view(np.int16), span.starts[shards] + rows, mode="clip").astype(np.int64)
        if present is not None:
            indices[~present] = 0  # what a null has for an index is any number
        return indices


class _TextNode:
    """Strings or binaries."""

    def __init__(self, dtype: pa.DataType, num_shards: int) -> None:
        large = pa.types.is_large_string(dtype) or pa.types.is_large_binary(dtype)
        self._is_string = pa.types.is_string(dtype) or pa.types.is_large_string(dtype)
        self._codes = _Codes(num_shards)
        self._offsets = _Offsets(num_shards, 8 if large else 4)
        self._bits = _Bits(0, num_shards)
        self._bytes = Spanned(num_shards, 1)

    def add(self, number: int, array: pa.Array) -> None:
        """Add a shard; one with a dictionary adds the texts of that."""
        self._bits.add(number, array)
        if pa.types.is_dictionary(array.type):
            self._codes.add(number, array)
            array = array.dictionary
        self._offsets.add(number, array)
        buffer = array.buffers()[2]
        if buffer is not None and buffer.size:
            self._bytes.add(number, Buffer(buffer.address, buffer.size, array))

    def gather(self, shards: Shards, rows: Rows) -> cells.Cells:
        """Copy rows."""
        present = self._bits.gather(shards, rows)
        coded = self._codes.coded(shards, rows, present)
        if coded is not None:
            return coded
        starts, bounds = self._offsets.gather(shards, self._codes.places(shards, rows, present))
        lengths = np.diff(bounds)
        if self._is_string:
            bounds += np.arange(len(bounds))  # a gap of one byte after each, see `cells.Text`
        values = np.zeros(int(bounds[-1]), np.uint8)
        span = self._bytes.span
        if span is not None:
            copy_runs(span.parts, span.starts[shards] + starts, lengths, values, bounds[:-1])
        return cells.Text(values, bounds, present, self._is_string)


class _ListNode:
    """Lists of any length."""

    def __init__(self, dtype: pa.DataType, num_shards: int) -> None:
        self._offsets = _Offsets(num_shards, 8 if pa.types.is_large_list(dtype) else 4)
        self._bits = _Bits(0, num_shards)
        self._child = node(dtype.value_type, num_shards)

    def add(self, number: int, array: pa.Array) -> None:
        """Add a shard."""
        self._offsets.add(number, array)
        self._bits.add(number, array)
        self._child.add(number, array.values)

    def gather(self, shards: Shards, rows: Rows) -> cells.Cells:
        """Copy rows."""
        starts, bounds = self._offsets.gather(shards, rows)
        present = self._bits.gather(shards, rows)
        if isinstance(self._child, _FixedNode) and not self._child.has_nulls():
            return self._child.runs(shards, starts, bounds, present)
        child_shards = shards if isinstance(shards, int) else np.repeat(shards, np.diff(bounds))
        return cells.Ragged(self._child.gather(child_shards, flat_index(starts, bounds)), bounds, present)


class _FixedListNode:
    """Lists of one length."""

    def __init__(self, dtype: pa.DataType, num_shards: int) -> None:
        self._size = dtype.list_size
        self._bits = _Bits(0, num_shards)
        self._first = np.zeros(num_shards, np.int64)
        self._child = node(dtype.value_type, num_shards)

    def add(self, number: int, array: pa.Array) -> None:
        """Add a shard."""
        self._bits.add(number, array)
        self._first[number] = array.offset * self._size
        self._child.add(number, array.values)

    def gather(self, shards: Shards, rows: Rows) -> cells.Cells:
        """Copy rows."""
        first = rows * self._size + self._first[shards]
        flat = (first[:, None] + np.arange(self._size)).reshape(-1)
        child_shards = shards if isinstance(shards, int) else np.repeat(shards, self._size)
        found = self._child.gather(child_shards, flat)
        return cells.FixedList(found, self._size, self._bits.gather(shards, rows))


class _StructNode:
    """Records."""

    def __init__(self, dtype: pa.DataType, num_shards: int) -> None:
        self._bits = _Bits(0, num_shards)
        self._members: dict[str, Node] = {member.name: node(member.type, num_shards) for member in dtype}

    def add(self, number: int, array: pa.Array) -> None:
        """Add a shard."""
        self._bits.add(number, array)
        for position, member in enumerate(self._members.values()):
            member.add(number, array.field(position))

    def gather(self, shards: Shards, rows: Rows) -> cells.Cells:
        """Copy rows."""
        members = {name: member.gather(shards, rows) for name, member in self._members.items()}
        return cells.Record(members, len(rows), self._bits.gather(shards, rows))
