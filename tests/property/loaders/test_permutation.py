"""The keyed permutation: a bijection for any size and key, without visible pattern, the same for ever."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loaders.permutation import SMALL, Permutation, hashes, key_of, splitmix64


@settings(max_examples=60, deadline=None)
@given(size=st.integers(1, 40_000), key=st.integers(0, 2**64 - 1))
def test_bijection(size: int, key: int) -> None:
    rows = Permutation(size, key)(np.arange(size))
    assert rows.dtype == np.int64
    assert np.array_equal(np.sort(rows), np.arange(size))


@settings(max_examples=40, deadline=None)
@given(size=st.integers(1, 2**61), key=st.integers(0, 2**64 - 1), data=st.data())
def test_any_position_of_any_size(size: int, key: int, data: st.DataObject) -> None:
    positions = np.array(data.draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=20)))
    permutation = Permutation(size, key)
    rows = permutation(positions)
    assert ((rows >= 0) & (rows < size)).all()
    assert rows.tolist() == [int(permutation(positions[k : k + 1])[0]) for k in range(len(positions))]
    assert len(set(rows.tolist())) == len(set(positions.tolist()))


@pytest.mark.parametrize("size", [SMALL, SMALL + 1, 5000, 2**16, 2**16 + 1, 1_000_003])
def test_looks_uniform(size: int) -> None:
    """Steps between neighbours, where a row goes, and correlations stay within what chance allows."""
    num_keys = 24
    statistics = []
    correlations = []
    for number in range(num_keys):
        rows = Permutation(size, key_of(number, 0))(np.arange(size))
        steps = np.diff(rows) % size
        counts = np.histogram(steps, 32, (0, size))[0]
        expected = (size - 1) / 32
        statistics.append(((counts - expected) ** 2 / expected).sum())
        correlations += [
            np.corrcoef(rows[:-lag], rows[lag:])[0, 1] * np.sqrt(size) for lag in (1, 2, 64, 256)
        ]
    assert np.mean(statistics) < 31 + 6 * np.sqrt(2 * 31 / num_keys)  # chi squared of 31 degrees
    assert np.std(correlations) < 1.6
    assert abs(np.mean(correlations)) < 5 / np.sqrt(len(correlations))


def test_every_place_for_every_row() -> None:
    """Over many keys each row goes to each place about equally often, in tables and in mixings."""
    for size, places in ((8, 8), (SMALL + 76, 11)):
        counts = np.zeros((places, places))
        for key in range(4000):
            rows = Permutation(size, key_of(key))(np.arange(0, size, size // places))
            counts[np.arange(places), rows[:places] * places // size] += 1
        expected = 4000 / places
        assert np.abs(counts - expected).max() < 6 * np.sqrt(expected)


def test_stays_the_same() -> None:
    """An order written down today is read in every later version."""
    assert Permutation(10, key_of(0, 0))(np.arange(10)).tolist() == [9, 6, 4, 1, 3, 7, 0, 2, 5, 8]
    assert Permutation(2_000_000, key_of(1, 2))(np.arange(4)).tolist() == [393725, 1682007, 297220, 931624]
    assert splitmix64(0) == 0xE220A8397B1DCDAF  # the published first output
    assert hashes(np.array([0], np.uint64), 0)[0] == 0xE220A8397B1DCDAF


def test_refuses_sizes() -> None:
    for size in (0, -1, 2**62):
        with pytest.raises(ValueError, match="allowed 1 to"):
            Permutation(size, 0)


def test_keys_differ() -> None:
    parts = [(0,), (0, 0), (0, 1), (1, 0), (-1,), (2**64,), (2**64 + 1,), (-(2**70),)]
    assert len({key_of(*part) for part in parts}) == len(parts)
