"""Work done ahead: order, errors, ends, whoever does it."""

from __future__ import annotations

import gc
import threading
import time

import pytest

from loaders.threads import Ahead


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


def test_threads_end_with_what_they_work_for() -> None:
    results = Ahead(lambda job: job, 1000, 3, 2)
    next(results)
    del results
    gc.collect()
    assert not names()


def test_a_consumer_that_would_wait_does_a_job() -> None:
    def work(job: int) -> str:
        time.sleep(0.005)
        return threading.current_thread().name

    by_whom = list(Ahead(work, 40, 1, 2, helped=True))
    assert 10 <= by_whom.count("MainThread") <= 30
    assert "MainThread" not in list(Ahead(work, 10, 1, 2))


def test_threads_are_no_further_ahead_than_they_may() -> None:
    begun: list[int] = []
    results = Ahead(begun.append, 100, 2, 3)
    for taken in range(5):
        deadline = time.monotonic() + 5
        while len(begun) < taken + 6 and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(0.01)
        assert len(begun) == taken + 6
        next(results)
    results.close()
