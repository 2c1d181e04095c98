"""Advice about pages: given for rows that are not in memory, in runs or huge pages, and for no others."""

from __future__ import annotations

import gc
import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmarks.harness import evict
from loaders import pages, readahead
from loaders.pages import HUGE, PAGE
from loaders.readahead import ReadAhead
from loaders.reader import Reader
from shards.mapping import map_descriptor

ROW_BYTES = 3 * PAGE
NUM_ROWS = 2000  # 12 huge pages


@pytest.fixture
def mapped(tmp_path) -> np.ndarray:
    """Rows of a file on disk that is not in the page cache."""
    path = tmp_path / "rows"
    path.write_bytes(os.urandom(PAGE + NUM_ROWS * ROW_BYTES))
    evict([path])
    descriptor = os.open(path, os.O_RDONLY)
    data = map_descriptor(descriptor, PAGE + NUM_ROWS * ROW_BYTES)
    os.close(descriptor)
    found = np.frombuffer(data, np.uint8, offset=PAGE).reshape(NUM_ROWS, ROW_BYTES)
    if not is_absent(found, range(0, NUM_ROWS, 100)).all():
        pytest.skip("this file system keeps its files in memory")
    return found


def is_absent(array: np.ndarray, rows) -> np.ndarray:
    base = array.__array_interface__["data"][0]
    return np.array([pages.is_absent(base + int(row) * ROW_BYTES + PAGE) for row in rows])


def wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def advise(ahead: ReadAhead, array: np.ndarray, rows: np.ndarray, around: np.ndarray | None = None) -> None:
    """Advise as columns do, if that is due."""
    absent = ahead.absent({0: array}, 0, rows)
    assert absent is not None
    every = rows if around is None else np.concatenate([rows, around])
    ahead.advise({0: array}, 0, every, len(rows), absent)


def few_rows(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).permutation(NUM_ROWS)[:40]


@pytest.mark.parametrize("whole_bytes", [0, 1 << 30])
def test_rows_that_are_absent_are_read_before_anybody_touches_them(mapped, monkeypatch, whole_bytes):
    monkeypatch.setattr(readahead, "WHOLE_BYTES", whole_bytes)
    ahead = ReadAhead(ROW_BYTES)
    advise(ahead, mapped, few_rows())
    wait(lambda: not is_absent(mapped, few_rows()).any())
    assert ahead.absent({0: mapped}, 0, few_rows()) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [("WHOLE_BYTES", HUGE), ("available_bytes", lambda: NUM_ROWS * ROW_BYTES), ("FAST", float("inf"))],
)
def test_other_rows_are_left_alone_where_files_are_large_or_memory_short_or_disks_slow(
    mapped, monkeypatch, name, value
):
    monkeypatch.setattr(readahead, name, value)
    ahead = ReadAhead(ROW_BYTES)
    for seed in range(3):
        advise(ahead, mapped, few_rows(seed))
    wait(lambda: not is_absent(mapped, few_rows(2)).any())
    probed = readahead.PROBES * HUGE // ROW_BYTES if name == "FAST" else 0
    assert is_absent(mapped, range(NUM_ROWS)).sum() > 0.7 * NUM_ROWS - 2 * probed


def test_where_faults_read_no_huge_pages_nothing_is_read_by_faults(mapped, monkeypatch):
    monkeypatch.setattr(pages, "HAS_HUGE", False)
    monkeypatch.setattr(pages, "read", lambda start, stop: pytest.fail("page by page"))
    rows = np.arange(300, 900)
    advise(ReadAhead(ROW_BYTES), mapped, rows)
    wait(lambda: not is_absent(mapped, rows).any())


@pytest.mark.parametrize(
    ("release", "expected"), [("5.15.0-91-generic", False), ("5.18.3", True), ("6.8-rc1", True), ("x", False)]
)
def test_old_kernels_have_none(monkeypatch, release, expected):
    monkeypatch.setattr(pages.os, "uname", lambda: type("Name", (), {"release": release}))
    monkeypatch.setattr(pages.Path, "read_text", lambda path: f"{HUGE}\n")
    assert pages._has_huge() is expected
    monkeypatch.setattr(pages.Path, "read_text", lambda path: f"{512 << 20}\n")
    assert pages._has_huge() is False


