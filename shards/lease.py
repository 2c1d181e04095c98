"""Leases: what a running job reads is not collected."""

from __future__ import annotations

import contextlib
import os
import secrets
import socket
import threading
import time
from queue import Empty, SimpleQueue
from types import TracebackType

from shards import marks
from shards.catalog import Catalog
from shards.commit import Directories
from shards.errors import InvalidArgument, LeaseLost, NotFound
from shards.marks import Mark, Pins

MIN_TTL_SECONDS = 1.0


class Lease:
    """Holds versions until it is released or its holder dies; renewed by a thread every third of its life.

    Use it as a context manager. A process that is killed leaves it to expire after `ttl_seconds`.

    Attributes
    ----------
    name
        Random name of the lease's file.
    """

    def __init__(
        self, catalog: Catalog, directories: Directories, dataset: str, pins: Pins, ttl_seconds: float
    ) -> None:
        if not ttl_seconds >= MIN_TTL_SECONDS:
            raise InvalidArgument(f"ttl_seconds {ttl_seconds}: allowed is at least {MIN_TTL_SECONDS}")
        self._storage = catalog.storage
        self._dataset = dataset
        self._pins = {asset: {key: (number,) for key, number in held.items()} for asset, held in pins.items()}
        self._ttl_seconds = ttl_seconds
        self._holder = f"{socket.gethostname()}:{os.getpid()}"
        self.name = secrets.token_hex(16)
        self._expires_at = 0.0
        self._is_released = False
        self._woken: SimpleQueue[None] = SimpleQueue()  # unlike an event, may be told by a finalizer
        try:
            directories.ensure(marks.directory(dataset, "lease"))
            mark = self._renew()
            lost = marks.doomed(self._storage, dataset, mark, time.time())
            if lost is not None:
                raise LeaseLost(f"{dataset}: {lost} is being collected; lease a later snapshot")
            for asset, held in pins.items():
                for key, number in held.items():
                    if number not in catalog.versions(dataset, asset, key):
                        raise NotFound(f"{dataset}/{asset}[{key}] version {number}: collected")
        except BaseException:
            self._remove()
            raise
        self._thread = threading.Thread(target=self._keep, name=f"lease-{self.name[:8]}", daemon=True)
        self._thread.start()

    def _renew(self) -> Mark:
        now = time.time()
        mark = Mark("lease", self.name, self._pins, now, now + self._ttl_seconds, self._holder)
        marks.write(self._storage, self._dataset, mark)
        self._expires_at = now + self._ttl_seconds
        return mark

    def _keep(self) -> None:
        self._sleep()
        while not self._is_released and time.time() < self._expires_at:
            with contextlib.suppress(OSError):  # tried again until the lease has expired
                self._renew()
            if self._is_released:  # while its mark was written
                self._remove()
            self._sleep()

    def _sleep(self) -> None:
        with contextlib.suppress(Empty):
            self._woken.get(timeout=self._ttl_seconds / 3)

    def _remove(self) -> None:
        with contextlib.suppress(OSError):
            marks.remove(self._storage, self._dataset, "lease", self.name)

    def check(self) -> None:
        """Raise LeaseLost when the lease could not be renewed in time or was released."""
        if self._is_released or time.time() >= self._expires_at:
            raise LeaseLost(f"{self._dataset}: lease {self.name} has ended; what it held may be collected")

    def release(self) -> None:
        """End the lease; harmless when it has ended."""
        if not self._is_released:
            self._is_released = True
            self._woken.put(None)
            if self._thread is not threading.current_thread():  # where the garbage collector may release it
                self._thread.join()
            self._remove()

    def __enter__(self) -> Lease:
        """Give the lease."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release it."""
        self.release()
