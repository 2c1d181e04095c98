"""Runs of any lengths are copied whole, and nothing beside them is touched."""

from __future__ import annotations

import numpy as np
import pytest

from loaders.runs import copy_runs

LENGTHS = {
    "none": [],
    "empty": [0, 0, 0],
    "one length": [24] * 50,
    "one of each": list(range(70)),
    "powers of two": [1, 2, 4, 8, 16, 32, 64, 3, 5, 9, 17, 33, 65, 7, 15, 31, 63, 0],
    "mostly short": [0, 1, 2] * 100 + [1000],
}


@pytest.mark.parametrize("dtype", ["|u1", "<i2", "<f4", "<i8"])
@pytest.mark.parametrize("kind", LENGTHS)
@pytest.mark.parametrize("gap", [0, 1, 5])
def test_runs(dtype: str, kind: str, gap: int) -> None:
    draw = np.random.default_rng(0)
    lengths = draw.permutation(np.array(LENGTHS[kind], np.int64))
    source = draw.integers(1, 100, 2 * int(lengths.sum()) + 1).astype(dtype)
    starts = draw.integers(0, len(source) - lengths, size=len(lengths))
    if len(starts):
        starts[-1] = len(source) - lengths[-1]  # up to the very end
    places = np.cumsum(lengths + gap) - lengths
    out = np.zeros(int((lengths + gap).sum()), dtype)
    source.flags.writeable = False
    expected = out.copy()
    for start, length, place in zip(starts, lengths, places, strict=True):
        expected[place : place + length] = source[start : start + length]
    copy_runs(source, starts, lengths, out, places)
    np.testing.assert_array_equal(out, expected)
