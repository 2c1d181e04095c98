"""One array over shards that are opened one after the other."""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from loaders.pool import Pool
from loaders.span import Buffer, Spanned


def shards(sizes: list[int], row_bytes: int) -> list[npt.NDArray[Any]]:
    """Make rows of bytes in maps of their own, behind a header of 64 bytes."""
    rng = np.random.default_rng(0)
    found = []
    for size in sizes:
        memory = np.frombuffer(mmap.mmap(-1, 64 + size * row_bytes), np.uint8)
        rows = memory[64:].reshape(size, row_bytes)
        rows[:] = rng.integers(0, 256, rows.shape, dtype=np.uint8)
        found.append(rows)
    return found


@pytest.mark.parametrize("row_bytes", [1, 4, 8, 64, 100, 147, 4096, 49152])
def test_rows_of_shards_that_are_opened_one_by_one(row_bytes: int) -> None:
    arrays = shards([5, 1, 9, 3], row_bytes)
    spanned = Spanned(len(arrays), row_bytes)
    assert spanned.span is None
    assert not spanned
    for number in (2, 0, 3, 1):
        before = spanned.span
        spanned.add(number, Buffer.of_array(arrays[number]))
        span = spanned.span
        if span is None:  # rows could only be cut into many small parts
            assert row_bytes in (100, 147)
            continue
        assert span is spanned.span
        assert span.starts[number] >= 0
        rows = np.arange(len(arrays[number]))[::-1].copy()
        out = np.empty((len(rows), row_bytes), np.uint8)
        span.take(span.index(number, rows), out)
        assert np.array_equal(out, arrays[number][rows])
        assert span.taken(span.index(number, rows), np.dtype(np.uint8)).tobytes() == out.tobytes()
        if before is not None:  # whoever holds it may go on
            index = before.index(2, np.array([4, 0]))
            assert before.taken(index, np.dtype(np.uint8)).tobytes() == arrays[2][[4, 0]].tobytes()


def test_outputs_lie_apart_from_what_is_read() -> None:
    pool = Pool()
    num_bytes = 1 << 20
    held = [pool.tensor((num_bytes,), np.dtype(np.uint8))[1] for _ in range(6)]
    places = sorted(array.__array_interface__["data"][0] for array in held)
    del held  # six blocks wait, four of them between these addresses
    low, high = places[1], places[-1]
    for _ in range(3):
        _, array = pool.tensor((num_bytes,), np.dtype(np.uint8), (low, high))
        address = array.__array_interface__["data"][0]
        assert address + num_bytes <= low or address >= high
