"""Gathered values as flat buffers, and what they become: tensors, Python values, Arrow arrays.

Every class holds the cells of some rows of one node of a column. `slice` gives a run of rows without a copy,
`python` gives Python values (None where a value is null), `arrow` gives an Arrow array.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from loaders.runs import flat_index

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
    """Strings or binaries: `values` uint8, row i from `bounds[i]` to `bounds[i + 1] - gap`.

    Strings have a gap of one byte, which is zero: then all of them are decoded, and cut, by one call each.
    Binaries lie end to end.
    """

    values: npt.NDArray[np.uint8]
    bounds: npt.NDArray[np.int64]
    present: Present
    is_string: bool

    @property
    def gap(self) -> int:
        """Bytes between a row and the next."""
        return int(self.is_string)

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
        if self.is_string:
            values: list[Any] = whole.decode().split("\0")
            if len(values) == len(self) + 1:
                values.pop()
                return _with_nulls(values, self.present)
        pairs = itertools.pairwise(self.bounds.tolist())
        if self.is_string:  # one of them has a zero of its own
            return _with_nulls([whole[low : high - 1].decode() for low, high in pairs], self.present)
        return _with_nulls([whole[low:high] for low, high in pairs], self.present)

    def arrow(self, dtype: pa.DataType) -> pa.Array:
        """An array of `dtype`."""
        values, bounds = self.values, self.bounds
        if self.gap:
            keep = np.ones(len(values), np.bool_)
            keep[bounds[1:] - 1] = False
            values, bounds = values[keep], bounds - np.arange(len(bounds))
        large = pa.large_string() if self.is_string else pa.large_binary()
        buffers = [_bits(self.present), pa.py_buffer(bounds), pa.py_buffer(values)]
        return pa.Array.from_buffers(large, len(self), buffers).cast(dtype)


@dataclass(frozen=True, slots=True)
class Coded:
    """Strings of few distinct values: row i is `values[codes[i]]`; rows share their objects."""

    codes: npt.NDArray[np.int64]
    values: npt.NDArray[np.object_]
    present: Present

    def __len__(self) -> int:
        """Rows."""
        return len(self.codes)

    def slice(self, start: int, stop: int) -> Coded:
        """Rows `start` to `stop`, a view."""
        return Coded(self.codes[start:stop], self.values, _cut(self.present, start, stop))

    def python(self) -> list[Any]:
        """`str`."""
        return _with_nulls(self.values.take(self.codes).tolist(), self.present)

    def arrow(self, dtype: pa.DataType) -> pa.Array:
        """An array of `dtype`."""
        return pa.array(self.python(), dtype)


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
class Runs:
    """Long lists of numbers that nobody has copied yet: list i is `source[starts[i]:]` of its length.

    They are copied once, to where they are wanted; `gathered` lays them end to end.
    """

    source: npt.NDArray[Any]
    starts: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]
    present: Present

    def __len__(self) -> int:
        """Rows."""
        return len(self.starts)

    def slice(self, start: int, stop: int) -> Runs:
        """Rows `start` to `stop`, a view."""
        part = slice(start, stop)
        return Runs(self.source, self.starts[part], self.lengths[part], _cut(self.present, start, stop))

    def gathered(self) -> Ragged:
        """Copy the values of all lists end to end."""
        bounds = np.zeros(len(self.lengths) + 1, np.int64)
        np.cumsum(self.lengths, out=bounds[1:])
        values = np.take(self.source, flat_index(self.starts, bounds), axis=0, mode="clip")
        return Ragged(Fixed(values, None), bounds, self.present)

    def python(self) -> list[Any]:
        """A list of lists."""
        return self.gathered().python()

    def arrow(self, dtype: pa.DataType) -> pa.Array:
        """An array of `dtype`."""
        return self.gathered().arrow(dtype)


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
        columns = [member.python() for member in self.members.values()]
        if not columns:
            return _with_nulls([{} for _ in range(self.num_rows)], self.present)
        return _with_nulls(_dict_maker(tuple(self.members))(*columns), self.present)

    def arrow(self, dtype: pa.DataType) -> pa.Array:
        """An array of `dtype`."""
        children = [self.members[member.name].arrow(member.type) for member in dtype]
        return pa.Array.from_buffers(dtype, len(self), [_bits(self.present)], children=children)


Cells: TypeAlias = Fixed | Text | Coded | Ragged | Runs | FixedList | Record


@lru_cache(maxsize=1024)
def _dict_maker(names: tuple[str, ...]) -> Callable[..., list[dict[str, Any]]]:
    """Compile a function that makes dicts of columns; six times as fast as `dict(zip(names, values))`.

    Names come from a schema and go into the source as string literals only.
    """
    arguments = ", ".join(f"c{number}" for number in range(len(names)))
    values = ", ".join(f"v{number}" for number in range(len(names)))
    members = ", ".join(f"{name!r}: v{number}" for number, name in enumerate(names))
    source = f"lambda {arguments}: [{{{members}}} for {values}, in zip({arguments}, strict=True)]"
    maker: Callable[..., list[dict[str, Any]]] = eval(source, {"zip": zip})
    return maker


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
