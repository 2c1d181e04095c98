"""One thread that writes what another has walked: neither disk nor walker waits for the other."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

Call: TypeAlias = Callable[[], None]
Later: TypeAlias = Callable[[Call], None]


@contextmanager
def write_behind(depth: int = 1) -> Iterator[Later]:
    """Give a function that has calls made by a thread, one after another, in the order in which they come.

    At most `depth` calls wait; a further one blocks. When the block is left, for whatever reason, all calls
    have been made and the thread has ended. After a call that fails no other is made, and its error is raised
    by the next one handed in, or on leaving the block.
    """
    calls: queue.Queue[Call | None] = queue.Queue(maxsize=depth)
    failed: list[BaseException] = []

    def run() -> None:
        while (call := calls.get()) is not None:
            if failed:
                continue
            try:
                call()
            except BaseException as error:
                failed.append(error)

    def later(call: Call) -> None:
        if failed:
            raise failed[0]
        calls.put(call)

    thread = threading.Thread(target=run, name="shardmill-write-behind", daemon=True)
    thread.start()
    try:
        yield later
    finally:
        calls.put(None)
        thread.join()
        if failed:
            raise failed[0]
