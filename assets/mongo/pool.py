"""Memory of columns that is used again: fresh pages are slow."""

from __future__ import annotations

import weakref

import numpy as np
import numpy.typing as npt
import pyarrow as pa


class Pool:
    """Buffers that come back when the last Arrow array over them is gone.

    Shared by columns of the same fields, one after another or in several threads.
    """

    def __init__(self) -> None:
        self._free: dict[int, list[npt.NDArray[np.uint8]]] = {}
        self._lent: dict[int, weakref.ref[npt.NDArray[np.generic]]] = {}
        self.sizes: dict[int, tuple[int, int]] = {}
        """Entries and variable bytes that the buffers of each target had last."""

    def take(self, num_bytes: int) -> npt.NDArray[np.uint8]:
        size = 1 << max(6, (num_bytes - 1).bit_length())
        try:
            return self._free[size].pop()
        except (KeyError, IndexError):  # another thread may have taken the last one
            return np.empty(size, np.uint8)

    def give(self, buffer: npt.NDArray[np.uint8]) -> None:
        self._free.setdefault(buffer.nbytes, []).append(buffer.view(np.uint8))

    def lend(self, buffer: npt.NDArray[np.generic], length: int) -> pa.Buffer:
        """A read-only Arrow buffer of the first entries, over the same memory."""
        lent = buffer[:length]

        def give_back(_: object, key: int = id(lent)) -> None:
            self._lent.pop(key, None)
            self.give(buffer.view(np.uint8))

        self._lent[id(lent)] = weakref.ref(lent, give_back)
        return pa.py_buffer(lent)
