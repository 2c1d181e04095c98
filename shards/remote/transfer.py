"""Objects as ranges read in parallel: into a file in any order, or as pieces in order."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from typing import Any, TypeVar

import xxhash

from shards.errors import DamagedFile
from shards.remote.client import Client
from shards.storage import HUGE_PAGE_BYTES, Buffer

RANGE_BYTES = 8 << 20
"""Bytes of one request: long enough that its start costs little, short enough to repeat."""
STREAM_BYTES = 1 << 20
"""Bytes that are written at once; whole ranges in memory cost twice the processor time (new pages)."""
NUM_THREADS = 16
FEW = 4
"""Downloads under way at once, up to which each is read as ranges in parallel."""
AHEAD = 4
"""Ranges that are under way while the caller works on one."""

_Taken = TypeVar("_Taken", int, memoryview)
"""What is made of a reply: bytes, or how many were written."""


class Transfer:
    """Reads objects by ranges. Safe to share between threads; its threads start when first needed."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._under_way = 0

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the threads."""
        return {"_client": self._client}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Begin without threads."""
        self.__init__(state["_client"])  # type: ignore[misc]

    def download(self, path: str, size_bytes: int, descriptor: int) -> str | None:
        """Write an object of exactly this size into a file, from its start.

        Where few objects are under way, one is read as ranges in parallel; where there are many, each is read
        in order, which fills as many connections and takes a fifth less of the processors.

        Returns
        -------
        str or None
            The xxh3_128 of what was written, where it came in order.

        Raises
        ------
        DamagedFile
            It is missing or has another size.
        OSError
            The store failed, or the file system did.
        """
        self._require_own_threads()
        with self._lock:
            self._under_way += 1
            in_order = size_bytes <= RANGE_BYTES or self._under_way > FEW
        try:
            if in_order:
                return self.download_in_order(path, size_bytes, descriptor)
            self._write_in_parallel(path, size_bytes, descriptor)
            return None
        finally:
            with self._lock:
                self._under_way -= 1

    def download_in_order(self, path: str, size_bytes: int, descriptor: int) -> str:
        """Write an object into a file as `download` does, range after range; the xxh3_128 of it."""

        def write(start: int, before: Any) -> Any:
            """Write a range; the hash of all up to its end."""
            digest = before

            def copy(found: Any) -> int:
                nonlocal digest
                digest, offset = before.copy(), start  # nothing counts of a reply that was cut
                for parts in _blocks(found.stream(min_chunk_size=STREAM_BYTES)):
                    for part in parts:
                        digest.update(part)
                    offset += _write(descriptor, parts, offset)
                return offset - start

            self._range(path, start, size_bytes, copy)
            return digest

        digest = xxhash.xxh3_128()
        for start in _starts(size_bytes):
            digest = write(start, digest)
        found: str = digest.hexdigest()
        return found

    def _write_in_parallel(self, path: str, size_bytes: int, descriptor: int) -> None:
        turn = threading.Lock()  # writers of one file wait for each other anyway, in the system by spinning

        def write(start: int) -> None:
            def copy(found: Any) -> int:
                offset = start
                for parts in _blocks(found.stream(min_chunk_size=STREAM_BYTES)):
                    with turn:
                        offset += _write(descriptor, parts, offset)
                return offset - start

            self._range(path, start, size_bytes, copy)

        jobs = [self._submit(partial(write, start)) for start in _starts(size_bytes)]
        try:
            for job in jobs:
                job.result()
        finally:  # nobody may write once the caller closes the descriptor
            for job in jobs:
                job.cancel()
            wait(jobs)

    def pieces(self, path: str, size_bytes: int) -> Iterator[memoryview]:
        """Give the bytes of an object of exactly this size in order; raises as `download`."""
        self._require_own_threads()
        waiting: deque[Future[memoryview]] = deque()
        starts = iter(_starts(size_bytes))

        def read(start: int) -> memoryview:
            return self._range(path, start, size_bytes, lambda found: memoryview(found.bytes()))

        try:
            for start in starts:
                waiting.append(self._submit(partial(read, start)))
                if len(waiting) > AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for job in waiting:
                job.cancel()

    def read(self, path: str, start: int, num_bytes: int, size_bytes: int) -> memoryview:
        """Give bytes from `start` on of an object of exactly this size; raises as `download`."""
        return self._range(path, start, size_bytes, lambda found: memoryview(found.bytes()), num_bytes)

    def _range(
        self,
        path: str,
        start: int,
        size_bytes: int,
        take: Callable[[Any], _Taken],
        num_bytes: int = RANGE_BYTES,
    ) -> _Taken:
        """Take one range out of its reply, which also tells the size of the whole; repeated as a whole."""
        stop = min(start + num_bytes, size_bytes)
        options = None if size_bytes <= num_bytes else {"range": (start, stop)}

        def get(library: Any, store: Any) -> tuple[int, _Taken | None]:
            found = library.get(store, path, options=options)
            size: int = found.meta["size"]
            return size, take(found) if size == size_bytes else None

        try:
            size, taken = self._client.call(path, get)
        except FileNotFoundError:
            raise DamagedFile(path, "is missing") from None
        if taken is None:
            raise DamagedFile(path, f"has {size} bytes, its manifest says {size_bytes}")
        count = taken if isinstance(taken, int) else len(taken)
        if count != stop - start:
            raise DamagedFile(path, f"gave {count} bytes from {start}, asked were {stop - start}")
        return taken

    def _require_own_threads(self) -> None:
        """Raise StorageError in a forked child, where a job would wait for threads of the parent for ever."""
        _ = self._client.store

    def _submit(self, job: Callable[[], Any]) -> Future[Any]:
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(NUM_THREADS, thread_name_prefix="shards-transfer")
            return self._pool.submit(job)


def _starts(size_bytes: int) -> range:
    return range(0, size_bytes, RANGE_BYTES)


def _blocks(parts: Iterable[Buffer]) -> Iterator[list[memoryview]]:
    """Put what comes together into whole huge pages, but for the last."""
    held: list[memoryview] = []
    held_bytes = 0
    for part in parts:
        data = memoryview(part)
        beyond = (held_bytes + len(data)) % HUGE_PAGE_BYTES
        whole = held_bytes + len(data) - beyond
        if whole:
            cut = len(data) - beyond
            yield [*held, data[:cut]]
            held, data = [], data[cut:]
        held.append(data)
        held_bytes = beyond
    if held_bytes:
        yield held


def _write(descriptor: int, parts: list[memoryview], offset: int) -> int:
    """Write parts one behind the other; their bytes."""
    stop = offset + sum(map(len, parts))
    while parts:
        count = os.pwritev(descriptor, parts, stop - sum(map(len, parts)))
        parts = _after(parts, count)
    return stop - offset


def _after(parts: list[memoryview], num_bytes: int) -> list[memoryview]:
    """Give what is left of parts behind the first bytes."""
    for number, part in enumerate(parts):
        if num_bytes < len(part):
            return [part[num_bytes:], *parts[number + 1 :]]
        num_bytes -= len(part)
    return []
