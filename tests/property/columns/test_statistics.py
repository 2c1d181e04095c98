"""Statistics merged from any cut of the rows equal those over all rows."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.columns.kinds.numeric import Cast
from assets.columns.stats.counts import CAP, Counts
from assets.columns.stats.histogram import NUM_BINS, Histogram
from assets.columns.stats.moments import Moments
from assets.columns.stats.sketch import NUM_CELLS, Sketch
from assets.columns.stats.summary import NumberSummary, Summary
from assets.columns.steps import fit_steps
from assets.spec.columns import Impute

finite = st.floats(-1e15, 1e15, allow_nan=False, width=64)
cuts = st.lists(st.integers(0, 300), max_size=6)


def parts_of(values: np.ndarray, where: list[int]) -> list[np.ndarray]:
    return np.split(values, sorted(min(cut, len(values)) for cut in where))


@given(st.lists(finite, min_size=1, max_size=300), cuts)
def test_merged_moments_equal_those_of_all_rows(numbers: list[float], where: list[int]) -> None:
    values = np.array(numbers)
    merged = Moments.empty(1)
    for part in parts_of(values, where):
        merged = merged.merge(Moments.of(part[:, None]))
    scale = float(np.abs(values).max()) or 1.0
    assert merged.count[0] == len(values)
    assert abs(merged.mean[0] - values.mean()) <= 1e-12 * scale
    assert abs(merged.std[0] - values.std()) <= 1e-12 * scale
    assert (merged.minimum[0], merged.maximum[0]) == (values.min(), values.max())
    again = Moments.from_json(json.loads(json.dumps(merged.to_json())))
    assert np.array_equal(again.m2, merged.m2)


@pytest.mark.parametrize("offset", [0.0, 1e6, 1e9, 1e12])
def test_fit_is_stable_far_from_zero(offset: float) -> None:
    rng = np.random.default_rng(0)
    values = offset + rng.normal(0, 1, 200_000)
    merged = Moments.empty(1)
    for part in np.array_split(values, 37):
        merged = merged.merge(Moments.of(part[:, None]))
    exact = np.longdouble(values)
    assert abs(merged.mean[0] / float(exact.mean()) - 1) <= 1e-12 or offset == 0.0
    assert abs(merged.std[0] / float(exact.std()) - 1) <= 1e-12


def test_moments_of_huge_numbers_stay_finite() -> None:
    values = np.array([[1.7e308], [1.6e308], [-1.7e308], [np.inf]])
    moments = Moments.of(values).merge(Moments.of(values))
    assert moments.count.tolist() == [6]
    json.dumps(moments.to_json(), allow_nan=False)


def test_nan_is_left_out_element_by_element() -> None:
    values = np.array([[1.0, np.nan], [3.0, 5.0], [np.nan, np.nan]])
    moments = Moments.of(values)
    assert moments.count.tolist() == [2, 1]
    assert moments.mean.tolist() == [2.0, 5.0]
    assert (moments.minimum.tolist(), moments.maximum.tolist()) == ([1.0, 5.0], [3.0, 5.0])
    assert Moments.from_json(Moments.of(np.full((2, 1), np.nan)).to_json()).count.tolist() == [0]


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, width=64), max_size=200), cuts)
def test_merged_histograms_equal_the_one_of_all_rows(numbers: list[float], where: list[int]) -> None:
    values = np.array(numbers, np.float64)
    merged = Histogram.empty()
    for part in parts_of(values, where):
        merged = merged.merge(Histogram.of_sorted(np.sort(part)))
    whole = Histogram.of_sorted(np.sort(values))
    assert (merged.exponent, merged.first) == (whole.exponent, whole.first) or not len(values)
    assert merged.counts.tolist() == whole.counts.tolist()
    assert whole.counts.sum() == len(values)
    assert len(whole.counts) <= NUM_BINS


@given(
    st.lists(
        st.one_of(finite, st.sampled_from([0.0, -0.0, 5e-324, -1e-310, 1.0, 1.7e308, -1.7e308])),
        min_size=1,
        max_size=300,
    ),
    cuts,
    st.integers(1, 40),
)
def test_merged_sketches_equal_the_one_of_all_rows(
    numbers: list[float], where: list[int], repeats: int
) -> None:
    values = np.array(numbers) * np.linspace(1.0, 0.5, repeats)[:, None]
    values = np.random.default_rng(0).permutation(values.reshape(-1))
    merged = Sketch.empty()
    for part in parts_of(values, [cut * repeats for cut in where]):
        merged = merged.merge(Sketch.of_sorted(np.sort(part)))
    ordered = np.sort(values)
    assert merged.to_json() == Sketch.of_sorted(ordered).to_json()
    assert len(merged.cells) <= NUM_CELLS
    assert merged.counts.sum() == len(values)
    assert (float(merged.quantile(0.0)), float(merged.quantile(1.0))) == (ordered[0], ordered[-1])
    between = merged.quantile(np.linspace(0, 1, 101))
    assert (between[1:] >= between[:-1]).all()
    if len(np.unique(values + 0.0)) <= NUM_CELLS:
        assert merged.level == 0
        exact = np.quantile(ordered / 4, np.linspace(0, 1, 101), method="hazen")  # its differences overflow
        assert np.allclose(between / 4, exact, rtol=1e-9, atol=1e-12 * np.abs(ordered).max())


@pytest.mark.parametrize(
    "shape", ["normal", "lognormal", "uniform", "constant", "two values", "far", "counts", "outliers"]
)
def test_quantiles_of_sketches_are_near_in_rank(shape: str) -> None:
    rng = np.random.default_rng(1)
    values = {
        "normal": rng.normal(size=100_000),
        "lognormal": rng.lognormal(0, 3, 100_000),
        "uniform": rng.random(100_000),
        "constant": np.full(100_000, 4.0),
        "two values": np.repeat([0.0, 1.0], 50_000),
        "far": 1e9 + rng.normal(size=100_000),
        "counts": np.floor(rng.lognormal(1, 2, 100_000)),
        "outliers": np.concatenate([rng.normal(size=99_000), rng.choice([-1e300, 1e300], 1_000)]),
    }[shape]
    merged = Sketch.empty()
    for part in np.array_split(rng.permutation(values), 23):
        merged = merged.merge(Sketch.of_sorted(np.sort(part)))
    ordered = np.sort(values)
    for share in (0.0, 0.01, 0.25, 0.5, 0.75, 0.99, 1.0):
        got = float(merged.quantile(share))
        low = np.searchsorted(ordered, got, side="left") / len(ordered)
        high = np.searchsorted(ordered, got, side="right") / len(ordered)
        assert low - 0.002 <= share <= high + 0.002, (share, got)


def test_a_value_that_most_rows_have_is_the_median() -> None:
    """A price among noise: the mean of its cell tells where in the cell it lies."""
    rng = np.random.default_rng(2)
    values = np.sort(np.concatenate([np.full(60_000, 9.99), rng.lognormal(2, 1, 40_000)]))
    assert float(Sketch.of_sorted(values).quantile(0.5)) == pytest.approx(9.99, rel=0.01)


def test_a_sketch_of_nothing_has_no_quantiles() -> None:
    assert np.isnan(Sketch.empty().quantile(0.5))
    assert Sketch.from_json(Sketch.empty().to_json()).counts.tolist() == []


@pytest.mark.parametrize("steps", [["standardize"], ["min_max"], ["robust"], ["log1p", "robust"], ["impute"]])
def test_fits_of_any_cut_equal_those_over_all_rows(steps: list[str]) -> None:
    """Every fitted parameter, to 1e-12 of itself; by column of a vector as well."""
    rng = np.random.default_rng(3)
    transform = [Impute(impute="median"), *steps] if steps == ["robust"] else steps
    for values in (rng.lognormal(3, 2, 30_000), 1e6 + rng.normal(size=(5_000, 4))):
        scalar = values.ndim == 1

        def summary(rows: np.ndarray) -> Summary:
            spaces = {"log1p": NumberSummary.of(np.log1p(rows), quantiles=True)}
            return Summary(len(rows), values=NumberSummary.of(rows, quantiles=True), spaces=spaces)

        whole = fit_steps(transform, summary(values), scalar)
        for number in (2, 7, 61):
            parts = np.split(values, np.sort(rng.integers(0, len(values), number)))
            merged = Summary()
            for part in parts:
                written = json.loads(json.dumps(summary(part).to_json()))
                merged = merged.merge(Summary.from_json(written))
            for step, expected in zip(fit_steps(transform, merged, scalar), whole, strict=True):
                assert step["op"] == expected["op"]
                for key in step.keys() - {"op"}:
                    assert np.allclose(step[key], expected[key], rtol=1e-12, atol=0), (step, expected)


@given(st.lists(st.lists(st.integers(0, 40), max_size=60), max_size=5))
def test_merged_counts_are_exact_below_the_cap(lists: list[list[int]]) -> None:
    merged = Counts()
    for values in lists:
        part = Counts()
        found, counts = np.unique(np.array(values, int), return_counts=True)
        part.add(found.tolist(), counts.tolist())
        merged = merged.merge(part)
    flat = [value for values in lists for value in values]
    assert merged.counts == {value: flat.count(value) for value in set(flat)}
    assert (merged.total, merged.error) == (len(flat), 0)


def test_heavy_hitters_are_kept_within_the_bound() -> None:
    rng = np.random.default_rng(2)
    values = np.concatenate([rng.integers(0, 1_000_000, 50_000), np.repeat([-1, -2], [5_000, 2_000])])
    merged = Counts()
    for part in np.array_split(rng.permutation(values), 10):
        found, counts = np.unique(part, return_counts=True)
        one = Counts()
        one.add(found.tolist(), counts.tolist())
        merged = merged.merge(one)
    assert len(merged.counts) <= CAP
    assert merged.total == len(values)
    for value, true in ((-1, 5_000), (-2, 2_000)):
        assert true - merged.error <= merged.counts[value] <= true


@given(
    st.lists(
        st.one_of(
            st.floats(allow_nan=True, allow_infinity=True, width=64), st.integers(-(2**53), 2**53).map(float)
        ),
        min_size=1,
        max_size=50,
    ),
    st.sampled_from(["float16", "float32", "float64"]),
)
def test_casts_to_floats_are_faithful_or_named(numbers: list[float], dtype: str) -> None:
    values = np.array(numbers)
    stored, faults = Cast(dtype).apply(values)
    bad = np.zeros(len(values), np.bool_)
    for _, _, mask in faults:
        bad |= mask
    assert (stored[bad] == 0).all()
    good, kept = values[~bad], stored[~bad].astype(np.float64)
    assert np.isfinite(good).all()
    whole = (good == np.floor(good)) & (np.abs(good) <= 2.0**53)
    assert np.array_equal(kept[whole], good[whole])
    with np.errstate(over="ignore"):
        assert np.array_equal(kept, good.astype(dtype).astype(np.float64))
    assert np.isfinite(kept).all()
    assert not ((kept == 0) & (good != 0)).any()


@given(
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=50),
    st.sampled_from(["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32"]),
)
def test_casts_to_integers_are_exact_or_named(numbers: list[int], dtype: str) -> None:
    stored, faults = Cast(dtype).apply(np.array(numbers, np.int64))
    info = np.iinfo(dtype)
    bad = faults[0][2].tolist() if faults else [False] * len(numbers)
    assert bad == [not info.min <= number <= info.max for number in numbers]
    assert [int(value) for value, is_bad in zip(stored, bad, strict=True) if not is_bad] == [
        number for number, is_bad in zip(numbers, bad, strict=True) if not is_bad
    ]


@given(st.lists(st.one_of(finite, st.just(float("inf")), st.just(float("nan"))), max_size=50))
def test_summaries_survive_json(numbers: list[float]) -> None:
    values = np.array(numbers, np.float64)
    for given_values in (values, np.stack([values, -values], axis=1)):
        summary = NumberSummary.of(given_values, quantiles=True)
        written = json.dumps(summary.to_json(), allow_nan=False)
        assert NumberSummary.from_json(json.loads(written)).to_json() == summary.to_json()
