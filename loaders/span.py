"""Buffers of many shards as one array, so that rows of any shards are gathered by one call.

Every shard of a column is a mapping of its own somewhere in the address space. A `Span` is a NumPy array that
starts at the lowest of them and ends after the highest; where shard s begins in it is `starts[s]`. Between
the shards lies memory that is not ours and that nobody touches: every index is computed from a shard number
and a row that were checked against the manifest. What is gained: `np.take` copies rows of a hundred shards in
one call that holds no lock, in the order asked for, straight into the output.

An element of a span is a row, or the largest part of a row that divides the distances between the shards;
mappings begin at pages and headers are multiples of 64 bytes, so a part is at least 64 bytes of any row whose
size is a multiple of that, and in practice a page.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from loaders.runs import flat_index

NATIVE: dict[int, type[np.unsignedinteger[Any]]] = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}
MAX_PARTS = 16  # of a row; beyond this, copying part by part is slower than copying twice
MIN_PART_BYTES = 1024  # larger parts may be as many as they like


class _Memory:
    """Hands an address to NumPy and keeps alive what is mapped there."""

    def __init__(self, address: int, num_bytes: int, owner: object) -> None:
        self.owner = owner
        self.__array_interface__ = {
            "data": (address, True),
            "shape": (num_bytes,),
            "typestr": "|u1",
            "version": 3,
        }


@dataclass(frozen=True, slots=True)
class Buffer:
    """Bytes of one shard: where they are, how many, and the object that keeps them mapped."""

    address: int
    num_bytes: int
    owner: object

    @classmethod
    def of_array(cls, array: npt.NDArray[Any]) -> Buffer:
        """Take the address of a C-contiguous array."""
        return cls(array.__array_interface__["data"][0], array.nbytes, array)


@dataclass(frozen=True, slots=True)
class Span:
    """One array over the buffers of all shards that are open.

    Attributes
    ----------
    parts
        The array; shape (n,) where a part is one machine word, else (n, part_bytes) uint8. Read-only.
    starts
        Index in `parts` at which each shard begins; int64, -1 for a shard that is not open.
    parts_per_row
        How many parts make one row.
    bounds
        Addresses between which `parts` lies.
    """

    parts: npt.NDArray[Any]
    starts: npt.NDArray[np.int64]
    parts_per_row: int
    bounds: tuple[int, int]

    def index(
        self, shards: npt.NDArray[np.int64] | int, rows: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int64]:
        """Give the first part of `rows`, numbered within their shards."""
        found: npt.NDArray[np.int64] = self.starts[shards] + rows * self.parts_per_row
        return found

    def take(self, index: npt.NDArray[np.int64], out: npt.NDArray[np.uint8]) -> None:
        """Copy the rows whose first part is at `index` into `out`, uint8 of shape (len(index), row_bytes).

        `out` should lie outside of `bounds`, or NumPy copies twice.
        """
        np.take(self.parts, self._every(index), axis=0, out=as_parts(out, self.parts), mode="clip")

    def taken(self, index: npt.NDArray[np.int64], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        """Copy the rows whose first part is at `index` into a new flat array."""
        return np.take(self.parts, self._every(index), axis=0, mode="clip").reshape(-1).view(dtype)

    def taken_runs(
        self, index: npt.NDArray[np.int64], bounds: npt.NDArray[np.int64], dtype: np.dtype[Any]
    ) -> npt.NDArray[Any]:
        """Copy runs of rows, whose first part is at `index`, into a new flat array; they end at `bounds`."""
        parts = flat_index(index, bounds * self.parts_per_row)
        return np.take(self.parts, parts, axis=0, mode="clip").reshape(-1).view(dtype)

    def _every(self, index: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        if self.parts_per_row == 1:
            return index
        return (index[:, None] + np.arange(self.parts_per_row)).reshape(-1)


def as_parts(out: npt.NDArray[np.uint8], parts: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """View a contiguous byte buffer as an array of the parts' dtype and trailing shape."""
    flat = out.reshape(-1)
    return flat.view(parts.dtype) if parts.ndim == 1 else flat.reshape(-1, parts.shape[1])


class Spanned:
    """The buffers of shards that are opened one after the other, and one `Span` over those that are open.

    Parameters
    ----------
    num_shards
        How many shards the column has.
    row_bytes
        Bytes of one row, at least 1.

    Notes
    -----
    Shards are added by one thread at a time; any thread may ask for the span, of shards added before.
    """

    def __init__(self, num_shards: int, row_bytes: int) -> None:
        self._row_bytes = self._part_bytes = row_bytes
        self._origin = self._num_known = 0
        self._buffers: dict[int, Buffer] = {}
        self._addresses = np.zeros(num_shards, np.int64)
        self._ends = np.zeros(num_shards, np.int64)
        self._laid: tuple[int, Span | None] = (0, None)

    def __bool__(self) -> bool:
        """Whether there is any buffer."""
        return bool(self._buffers)

    def add(self, number: int, buffer: Buffer) -> None:
        """Add the buffer of a shard."""
        self._origin = self._origin or buffer.address
        self._part_bytes = math.gcd(self._part_bytes, buffer.address - self._origin)
        self._buffers[number] = buffer
        self._addresses[number], self._ends[number] = buffer.address, buffer.address + buffer.num_bytes
        self._num_known += 1

    @property
    def span(self) -> Span | None:
        """One array over all buffers; None without any, or when copying by shard is faster.

        It is, when rows can only be cut into many small parts.
        """
        laid, num_known = self._laid, self._num_known
        if laid[0] != num_known:
            laid = self._laid = (num_known, self._lay())
        return laid[1]

    def _lay(self) -> Span | None:
        part_bytes = self._part_bytes
        parts_per_row = self._row_bytes // part_bytes
        if parts_per_row > MAX_PARTS and part_bytes < MIN_PART_BYTES:
            return None
        known = self._ends > 0
        low, high = int(self._addresses[known].min()), int(self._ends.max())
        num_parts = (high - low) // part_bytes
        memory = np.asarray(_Memory(low, num_parts * part_bytes, self._buffers))
        word = NATIVE.get(part_bytes)
        parts: npt.NDArray[Any] = memory.reshape(num_parts, part_bytes)
        if word is not None and low % part_bytes == 0:
            parts = memory.view(word)
        starts = np.where(known, (self._addresses - low) // part_bytes, -1)
        return Span(parts, starts, parts_per_row, (low, high))


def alias(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Give an array over the same read-only memory that does not say so.

    torch has no read-only tensors and warns, once for each, when it is given a read-only array. Whoever asks
    for views of mapped files has been told that writing to them ends the process.
    """
    memory = _Memory(array.__array_interface__["data"][0], array.nbytes, array)
    memory.__array_interface__["data"] = (array.__array_interface__["data"][0], False)
    return np.asarray(memory).view(array.dtype).reshape(array.shape)
