"""The population stability index tells moved distributions from those that stayed."""

from __future__ import annotations

import numpy as np
import pytest

from assets.columns.stats.counts import Counts
from assets.columns.stats.histogram import Histogram
from assets.quality.drift import counts_psi, histogram_psi, psi


def histogram(values: np.ndarray) -> Histogram:
    return Histogram.of_sorted(np.sort(values.astype(np.float64)))


def counts_of(values: np.ndarray) -> Counts:
    counted = Counts()
    counted.add(*(part.tolist() for part in np.unique(values, return_counts=True)))
    return counted


def test_the_same_rows_have_not_moved() -> None:
    values = np.random.default_rng(0).normal(size=5_000)
    assert histogram_psi(histogram(values), histogram(values)) == 0.0
    counts = Counts({"a": 70, "b": 30}, 100)
    assert counts_psi(counts, counts) == 0.0


@pytest.mark.parametrize(("shift", "moved"), [(0.0, False), (0.05, False), (0.7, True), (3.0, True)])
def test_a_shift_of_the_mean(shift: float, moved: bool) -> None:
    source = np.random.default_rng(1)
    old, new = source.normal(size=4_000), source.normal(shift, size=4_000)
    assert (histogram_psi(histogram(new), histogram(old)) > 0.25) == moved


def test_bins_of_other_widths_are_compared() -> None:
    source = np.random.default_rng(2)
    old, new = source.uniform(0, 1, 2_000), source.uniform(0, 1_000, 2_000)
    assert histogram_psi(histogram(new), histogram(old)) > 1


def test_a_known_value() -> None:
    new, old = np.array([5_000.0, 5_000.0]), np.array([8_000.0, 2_000.0])
    exact = (0.5 - 0.8) * np.log(0.5 / 0.8) + (0.5 - 0.2) * np.log(0.5 / 0.2)
    assert psi(new, old) == pytest.approx(exact, abs=1e-3)


@pytest.mark.parametrize("num_rows", [50, 100, 150])
def test_few_rows_are_no_drift(num_rows: int) -> None:
    """Of partitions that were drawn from the same source, hardly any is said to have moved."""
    source = np.random.default_rng(num_rows)
    old = source.normal(size=2_000)
    writers = counts_of(source.integers(0, 43, 2_000))
    moved = [histogram_psi(histogram(source.normal(size=num_rows)), histogram(old)) for _ in range(200)] + [
        counts_psi(counts_of(source.integers(0, 43, num_rows)), writers) for _ in range(200)
    ]
    assert np.mean(np.array(moved) > 0.25) < 0.01


def test_a_category_that_vanishes_and_one_that_appears() -> None:
    assert counts_psi(Counts({"a": 100}, 100), Counts({"b": 100}, 100)) > 1


def test_too_few_rows_say_nothing() -> None:
    assert counts_psi(Counts({"a": 10}, 10), Counts({"b": 100}, 100)) == 0.0


def test_many_rare_values_are_taken_together() -> None:
    old = Counts({f"v{index}": 10 for index in range(500)}, 5_000)
    assert counts_psi(old, old) == 0.0
