"""From groups of rows to outcomes in row order: one thread fetches ahead, several decode, within bounds."""

from __future__ import annotations

import os
import queue
import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from assets.vision.blocks import Blocks
from assets.vision.groups import Group
from assets.vision.renderer import Renderer
from assets.vision.sources.gather import Gatherer, Key
from assets.vision.tasks import Fetched, FindRow, Outcome, Task, perform

BYTES_IN_FLIGHT: Final = 256 << 20
"""Encoded bytes that are fetched and not yet decoded."""

_GROUPS_PENDING: Final = 2
_TASKS_AT_ONCE: Final = 8
"""Tasks that a thread takes together where their pictures are there already; queueing takes the lock."""

_Message: TypeAlias = "tuple[Group, Key, Fetched] | Group | BaseException | None"


class Flow:
    """Bounds the encoded bytes between fetching and decoding.

    The bound gives way only when nothing is being decoded, so that pictures that wait for their masks cannot
    block those masks. Thread-safe.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._held_bytes = 0
        self._num_running = 0
        self._stopped = False
        self._changed = threading.Condition()

    def take(self, num_bytes: int) -> None:
        """Wait until there is room."""
        with self._changed:
            self._changed.wait_for(
                lambda: (
                    self._stopped
                    or self._num_running == 0
                    or self._held_bytes + num_bytes <= self._limit_bytes
                )
            )
            self._held_bytes += num_bytes

    def begin(self) -> None:
        """A task was handed to the decoding threads."""
        with self._changed:
            self._num_running += 1

    def end(self, num_bytes: int) -> None:
        """A task is done and its bytes are free."""
        with self._changed:
            self._num_running -= 1
            self._held_bytes -= num_bytes
            self._changed.notify_all()

    def stop(self) -> None:
        """Let everybody through; the work is abandoned."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()


@dataclass(slots=True)
class _Pending:
    group: Group
    futures: list[Future[list[Outcome]]] = field(default_factory=list)

    def outcomes(self) -> dict[str, list[Outcome]]:
        """Outcomes by image column, in row order; waits for them."""
        done = {(one.row, one.plan.name): one for future in self.futures for one in future.result()}
        by_column: dict[str, list[Outcome]] = {}
        for key in self.group.tasks:
            by_column.setdefault(key[1], []).append(done[key])
        return by_column


def run(
    groups: Iterable[Group],
    gatherer: Gatherer,
    renderer: Renderer,
    find: FindRow,
    blocks: Blocks,
    num_threads: int = 0,
) -> Generator[tuple[Group, dict[str, list[Outcome]]], None, None]:
    """Give every group with the outcomes of its tasks, by image column, in row order.

    Parameters
    ----------
    blocks
        Where pixels are made; a group's are used again once the next group is asked for.
    num_threads
        Decoding threads; 0 for one a processor that this process may use.
    """
    flow = Flow(BYTES_IN_FLIGHT)
    messages: queue.Queue[_Message] = queue.Queue(64)
    stop = threading.Event()
    fetcher = threading.Thread(
        target=_fetch, args=(groups, gatherer, flow, messages, stop), name="fetch-ahead", daemon=True
    )
    pool = ThreadPoolExecutor(num_threads or len(os.sched_getaffinity(0)), thread_name_prefix="decode")
    pending: dict[int, _Pending] = {}
    ended: deque[_Pending] = deque()
    fetcher.start()
    try:
        while (message := messages.get()) is not None:
            if isinstance(message, BaseException):
                raise message
            group = message if isinstance(message, Group) else message[0]
            if group.first_row not in pending:
                pending[group.first_row] = started = _Pending(group)
                group.make_in(blocks.take())
                ready = group.ready()
                for first in range(0, len(ready), _TASKS_AT_ONCE):
                    _submit(ready[first : first + _TASKS_AT_ONCE], started, pool, flow, renderer, find)
            if isinstance(message, Group):
                ended.append(pending.pop(group.first_row))
            elif (complete := group.arrived(message[1], message[2])) is not None:
                _submit([complete], pending[group.first_row], pool, flow, renderer, find)
            if len(ended) >= _GROUPS_PENDING:
                yield from _finished(ended, blocks)
        while ended:
            yield from _finished(ended, blocks)
    finally:
        stop.set()
        flow.stop()
        pool.shutdown(cancel_futures=True)
        while fetcher.is_alive():  # it may be waiting for room
            try:
                messages.get(timeout=0.05)
            except queue.Empty:
                continue
        fetcher.join()


def _finished(ended: deque[_Pending], blocks: Blocks) -> Iterator[tuple[Group, dict[str, list[Outcome]]]]:
    done = ended.popleft()
    yield done.group, done.outcomes()
    blocks.give_back(done.group.block)


def _submit(
    tasks: Sequence[Task],
    pending: _Pending,
    pool: ThreadPoolExecutor,
    flow: Flow,
    renderer: Renderer,
    find: FindRow,
) -> None:
    flow.begin()

    def work() -> list[Outcome]:
        done = []
        for task in tasks:
            done.append(perform(task, renderer, find))
            task.data = None  # the bytes are not needed while the group waits to be written
            task.masks.clear()
        return done

    fetched_bytes = sum(task.fetched_bytes for task in tasks)
    future = pool.submit(work)
    future.add_done_callback(lambda _: flow.end(fetched_bytes))
    pending.futures.append(future)


def _fetch(
    groups: Iterable[Group],
    gatherer: Gatherer,
    flow: Flow,
    messages: queue.Queue[_Message],
    stop: threading.Event,
) -> None:
    """Fetch group by group, ahead of the decoding; the end, or what went wrong, is the last message."""
    try:
        for group in groups:
            for key, data in gatherer.gather(group.wanted):
                if stop.is_set():
                    return
                if isinstance(data, bytes):
                    flow.take(len(data))
                messages.put((group, key, data))
            messages.put(group)
            if stop.is_set():
                return
        messages.put(None)
    except BaseException as error:  # whatever it is, it is raised again in the thread that waits for it
        messages.put(error)
