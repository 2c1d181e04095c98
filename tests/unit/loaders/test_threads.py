"""Work done ahead: order, errors, ends, whoever does it."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import FrameType
from typing import Any

import pytest

from loaders import threads
from loaders.threads import Ahead, Once


def names() -> list[str]:
    """Threads of loaders that live."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("shardmill-loader")]


@pytest.mark.parametrize("helped", [False, True])
@pytest.mark.parametrize("num_threads", [1, 2, 5])
@pytest.mark.parametrize("prefetch", [1, 3])
@pytest.mark.parametrize("num_jobs", [0, 1, 4, 300])
def test_results_come_in_order(num_threads: int, prefetch: int, num_jobs: int, helped: bool) -> None:
    found = Ahead(lambda job: job * job, num_jobs, num_threads, prefetch, helped=helped)
    assert list(found) == [k * k for k in range(num_jobs)]
    assert not names()


@pytest.mark.parametrize("helped", [False, True])
@pytest.mark.parametrize("failing", [6, 7])
def test_an_error_comes_where_its_result_would(helped: bool, failing: int) -> None:
    def work(job: int) -> int:
        if job == failing:
            raise KeyError("this one")
        return job

    for num_threads in (1, 3):
        results = Ahead(work, 50, num_threads, 2, helped=helped)
        assert [next(results) for _ in range(failing)] == list(range(failing))
        with pytest.raises(KeyError, match="this one"):
            next(results)
        with pytest.raises(StopIteration):
            next(results)
        assert not names()


def wait_for_end() -> None:
    deadline = time.monotonic() + 60
    while names() and time.monotonic() < deadline:
        time.sleep(0.001)
    assert not names()


def test_threads_end_with_what_they_work_for() -> None:
    results = Ahead(lambda job: job, 1000, 3, 2)
    next(results)
    del results
    wait_for_end()


@pytest.mark.parametrize("num_lines", range(0, 40, 3))
def test_a_thread_may_collect_what_it_works_for(num_lines: int) -> None:
    """Wherever in its own code a thread is when the garbage collector runs in it."""
    is_lost, has_collected = threading.Event(), threading.Event()
    lines: list[int] = []

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        if frame.f_code.co_filename != threads.__file__:
            return None
        if is_lost.is_set() and event == "line" and not has_collected.is_set():
            lines.append(frame.f_lineno)
            if len(lines) > num_lines:
                has_collected.set()
                gc.collect()
        return trace

    gc.disable()
    gc.freeze()  # what there was is not looked at, which is quick
    threading.settrace(trace)
    try:
        results = Ahead(lambda job: job, 10**6, 2, 2, helped=True)
        take = results._crew.take
        assert take(0) == 0
        cycle: list[Any] = [results]
        cycle.append(cycle)
        del results, cycle
        is_lost.set()
        number = 1
        while not has_collected.is_set():
            assert take(number) == number
            number += 1
        wait_for_end()
    finally:
        threading.settrace(None)  # type: ignore[arg-type]
        gc.unfreeze()
        gc.enable()


def test_a_consumer_that_would_wait_does_a_job() -> None:
    """Jobs end two by two, so that the thread and the consumer do half of them each."""
    meeting = threading.Barrier(2, timeout=60)

    def work(job: int) -> str:
        meeting.wait()
        return threading.current_thread().name

    by_whom = list(Ahead(work, 40, 1, 2, helped=True))
    assert by_whom.count("MainThread") == 20
    assert "MainThread" not in list(Ahead(lambda job: threading.current_thread().name, 10, 1, 2))


def test_threads_are_no_further_ahead_than_they_may() -> None:
    begun: list[int] = []
    results = Ahead(begun.append, 100, 2, 3)
    for taken in range(5):
        deadline = time.monotonic() + 60
        while len(begun) < taken + 6 and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(0.01)
        assert len(begun) == taken + 6
        next(results)
    results.close()


@pytest.mark.parametrize("helped", [False, True])
def test_threads_go_on_to_what_comes_after_once_a_result_can_be_taken(helped: bool) -> None:
    followed: list[tuple[int, str]] = []
    may_go_on = threading.Event()

    def after(job: int) -> None:
        may_go_on.wait(60)
        followed.append((job, threading.current_thread().name))

    results = Ahead(lambda job: job, 20, 1, 2, helped=helped, after=after)
    assert next(results) == 0  # although what comes after it is not done
    may_go_on.set()
    assert list(results) == list(range(1, 20))
    assert all(name.startswith("shardmill-loader") for _, name in followed)
    assert helped or [job for job, _ in followed] == list(range(20))


def test_a_result_is_computed_by_one_thread_for_all() -> None:
    computed: list[int] = []

    def work(number: int) -> int:
        computed.append(number)
        time.sleep(0.02)
        return number * number

    once = Once(work, 3)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(once, [2] * 8)) == [4] * 8
    assert computed == [2]
    once.prepare(3)
    assert once(3) == 9
    assert computed == [2, 3]
    assert [once(number) for number in (4, 5, 3, 2)] == [16, 25, 9, 4]
    assert computed == [2, 3, 4, 5, 2]  # the oldest was forgotten


def test_preparing_gives_way_to_who_computes() -> None:
    begun, may_end = threading.Event(), threading.Event()

    def work(number: int) -> int:
        begun.set()
        may_end.wait(60)
        return number

    once = Once(work, 2)
    thread = threading.Thread(target=once, args=[1])
    thread.start()
    assert begun.wait(60)
    once.prepare(2)  # returns at once
    may_end.set()
    thread.join()
    assert once._kept == {1: 1}


def test_a_failed_computation_is_tried_again() -> None:
    failures = [OSError("now")]

    def work(number: int) -> int:
        if failures:
            raise failures.pop()
        return number

    once = Once(work, 2)
    with pytest.raises(OSError, match="now"):
        once(1)
    assert once(1) == 1


def test_an_iterator_that_outlives_modules_says_nothing() -> None:
    code = "import torch; from loaders import threads; kept = threads.Ahead(lambda job: job, 9, 2, 2)"
    code += "; next(kept); torch.kept = kept, torch, threads"  # ends only when modules are gone
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stderr == ""
