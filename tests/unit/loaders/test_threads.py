"""Work done ahead: order, errors, ends, whoever does it."""

from __future__ import annotations

import gc
import threading
import time
from typing import Any

import pytest

from loaders.threads import Ahead, Helped


def names() -> list[str]:
    """Threads of loaders that live."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("shardmill-loader")]


@pytest.mark.parametrize("kind", [Ahead, Helped])
@pytest.mark.parametrize("num_threads", [1, 2, 5])
@pytest.mark.parametrize("prefetch", [1, 3])
@pytest.mark.parametrize("num_jobs", [0, 1, 4, 300])
def test_results_come_in_order(kind: Any, num_threads: int, prefetch: int, num_jobs: int) -> None:
    assert list(kind(lambda job: job * job, num_jobs, num_threads, prefetch)) == [
        k * k for k in range(num_jobs)
    ]
    assert not names()


@pytest.mark.parametrize("kind", [Ahead, Helped])
def test_an_error_comes_where_its_result_would(kind: Any) -> None:
    def work(job: int) -> int:
        if job == 7:
            raise KeyError("seven")
        return job

    for num_threads in (1, 3):
        results = kind(work, 50, num_threads, 2)
        assert [next(results) for _ in range(7)] == list(range(7))
        with pytest.raises(KeyError, match="seven"):
            next(results)
        with pytest.raises(StopIteration):
            next(results)
        assert not names()


def test_no_more_than_asked_for_is_under_way() -> None:
    done: list[int] = []
    results = Helped(lambda job: done.append(job) or job, 100, 2, 3)
    for taken in range(1, 50):
        next(results)
        assert max(done) < taken + 2 * 3 + 1
    results.close()
    assert not names()


def test_the_consumer_does_a_job_while_it_would_wait() -> None:
    first, done = threading.Event(), []

    def work(job: int) -> int:
        done.append(threading.current_thread() is threading.main_thread())
        if threading.current_thread() is not threading.main_thread():
            first.wait()  # the only thread is busy until the consumer has helped
        else:
            first.set()
        return job

    results = Helped(work, 6, 1, 2)
    while not done:
        time.sleep(0.001)
    assert list(results) == list(range(6))
    assert any(done)


def test_threads_end_with_what_they_work_for() -> None:
    results = Helped(lambda job: job, 1000, 3, 2)
    next(results)
    del results
    gc.collect()
    assert not names()
