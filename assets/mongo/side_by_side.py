"""Tasks in several threads, what they give in the order of the tasks, and little of it held at once."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Sequence
from functools import partial
from typing import Generic, TypeAlias, TypeVar

Value = TypeVar("Value")
Emit: TypeAlias = Callable[[Value], None]
Task: TypeAlias = Callable[[Emit[Value]], None]


class Stopped(Exception):
    """Nobody takes values any more; a task lets it pass."""


class _End(Generic[Value]):
    """Last entry of a task's queue: why it ended."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def in_order(
    tasks: Sequence[Task[Value]], num_threads: int, depth: int, stop: threading.Event
) -> Generator[Value, None, None]:
    """Run tasks and give all that the first one emits, then all of the second, and so on.

    Tasks begin in order. A task waits in `emit` while `depth` values of its own have not been taken, so that
    little is in memory however uneven the tasks are. An error of a task is raised in its place. The threads
    have ended when the generator is closed, which sets `stop`: a task that takes long between two values
    looks at it and raises `Stopped`.
    """
    queues: list[queue.Queue[Value | _End[Value]]] = [queue.Queue(depth) for _ in tasks]
    numbers = iter(range(len(tasks)))
    lock = threading.Lock()

    def put(number: int, value: Value | _End[Value]) -> None:
        while not stop.is_set():
            try:
                queues[number].put(value, timeout=0.1)
            except queue.Full:
                continue
            return
        raise Stopped

    def work() -> None:
        error: BaseException | None = None
        while error is None:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            try:
                tasks[number](partial(put, number))
            except Stopped:
                return
            except BaseException as caught:
                error = caught
            try:
                put(number, _End(error))
            except Stopped:
                return

    threads = [
        threading.Thread(target=work, name=f"shardmill-range-{number}", daemon=True)
        for number in range(min(num_threads, len(tasks)))
    ]
    for thread in threads:
        thread.start()
    try:
        for waiting in queues:
            while not isinstance(value := waiting.get(), _End):
                yield value
            if value.error is not None:
                raise value.error
    finally:
        stop.set()
        for thread in threads:
            thread.join()
