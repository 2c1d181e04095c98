"""Numbers are sorted, and repeated hashes found, as the plain way does it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from assets.columns.duplicates import find_duplicates, find_leaks
from assets.columns.sorting import sorted_finite

DTYPES = ["<f2", "<f4", "<f8", "|i1", "<i2", "<i4", "<i8", "|u1", "<u2", "<u4", "<u8", "|b1"]


@given(st.data(), st.sampled_from(DTYPES), st.integers(0, 200))
def test_finite_numbers_are_sorted(data: Any, dtype: str, num_rows: int) -> None:
    values = data.draw(arrays.arrays(dtype, num_rows))
    rows = data.draw(arrays.arrays(np.bool_, num_rows))
    for wanted in (None, rows):
        picked = (values if wanted is None else values[wanted]).astype(np.float64)
        assert np.array_equal(sorted_finite(values, wanted), np.sort(picked[np.isfinite(picked)]))


def test_columns_of_a_matrix_are_sorted() -> None:
    matrix = np.random.default_rng(0).normal(size=(1_000, 3)).astype(np.float32)
    assert np.array_equal(sorted_finite(matrix[:, 1]), np.sort(matrix[:, 1]).astype(np.float64))


@pytest.mark.parametrize("num_rows", [0, 1, 2, 5_000])
@pytest.mark.parametrize("crowd", [False, True])
def test_repeated_hashes_are_found(num_rows: int, crowd: bool) -> None:
    rng = np.random.default_rng(num_rows)
    hashes = np.unique(rng.integers(0, 2**64, num_rows, np.uint64))
    if crowd:  # all in one place of one table: no honest hashes, but still told apart
        hashes = np.arange(len(hashes), dtype=np.uint64) << np.uint64(30)
    rng.shuffle(hashes)
    splits = rng.integers(-1, 3, len(hashes)).astype(np.int8)
    everything = np.ones(len(hashes), np.bool_)
    assert find_leaks(hashes, splits, ("a", "b", "c"), 10).num_contents == 0
    assert len(find_duplicates(hashes, hashes, everything).rows) == 0
    if num_rows < 2:
        return
    low = np.append(hashes, hashes[:1])
    found = find_duplicates(low, low, np.append(everything, True))
    assert (found.rows.tolist(), found.firsts.tolist()) == ([len(hashes)], [0])
    leaks = find_leaks(low, np.append(np.zeros(len(hashes), np.int8), np.int8(1)), ("a", "b", "c"), 10)
    assert (leaks.num_contents, leaks.pairs) == (1, {"a|b": 1})
