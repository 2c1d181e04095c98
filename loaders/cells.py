"""Gathered values as flat buffers, and what they become: tensors, Python values, Arrow arrays.

Every class holds the cells of some rows of one node of a column. `slice` gives a run of rows without a copy,
`python` gives Python values (None where a value is null), `arrow` gives an Arrow array.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Present: TypeAlias = "npt.NDArray[np.bool_] | None"


@dataclass(frozen=True, slots=True)
class Fixed:
    """Values of one shape: `values` (n, ...); `present` is None when none is null."""

    values: npt.NDArray[Any]
    present: Present

    def __len__(self) -> int:
        """Rows."""
        return len(self.values)

    def slice(self, start: int, stop: int) -> Fixed:
        """Rows `start` to `stop`, a view."""
        return Fixed(self.values[start:stop], _cut(self.present, start, stop))

    def python(self) -> list[Any]:
        """Numbers and booleans; bytes for fixed binaries."""
        values = [row.tobytes() for row in self.values] if self.values.ndim > 1 else self.values.tolist()
        return _with_nulls(values, self.present)

    def arrow(self, dtype: pa.DataType) -> pa.Array:
        """An array of `dtype`."""
        if pa.types.is_null(dtype):
            return pa.nulls(len(self))
        if pa.types.is_boolean(dtype):
            return pa.array(self.values, dtype, mask=None if self.present is None else ~self.present)
        buffers = [_bits(self.present), pa.py_buffer(np.ascontiguousarray(self.values))]
        return pa.Array.from_buffers(dtype, len(self), buffers)


@dataclass(frozen=True, slots=True)
class Text:
    """Strings or binaries: `values` uint8 end to end, row i from `bounds[i]` to `bounds[i + 1]`."""

    values: npt.NDArray[np.uint8]
    bounds: npt.NDArray[np.int64]
    present: Present
    is_string: bool

    def __len__(self) -> int:
        """Rows."""
        return len(self.bounds) - 1

    def slice(self, start: int, stop: int) -> Text:
        """Rows `start` to `stop`, a view."""
        values, bounds = _cut_runs(self.values, self.bounds, start, stop)
        return Text(values, bounds, _cut(self.present, start, stop), self.is_string)

    def python(self) -> list[Any]:
        """`str` or `bytes`."""
        whole = self.values.tobytes()
        edges = self.bounds.tolist()
        pairs = itertools.pairwise(edges)
        if not self.is_string:
            return _with_nulls([whole[low:high] for low, high in pairs], self.present)
        if whole.isascii():
            text = whole.decode("ascii")
            return _with_nulls([text[low:high] for low, high in pairs], self.present)
        return _with_nulls([whole[low:high].decode() for low, high in pairs], self.present)

    def arrow(self, dtype: pa.DataType) -> pa.Array:
        """An array of `dtype`."""
        large = pa.large_string() if self.is_string else pa.large_binary()
        buffers = [_bits(self.present), pa.py_buffer(self.bounds), pa.py_buffer(self.values)]
        return pa.Array.from_buffers(large, len(self), buffers).cast(dtype)


@dataclass(frozen=True, slots=True)
class Ragged:
    """Lists of any length: elements end to end, list i from `bounds[i]` to `bounds[i + 1]`."""

    elements: Cells
    bounds: npt.NDArray[np.int64]
    present: Present

    def __len__(self) -> int:
        """Rows."""
        return len(self.bounds) - 1

    def slice(self, start: int, stop: int) -> Ragged:
        """Rows `start` to `stop`, a view."""
        low, high = int(self.bounds[start]), int(self.bounds[stop])
        return Ragged(
            self.elements.slice(low, high),
            self.bounds[start : stop + 1] - low,
            _cut(self.present, start, stop),
        )

    def python(self) -> list[Any]:
        """A list of lists."""
        flat, edges = self.elements.python(), self.bounds.tolist()
        return _with_nulls([flat[low:high] for low, high in itertools.pairwise(edges)], self.present)

    def arrow(self, dtype: pa.DataType) -> pa.Array:
        """An array of `dtype`."""
        width = np.int64 if pa.types.is_large_list(dtype) else np.int32
        buffers = [_bits(self.present), pa.py_buffer(self.bounds.astype(width))]
        child = self.elements.arrow(dtype.value_type)
        return pa.Array.from_buffers(dtype, len(self), buffers, children=[child])


@dataclass(frozen=True, slots=True)
class FixedList:
    """Lists of `size` elements each, end to end."""

    elements: Cells
    size: int
    present: Present

    def __len__(self) -> int:
        """Rows."""
        return len(self.elements) // self.size

    def slice(self, start: int, stop: int) -> FixedList:
        """Rows `start` to `stop`, a view."""
        part = self.elements.slice(start * self.size, stop * self.size)
        return FixedList(part, self.size, _cut(self.present, start, stop))

    def python(self) -> list[Any]:
        """A list of lists."""
        flat = self.elements.python()
        rows = [flat[low : low + self.size] for low in range(0, len(flat), self.size)]
        return _with_nulls(rows, self.present)

    def arrow(self, dtype: pa.DataType) -> pa.Array:
        """An array of `dtype`."""
        child = self.elements.arrow(dtype.value_type)
        return pa.Array.from_buffers(dtype, len(self), [_bits(self.present)], children=[child])


@dataclass(frozen=True, slots=True)
class Record:
    """Dicts: one node a member."""

    members: Mapping[str, Cells]
    num_rows: int
    present: Present

    def __len__(self) -> int:
        """Rows."""
        return self.num_rows

    def slice(self, start: int, stop: int) -> Record:
        """Rows `start` to `stop`, a view."""
        members = {name: member.slice(start, stop) for name, member in self.members.items()}
        return Record(members, stop - start, _cut(self.present, start, stop))

    def python(self) -> list[Any]:
        """A list of dicts."""
        names = tuple(self.members)
        columns = [member.python() for member in self.members.values()]
        if not names:
            return _with_nulls([{} for _ in range(self.num_rows)], self.present)
        rows = [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]
        return _with_nulls(rows, self.present)

    def arrow(self, dtype: pa.DataType) -> pa.Array:
        """An array of `dtype`."""
        children = [self.members[member.name].arrow(member.type) for member in dtype]
        return pa.Array.from_buffers(dtype, len(self), [_bits(self.present)], children=children)


Cells: TypeAlias = Fixed | Text | Ragged | FixedList | Record


def _cut(present: Present, start: int, stop: int) -> Present:
    return None if present is None else present[start:stop]


def _cut_runs(
    values: npt.NDArray[Any], bounds: npt.NDArray[np.int64], start: int, stop: int
) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    low = bounds[start]
    return values[low : bounds[stop]], bounds[start : stop + 1] - low


def _with_nulls(values: list[Any], present: Present) -> list[Any]:
    if present is None:
        return values
    return [value if there else None for value, there in zip(values, present.tolist(), strict=True)]


def _bits(present: Present) -> pa.Buffer | None:
    return None if present is None else pa.py_buffer(np.packbits(present, bitorder="little"))
