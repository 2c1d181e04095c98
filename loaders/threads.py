"""Work done ahead by threads, handed over in order.

Jobs are dealt out in turns: thread t does jobs t, t + n, t + 2n, ... and may be `prefetch` of its jobs ahead
of the consumer. The order of the results does not depend on which thread was faster. NumPy and torch copy
without holding the interpreter's lock, so the threads run beside the training loop and beside each other.
"""

from __future__ import annotations

import atexit
import os
import queue
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

from loaders.errors import ForeignIterator

Result = TypeVar("Result")

_live: weakref.WeakSet[Ahead[Any]] = weakref.WeakSet()


class _Failed:
    def __init__(self, error: BaseException) -> None:
        self.error = error


class Ahead(Generic[Result]):
    """Results of `work(0)`, `work(1)`, ... up to `num_jobs`, computed ahead.

    Parameters
    ----------
    work
        Called with the number of a job, by the thread that does it.
    num_jobs
        How many jobs there are.
    num_threads
        Threads; 0 does each job when it is asked for, in the thread that asks.
    prefetch
        Finished or running jobs a thread may have that nobody took yet; at least 1.

    Notes
    -----
    An error in a job is raised where its result would have come. For one consumer. `close` ends the threads;
    it is called when the object is no longer used and when the interpreter ends. Not usable after fork.
    """

    def __init__(self, work: Callable[[int], Result], num_jobs: int, num_threads: int, prefetch: int) -> None:
        self._work, self._num_jobs = work, num_jobs
        self._next = 0
        self._process = os.getpid()
        self._stop = threading.Event()
        num_threads = min(num_threads, num_jobs)
        self._slots: list[queue.SimpleQueue[Result | _Failed]] = [
            queue.SimpleQueue() for _ in range(num_threads)
        ]
        self._room = [threading.Semaphore(prefetch) for _ in range(num_threads)]
        self._threads = [
            threading.Thread(
                target=_run,
                args=(
                    work,
                    range(number, num_jobs, num_threads),
                    self._slots[number],
                    self._room[number],
                    self._stop,
                ),
                name=f"shardmill-loader-{number}",
                daemon=True,
            )
            for number in range(num_threads)
        ]
        if self._threads:
            _live.add(self)
        for thread in self._threads:
            thread.start()

    def __iter__(self) -> Iterator[Result]:
        """Itself."""
        return self

    def __next__(self) -> Result:
        """Wait for the next result."""
        if self._next >= self._num_jobs:
            self.close()
            raise StopIteration
        number = self._next
        self._next += 1
        if not self._threads:
            return self._work(number)
        if os.getpid() != self._process:
            raise ForeignIterator(
                f"this iterator belongs to process {self._process}, its threads do not live in process "
                f"{os.getpid()}; make a new iterator after fork"
            )
        slot = number % len(self._threads)
        result = self._slots[slot].get()
        self._room[slot].release()
        if isinstance(result, _Failed):
            self.close()
            raise result.error
        return result

    def close(self) -> None:
        """End the threads; unread results are dropped."""
        self._next = self._num_jobs
        self._stop.set()
        for room in self._room:
            room.release()
        if os.getpid() == self._process:
            for thread in self._threads:
                if thread is not threading.current_thread():
                    thread.join()

    def __del__(self) -> None:
        """End the threads."""
        self.close()


def _run(
    work: Callable[[int], Result],
    jobs: range,
    slot: queue.SimpleQueue[Result | _Failed],
    room: threading.Semaphore,
    stop: threading.Event,
) -> None:
    for job in jobs:
        room.acquire()
        if stop.is_set():
            return
        try:
            slot.put(work(job))
        except BaseException as error:  # whatever it is, the consumer must get it
            slot.put(_Failed(error))
            return


@atexit.register
def _close_all() -> None:
    for ahead in list(_live):
        ahead.close()
