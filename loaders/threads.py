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
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

from loaders.errors import ForeignIterator

Result = TypeVar("Result")

NAME = "shardmill-loader"  # of threads

_live: weakref.WeakKeyDictionary[threading.Thread, _Crew[Any]] = weakref.WeakKeyDictionary()


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
    """What threads and the consumer share; the threads hold this and not `Ahead`.

    A permit allows one job to be begun; False in place of one ends every thread. Queues are all that threads
    wait for: whatever the garbage collector ends, in the middle of whichever thread, can be told by `put`,
    which takes no lock that this thread may hold.
    """

    def __init__(
        self,
        work: Callable[[int], Result],
        num_jobs: int,
        num_ahead: int,
        helped: bool,
        after: Callable[[int], None] | None,
    ) -> None:
        self._work, self._after, self._helped = work, after, helped
        self._numbers = iter(range(num_jobs))
        self._permits: SimpleQueue[bool] = SimpleQueue()
        for _ in range(num_ahead):
            self._permits.put(True)
        self._results: SimpleQueue[tuple[int, Result | _Failed]] = SimpleQueue()
        self._is_stopped = False
        # of the consumer
        self._done: dict[int, Result | _Failed] = {}
        self._num_owed = 0  # permits for jobs that the consumer did without one

    def run(self) -> None:
        """Do jobs until there are no more; what each thread runs."""
        while self._permits.get() and not self._is_stopped:
            number = next(self._numbers, None)
            if number is None:
                break
            self._results.put((number, self._do(number)))
            if self._after is not None:
                self._after(number)
        self._permits.put(False)  # for the next thread

    def take(self, number: int) -> Result | _Failed:
        """Give a result, each in its turn; do the job that comes next once, if that would mean to wait."""
        self._receive(wait=False)
        if self._helped and number not in self._done:
            mine = next(self._numbers, None)
            if mine is not None:
                self._done[mine] = self._do(mine, Exception)  # Ctrl-C is not for later
                self._num_owed += 1
        while number not in self._done:
            self._receive(wait=True)
        if self._num_owed:
            self._num_owed -= 1
        else:
            self._permits.put(True)
        return self._done.pop(number)

    def stop(self) -> None:
        """Have threads end when what they do now is done."""
        self._is_stopped = True
        self._permits.put(False)

    def _receive(self, *, wait: bool) -> None:
        with suppress(Empty):
            while True:
                number, result = self._results.get(block=wait)
                self._done[number] = result
                wait = False

    def _do(self, number: int, kept: type[BaseException] = BaseException) -> Result | _Failed:
        """Do a job; an error in it is a result that the consumer gets in its turn."""
        try:
            return self._work(number)
        except kept as error:
            return _Failed(error)


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
    An error in a job is raised where its result would have come. For one consumer. `close` ends the threads
    and waits for them, as the end of the interpreter does; when the object is no longer used they end after
    the job at hand. Not usable after fork.
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
            threading.Thread(target=self._crew.run, name=f"{NAME}-{number}", daemon=True)
            for number in range(num_threads)
        ]
        _live.update(dict.fromkeys(self._threads, self._crew))
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
        result = self._crew.take(number)
        if isinstance(result, _Failed):
            self.close()
            raise result.error
        return result

    def close(self) -> None:
        """End the threads; there are no more results."""
        self._next = self._num_jobs
        self._crew.stop()
        for thread in self._threads:
            thread.join()
        self._threads = []

    def __del__(self) -> None:
        """Let the threads end, without waiting: this may be one of them, or hold what they wait for."""
        self._crew.stop()


@atexit.register
def _end_all() -> None:
    for thread, crew in list(_live.items()):
        crew.stop()
        thread.join()
