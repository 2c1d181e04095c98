"""Work done ahead by threads, handed over in order; a consumer that would wait does a job itself.

Jobs are begun in order, by whichever thread is free, a few ahead of the consumer; results come in order
whoever was faster. NumPy and torch copy without holding the interpreter's lock, so the threads run beside
the training loop and beside each other. See docs/decisions/0506-who-would-wait-helps.md.
"""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

from loaders.errors import ForeignIterator

Result = TypeVar("Result")

_live: weakref.WeakSet[Ahead[Any]] = weakref.WeakSet()


class Once(Generic[Result]):
    """The latest results of `work(number)`, each computed by one thread, for which others wait.

    Parameters
    ----------
    work
        What is computed.
    num_kept
        How many results are remembered.
    """

    def __init__(self, work: Callable[[int], Result], num_kept: int) -> None:
        self._work, self._num_kept = work, num_kept
        self._lock = threading.Lock()
        self._kept: dict[int, Result] = {}

    def __call__(self, number: int) -> Result:
        """Give a result."""
        found = self._kept  # replaced as a whole: who looks needs no lock
        if number in found:
            return found[number]
        with self._lock:
            return self._compute(number)

    def prepare(self, number: int) -> None:
        """Compute a result that will be asked for, unless another thread computes one."""
        if number not in self._kept and self._lock.acquire(blocking=False):
            try:
                self._compute(number)
            finally:
                self._lock.release()

    def _compute(self, number: int) -> Result:
        found = self._kept
        if number not in found:
            latest = list(found.items())[1 - self._num_kept :]
            found = self._kept = {**dict(latest), number: self._work(number)}
        return found[number]


class _Failed:
    def __init__(self, error: BaseException) -> None:
        self.error = error


class _Crew(Generic[Result]):
    """What threads and the consumer share; the threads hold this and not `Ahead`."""

    def __init__(
        self,
        work: Callable[[int], Result],
        num_jobs: int,
        num_ahead: int,
        helped: bool,
        after: Callable[[int], None] | None,
    ) -> None:
        self._work, self._num_jobs, self._num_ahead, self._helped = work, num_jobs, num_ahead, helped
        self._after = after
        self._changed = threading.Condition(threading.Lock())
        self._num_begun = self._num_taken = 0
        self._done: dict[int, Result | _Failed] = {}
        self._stopped = False

    def run(self) -> None:
        """Do jobs until there are no more; what each thread runs."""
        with self._changed:
            while not self._stopped and self._num_begun < self._num_jobs:
                if self._num_begun < self._num_taken + self._num_ahead:
                    number = self._do_next()
                    if self._after is not None:
                        self._changed.release()
                        try:
                            self._after(number)
                        finally:
                            self._changed.acquire()
                else:
                    self._changed.wait()

    def take(self) -> Result | _Failed:
        """Give the next result; do what comes after it while it is not there."""
        with self._changed:
            may_help = self._helped
            while self._num_taken not in self._done:
                if may_help and self._num_begun < self._num_jobs:
                    self._do_next()
                    may_help = False  # what is due has had time enough, and must not wait for more
                else:
                    self._changed.wait()
            result = self._done.pop(self._num_taken)
            self._num_taken += 1
            self._changed.notify_all()
            return result

    def stop(self) -> None:
        """Have threads end when what they do now is done."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _do_next(self) -> int:
        """Do the next job and give its number; the caller holds the lock, which is free meanwhile."""
        number = self._num_begun
        self._num_begun += 1
        self._changed.release()
        result: Result | _Failed
        try:
            result = self._work(number)
        except BaseException as error:  # whatever it is, the consumer must get it
            result = _Failed(error)
        self._changed.acquire()
        self._done[number] = result
        self._changed.notify_all()
        return number


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
    helped
        Whether a consumer that would have to wait does the next job itself. For jobs that hardly hold the
        interpreter's lock, where there is a processor more than threads.
    after
        Called with the number of a job by the thread that did it, once its result can be taken; not by the
        consumer.

    Notes
    -----
    An error in a job is raised where its result would have come. For one consumer. `close` ends the threads;
    it is called when the object is no longer used and when the interpreter ends. Not usable after fork.
    """

    def __init__(
        self,
        work: Callable[[int], Result],
        num_jobs: int,
        num_threads: int,
        prefetch: int,
        *,
        helped: bool = False,
        after: Callable[[int], None] | None = None,
    ) -> None:
        self._work, self._num_jobs = work, num_jobs
        self._next = 0
        self._process = os.getpid()
        num_threads = min(num_threads, num_jobs)
        self._crew = _Crew(work, num_jobs, num_threads * prefetch + helped, helped, after)
        self._threads = [
            threading.Thread(target=self._crew.run, name=f"shardmill-loader-{number}", daemon=True)
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
        result = self._crew.take()
        if isinstance(result, _Failed):
            self.close()
            raise result.error
        return result

    def close(self) -> None:
        """End the threads; unread results are dropped."""
        self._next = self._num_jobs
        if self._threads and os.getpid() == self._process:  # without any, modules may be gone already
            self._crew.stop()
            for thread in self._threads:
                if thread is not threading.current_thread():
                    thread.join()
        self._threads = []

    def __del__(self) -> None:
        """End the threads."""
        self.close()


@atexit.register
def _close_all() -> None:
    for ahead in list(_live):
        ahead.close()
