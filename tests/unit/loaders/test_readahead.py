"""Advice about pages: given for rows that are not in memory, in runs, and for no others."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

from loaders import readahead
from loaders.readahead import BRIDGED_BYTES, PAGE, ReadAhead
from shards.mapping import map_descriptor

ROW_BYTES = 3 * PAGE
NUM_ROWS = 400


@pytest.fixture
def mapped(tmp_path) -> np.ndarray:
    """Rows of a file on disk that is not in the page cache."""
    path = tmp_path / "rows"
    path.write_bytes(os.urandom(PAGE + NUM_ROWS * ROW_BYTES))
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    data = map_descriptor(descriptor, PAGE + NUM_ROWS * ROW_BYTES)
    os.close(descriptor)
    return np.frombuffer(data, np.uint8, offset=PAGE).reshape(NUM_ROWS, ROW_BYTES)


def addresses(array: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return array.__array_interface__["data"][0] + rows * ROW_BYTES


def test_rows_that_are_absent_are_read_before_anybody_touches_them(mapped, monkeypatch):
    ahead = ReadAhead(ROW_BYTES)
    rows = np.random.default_rng(0).permutation(NUM_ROWS)[:100]
    if not ahead._absent(addresses(mapped, rows)):
        pytest.skip("this file system keeps its files in memory")
    ahead.advise({0: mapped}, 0, rows)
    deadline = time.monotonic() + 60
    while any(ahead._absent(addresses(mapped, rows[[number]])) for number in range(100)):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    monkeypatch.setattr(ahead, "_runs", lambda found: pytest.fail("they are all in memory"))
    ahead.advise({0: mapped}, 0, rows)


def test_a_system_that_does_not_tell_is_asked_for_its_faults(mapped, monkeypatch):
    ahead = ReadAhead(ROW_BYTES)
    monkeypatch.setattr(ahead, "_absent", lambda found: False)
    asked = []
    monkeypatch.setattr(ahead, "_runs", lambda found: asked.append(len(found)) or [])
    faults = iter([5, 5, 6, 6, 6, 6, 6, 6])
    monkeypatch.setattr(
        readahead.resource,
        "getrusage",
        lambda who: type("Usage", (), {"ru_majflt": next(faults)}),
    )
    for size in range(1, 9):
        if ahead.due():
            ahead.advise({0: mapped}, np.zeros(size, np.int64), np.arange(size))
    assert asked == [3, 4, 5, 6]


def test_rows_that_lie_together_are_one_run():
    ahead = ReadAhead(ROW_BYTES)
    row = ROW_BYTES
    bridged = BRIDGED_BYTES // row
    found = np.array([0, 1, 2, 2 + bridged, 200, 300, 301]) * row + 100 * PAGE + 64
    assert ahead._runs(found) == [
        (100 * PAGE, 100 * PAGE + 64 + (3 + bridged) * row),
        (100 * PAGE + 200 * row, 100 * PAGE + 64 + 201 * row),
        (100 * PAGE + 300 * row, 100 * PAGE + 64 + 302 * row),
    ]


def test_narrow_rows_are_left_to_the_system():
    assert not ReadAhead(PAGE - 1).possible
    assert ReadAhead(PAGE).possible


def test_what_was_copied_is_unmapped_and_memory_is_left_alone(tmp_path):
    (tmp_path / "rows").write_bytes(b"x" * 8 * PAGE)
    mapped = np.memmap(tmp_path / "rows", np.uint8, "r").reshape(8, PAGE)
    memory = np.full((8, PAGE), 7, np.uint8)
    start = f"{mapped.__array_interface__['data'][0]:08x}-"

    def resident_kib() -> int:
        lines = iter(Path("/proc/self/smaps").read_text().splitlines())
        next(line for line in lines if line.startswith(start))
        return int(next(line for line in lines if line.startswith("Rss:")).split()[1])

    assert mapped.sum() == ord("x") * 8 * PAGE
    assert resident_kib() > 0
    ahead = ReadAhead(PAGE)
    ahead._unmap_copied({0: mapped, 1: memory})
    assert resident_kib() > 0  # not copied yet
    ahead._unmap_copied({})
    assert resident_kib() == 0
    assert mapped.sum() == ord("x") * 8 * PAGE
    assert (memory == 7).all()
