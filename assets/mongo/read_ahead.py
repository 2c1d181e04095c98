"""One thread that reads while another works: neither server nor walker waits for the other."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

Value = TypeVar("Value")


class _End(Generic[Value]):
    """Last entry of the queue: why the source ended."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


@contextmanager
def read_ahead(source: Iterator[Value], depth: int = 2) -> Iterator[Iterator[Value]]:
    """Give the values of `source`, read by a thread that is at most `depth` values ahead.

    The thread has ended, and the source is closed, when the block is left. An error of the source is raised
    in its place, after every value that came before it.
    """
    values: queue.Queue[Value | _End[Value]] = queue.Queue(maxsize=depth)
    stop = threading.Event()

    def put(value: Value | _End[Value]) -> bool:
        while not stop.is_set():
            try:
                values.put(value, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def run() -> None:
        error: BaseException | None = None
        try:
            for value in source:
                if not put(value):
                    break
        except BaseException as caught:
            error = caught
        finally:
            close = getattr(source, "close", None)
            if close is not None:
                close()
        put(_End(error))

    def read() -> Iterator[Value]:
        while True:
            value = values.get()
            if isinstance(value, _End):
                if value.error is not None:
                    raise value.error
                return
            yield value

    thread = threading.Thread(target=run, name="shardmill-read-ahead", daemon=True)
    thread.start()
    try:
        yield read()
    finally:
        stop.set()
        thread.join()