@pytest.mark.skipif(not pages.HAS_HUGE, reason="no huge pages of 2 MiB")
def test_small_files_are_read_whole(mapped, monkeypatch):
    monkeypatch.setattr(readahead, "FAST", 0)
    advise(ReadAhead(ROW_BYTES), mapped, np.arange(0, NUM_ROWS, 50))
    wait(lambda: not is_absent(mapped, range(NUM_ROWS)).any())


@pytest.mark.skipif(not pages.HAS_HUGE, reason="no huge pages of 2 MiB")
def test_huge_pages_that_rows_take_most_of_are_read_by_a_thread_and_others_are_not(mapped, monkeypatch):
    monkeypatch.setattr(readahead, "WHOLE_BYTES", 0)
    read, asked = [], []
    monkeypatch.setattr(
        pages, "read", lambda start, stop, old=pages.read: (read.append((start, stop)), old(start, stop))
    )
    monkeypatch.setattr(pages, "ask", lambda start, stop: asked.append((start, stop)))
    rows = np.random.default_rng(0).permutation(np.arange(300, 900))
    ahead = ReadAhead(ROW_BYTES)
    advise(ahead, mapped, rows[:300], rows[300:])
    wait(lambda: len(read) > 0 and not is_absent(mapped, range(400, 800)).any())
    assert is_absent(mapped, range(0, 150)).all()
    assert is_absent(mapped, range(1100, NUM_ROWS)).all()
    base = mapped.__array_interface__["data"][0]
    first, last = base + 300 * ROW_BYTES, base + 900 * ROW_BYTES
    assert sum(stop - begin for begin, stop in read) <= last - first + HUGE
    for begin, stop in asked:  # the rest, and no byte twice
        assert all(stop <= other or begin >= end for other, end in read)
        assert first - PAGE <= begin < stop <= last
    asked.clear()
    advised = len(read)
    ahead.advise(
        {0: mapped}, 0, rows, len(rows), rows[:0]
    )  # as where only faults say that something is absent
    assert len(read) == advised


def test_a_system_that_does_not_tell_is_asked_for_its_faults(mapped, monkeypatch):
    ahead = ReadAhead(ROW_BYTES)
    monkeypatch.setattr(pages, "is_absent", lambda address: False)
    asked = []
    monkeypatch.setattr(readahead, "runs", lambda starts, stops, bridged: asked.append(len(starts)) or [])
    faults = iter([5, 5, 6, 6, 6, 6, 6, 6])
    monkeypatch.setattr(
        readahead.resource,
        "getrusage",
        lambda who: type("Usage", (), {"ru_majflt": next(faults)}),
    )
    for size in range(1, 9):
        if ahead.due():
            shards, rows = np.zeros(size, np.int64), np.arange(size)
            absent = ahead.absent({0: mapped}, shards, rows)
            if absent is not None:
                ahead.advise({0: mapped}, shards, rows, size, absent)
    assert asked == [3, 4, 5, 6]


def readers() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "shardmill-reader"}


def test_a_reader_holds_what_it_reads_and_ends_with_its_owner(mapped):
    before = readers()
    reader = Reader()
    assert not readers() - before  # not before it is needed
    base = mapped.__array_interface__["data"][0]
    reader.read(mapped, [(base, base + ROW_BYTES)])
    wait(lambda: not is_absent(mapped, [0]).any())
    (thread,) = readers() - before
    del reader
    gc.collect()
    thread.join(60)
    assert not thread.is_alive()


def _read(reader: Reader, array: np.ndarray, row: int) -> None:
    base = array.__array_interface__["data"][0]
    reader.read(array, [(base + row * ROW_BYTES, base + (row + 1) * ROW_BYTES)])
    wait(lambda: not is_absent(array, [row]).any())


def test_a_forked_process_reads_with_a_thread_of_its_own(mapped):
    reader = Reader()
    _read(reader, mapped, 0)
    child = multiprocessing.get_context("fork").Process(target=_read, args=[reader, mapped, 1900])
    child.start()
    child.join(60)
    assert child.exitcode == 0
    _read(reader, mapped, 1000)


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
