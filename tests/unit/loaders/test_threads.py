"""Work done ahead: order, errors, ends."""

from __future__ import annotations

import gc
import threading

import pytest

from loaders.threads import Ahead


def names() -> list[str]:
    """Threads of loaders that live."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("shardmill-loader")]


@pytest.mark.parametrize("num_threads", [1, 2, 5])
@pytest.mark.parametrize("prefetch", [1, 3])
@pytest.mark.parametrize("num_jobs", [0, 1, 4, 300])
def test_results_come_in_order(num_threads: int, prefetch: int, num_jobs: int) -> None:
    assert list(Ahead(lambda job: job * job, num_jobs, num_threads, prefetch)) == [
        k * k for k in range(num_jobs)
    ]
    assert not names()


def test_an_error_comes_where_its_result_would() -> None:
    def work(job: int) -> int:
        if job == 7:
            raise KeyError("seven")
        return job

    for num_threads in (1, 3):
        results = Ahead(work, 50, num_threads, 2)
        assert [next(results) for _ in range(7)] == list(range(7))
        with pytest.raises(KeyError, match="seven"):
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
