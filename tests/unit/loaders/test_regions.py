"""Rows in regions of a huge page: counted against a byte-by-byte count."""

from __future__ import annotations

import numpy as np
import pytest

from loaders.pages import HUGE, PAGE
from loaders.regions import Regions, runs

EXTENTS = [(40 * HUGE + PAGE, 43 * HUGE + 100), (10 * HUGE, 11 * HUGE), (20 * HUGE, 20 * HUGE + 7)]


def test_maps_are_cut_into_regions_from_their_starts() -> None:
    regions = Regions(EXTENTS)
    start = EXTENTS[0][0]
    assert regions.begins.tolist() == [start, start + HUGE, start + 2 * HUGE, 10 * HUGE, 20 * HUGE]
    assert regions.ends.tolist() == [
        start + HUGE, start + 2 * HUGE, EXTENTS[0][1], 11 * HUGE, 20 * HUGE + 7
    ]  # fmt: skip
    maps = np.array([0, 0, 1, 2])
    places = np.array([start, start + HUGE, 11 * HUGE - 1, 20 * HUGE])
    assert regions.of(maps, places).tolist() == [0, 1, 3, 4]


@pytest.mark.parametrize("row_bytes", [1000, 300_000, HUGE // 2, 3 * HUGE + 17])
def test_bytes_of_rows_are_counted_in_each_region(row_bytes: int) -> None:
    random = np.random.default_rng(row_bytes)
    sizes = [9 * HUGE + 4321, 6 * HUGE]
    extents = [(100 * HUGE, 100 * HUGE + sizes[0]), (50 * HUGE + PAGE, 50 * HUGE + PAGE + sizes[1])]
    regions = Regions(extents)
    maps = random.integers(0, 2, 5)
    starts = np.array([extents[k][0] + random.integers(0, sizes[k] - row_bytes) for k in maps.tolist()])
    first, last = regions.of(maps, starts), regions.of(maps, starts + row_bytes - 1)
    expected = [
        sum(
            max(0, min(start + row_bytes, end) - max(start, begin))
            for start in starts.tolist()
        )
        for begin, end in zip(regions.begins.tolist(), regions.ends.tolist(), strict=True)
    ]  # fmt: skip
    taken = regions.taken(first, last, starts, row_bytes)
    assert taken.tolist() == expected
    assert taken.sum() == 5 * row_bytes


def test_chosen_regions_become_spans_whatever_the_order_of_maps() -> None:
    regions = Regions(EXTENTS)
    chosen = np.array([True, True, False, True, True])
    start = EXTENTS[0][0]
    assert regions.spans(chosen) == [
        (10 * HUGE, 11 * HUGE), (20 * HUGE, 20 * HUGE + 7), (start, start + 2 * HUGE)
    ]  # fmt: skip
    assert regions.spans(np.zeros(5, np.bool_)) == []


def test_what_lies_in_chosen_regions_is_cut_off() -> None:
    regions = Regions([(10 * HUGE, 14 * HUGE)])
    chosen = np.array([True, False, True, True])
    starts = np.array([10 * HUGE + 5, 11 * HUGE - 10, 11 * HUGE + 3, 12 * HUGE - 10, 12 * HUGE + 8])
    stops = starts + 50
    maps = np.zeros(5, np.int64)
    left = regions.without(chosen, regions.of(maps, starts), regions.of(maps, stops - 1), starts, stops)
    assert [found.tolist() for found in left] == [
        [11 * HUGE, 11 * HUGE + 3, 12 * HUGE - 10], [11 * HUGE + 40, 11 * HUGE + 53, 12 * HUGE]
    ]  # fmt: skip


def test_stretches_that_lie_together_are_one_run() -> None:
    row, bridged = 3 * PAGE, 64 << 10
    found = np.array([300, 2 + bridged // row, 0, 1, 2, 200, 301]) * row + 100 * PAGE + 64
    assert runs(found, found + row, bridged) == [
        (100 * PAGE, 100 * PAGE + 64 + (3 + bridged // row) * row),
        (100 * PAGE + 200 * row, 100 * PAGE + 64 + 201 * row),
        (100 * PAGE + 300 * row, 100 * PAGE + 64 + 302 * row),
    ]
    assert runs(found[:0], found[:0], bridged) == []
