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

_live: weakref.WeakSet[Any] = weakref.WeakSet()


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
        _check_process(self._process)
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


class _Jobs(Generic[Result]):
    """Jobs that threads and the consumer take from one list; the threads hold this and not `Helped`."""

    def __init__(self, work: Callable[[int], Result], num_jobs: int, limit: int) -> None:
        self.work, self.num_jobs, self.limit = work, num_jobs, limit
        self.changed = threading.Condition()
        self.num_begun = self.num_taken = 0
        self.done: dict[int, Result | _Failed] = {}
        self.stopped = False

    def begin(self, more: int) -> int | None:
        """Give the next job unless enough are under way; the caller holds the lock."""
        if self.num_begun >= min(self.num_jobs, self.num_taken + self.limit + more):
            return None
        self.num_begun += 1
        return self.num_begun - 1

    def do(self, number: int) -> bool:
        """Do a job; whether it succeeded."""
        result: Result | _Failed
        try:
            result = self.work(number)
        except BaseException as error:  # whatever it is, the consumer must get it
            result = _Failed(error)
        with self.changed:
            self.done[number] = result
            self.changed.notify_all()
        return not isinstance(result, _Failed)

    def run(self) -> None:
        """Do jobs until there are no more; what each thread runs."""
        while True:
            with self.changed:
                while (number := self.begin(0)) is None:
                    if self.stopped or self.num_begun >= self.num_jobs:
                        return
                    self.changed.wait()
                if self.stopped:
                    return
            if not self.do(number):
                return


class Helped(Generic[Result]):
    """As `Ahead`, but a consumer that would have to wait does the next job itself.

    For jobs that hardly hold the interpreter's lock: two threads then make twice as much. Parameters as for
    `Ahead`, with at least one thread.
    """

    def __init__(self, work: Callable[[int], Result], num_jobs: int, num_threads: int, prefetch: int) -> None:
        self._jobs = _Jobs(work, num_jobs, num_threads * prefetch)
        self._process = os.getpid()
        self._threads = [
            threading.Thread(target=self._jobs.run, name=f"shardmill-loader-{number}", daemon=True)
            for number in range(min(num_threads, num_jobs))
        ]
        _live.add(self)
        for thread in self._threads:
            thread.start()

    def __iter__(self) -> Iterator[Result]:
        """Itself."""
        return self

    def __next__(self) -> Result:
        """Give the next result; do what comes after it while it is not there."""
        _check_process(self._process)
        jobs = self._jobs
        result: Result | _Failed | None = None
        while True:
            with jobs.changed:
                if jobs.stopped or jobs.num_taken >= jobs.num_jobs:
                    break
                result = jobs.done.pop(jobs.num_taken, None)
                if result is not None:
                    jobs.num_taken += 1
                    jobs.changed.notify_all()
                    break
                number = jobs.begin(1)
                if number is None:
                    jobs.changed.wait()
            if number is not None:
                jobs.do(number)
        if result is None:
            self.close()
            raise StopIteration
        if isinstance(result, _Failed):
            self.close()
            raise result.error
        return result

    def close(self) -> None:
        """End the threads; unread results are dropped."""
        if os.getpid() != self._process:
            return
        with self._jobs.changed:
            self._jobs.stopped = True
            self._jobs.changed.notify_all()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join()

    def __del__(self) -> None:
        """End the threads."""
        self.close()


def _check_process(owner: int) -> None:
    if os.getpid() != owner:
        raise ForeignIterator(
            f"this iterator belongs to process {owner}, its threads do not live in process {os.getpid()}; "
            "make a new iterator after fork"
        )


@atexit.register
def _close_all() -> None:
    for ahead in list(_live):
        ahead.close()
