"""Output memory that is used again once nobody holds the batch that lies in it.

Fresh memory costs a page fault for every 4 KiB before the first byte is copied. A block of a pool goes out as
a tensor that owns it like any other: it may be kept, sliced and written to. When the last tensor or array
that shares it is gone, the block is free for the next batch. Nothing is ever overwritten under a user.

Blocks begin at pages, and large ones ask for huge pages. An allocator's block begins 16 bytes after one,
which makes copies of rows a fifth slower (docs/decisions/0505).
"""

from __future__ import annotations

import math
import mmap
import weakref
from collections import defaultdict
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

SMALL_BYTES = 1 << 15  # below this the allocator is as fast
STEP_BYTES = 1 << 16
HUGE_BYTES = 1 << 22  # from here on blocks ask for huge pages
MAX_HOLES = 16
MAX_FREE_BYTES = 64 << 20  # of blocks that wait, at least two of whatever size


class Pool:
    """Blocks of host memory, pinned on request.

    Parameters
    ----------
    pinned
        Whether blocks are page-locked for asynchronous copies to a CUDA device.

    Notes
    -----
    Safe from any thread. After fork, a child sees its own copy.
    """

    def __init__(self, *, pinned: bool = False) -> None:
        self.pinned = pinned
        self._max_free_bytes = MAX_FREE_BYTES  # here, as blocks come back even while modules are torn down
        self._free: dict[int, list[npt.NDArray[np.uint8]]] = defaultdict(list)
        self._out: dict[int, tuple[weakref.ref[Any], npt.NDArray[np.uint8]]] = {}

    def tensor(
        self, shape: tuple[int, ...], dtype: np.dtype[Any], apart: tuple[int, int] = (0, 0)
    ) -> tuple[torch.Tensor, npt.NDArray[Any]]:
        """Give uninitialised memory, as a tensor and as the array that shares it.

        Where possible it lies outside of the addresses `apart`: NumPy copies twice into an output that could
        overlap what it reads, and a span of shards has holes in which blocks would otherwise lie.
        """
        num_bytes = dtype.itemsize * math.prod(shape)
        if num_bytes < SMALL_BYTES and not self.pinned:
            array = np.empty(shape, dtype)
            return torch.from_numpy(array), array
        block = self._apart(block_size(num_bytes), *apart)
        array = block[:num_bytes].view(dtype).reshape(shape)
        # the tensor holds this very array object; its end is the end of the last tensor over the block
        reference = weakref.ref(array, self._take_back)
        self._out[id(reference)] = (reference, block)
        return torch.from_numpy(array), array

    def _apart(self, size: int, low: int, high: int) -> npt.NDArray[np.uint8]:
        """Give a block outside of these addresses, or any after some tries."""
        filled = []  # holes are filled until the system finds another place
        for _ in range(MAX_HOLES):
            try:
                block = self._free[size].pop()
            except IndexError:
                block = self._block(size)
            address = block.__array_interface__["data"][0]
            if address + size <= low or address >= high:
                break
            filled.append(block)
        return block

    def zeros(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[torch.Tensor, npt.NDArray[Any]]:
        """Give memory filled with zeros."""
        tensor, array = self.tensor(shape, dtype)
        array.fill(0)
        return tensor, array

    def _block(self, size: int) -> npt.NDArray[np.uint8]:
        if not self.pinned:
            memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            if size >= HUGE_BYTES and hasattr(mmap, "MADV_HUGEPAGE"):
                memory.madvise(mmap.MADV_HUGEPAGE)
            return np.frombuffer(memory, np.uint8)
        block: npt.NDArray[np.uint8] = torch.empty(size, dtype=torch.uint8, pin_memory=True).numpy()
        return block

    def _take_back(self, reference: weakref.ref[Any]) -> None:
        _, block = self._out.pop(id(reference))
        size = len(block)
        waiting = sum(other * len(blocks) for other, blocks in list(self._free.items()))
        if waiting + size > self._max_free_bytes:
            if len(self._free[size]) > 1:
                return
            for other in [other for other in list(self._free) if other != size]:  # went out of use
                self._free.pop(other, None)
        self._free[size].append(block)

    def __getstate__(self) -> dict[str, Any]:
        """Pickle without memory."""
        return {"pinned": self.pinned}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Begin empty."""
        self.__init__(pinned=state["pinned"])  # type: ignore[misc]


def block_size(num_bytes: int) -> int:
    """Round up by at most an eighth, so that batches of nearly one size share blocks."""
    step = max(STEP_BYTES, 1 << max(num_bytes.bit_length() - 4, 0))
    return max(-(-num_bytes // step), 1) * step
