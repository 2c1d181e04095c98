"""Datasets on object stores: shards come to a local cache when they are needed, or before."""

from __future__ import annotations

import os
import queue
import re
import threading
import time
import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from loaders.errors import InvalidOption, LoaderError
from loaders.remote_cache import HostCache
from shards.errors import ShardError
from shards.mapping import map_descriptor
from shards.readers import ColumnReader, ShardFile
from shards.remote import ObjectStorage
from shards.remote.url import parent_and_name

NUM_FETCHERS = 16  # files that are fetched ahead at once, where connections are what bounds them
NUM_FAST = 8  # the same where they are not: more only take processors and caches from each other
LOOK_SECONDS = 1.0  # after which a thread that is not needed looks whether it still may be
ADDRESS = re.compile(r"\w+:/")  # two slashes, or one where it was made a path
FAST_BYTES = 100_000_000  # a second of one file; object stores give 40 to 90 million a connection


@dataclass(frozen=True, slots=True)
class RemotePath:
    """Address of a dataset on an object store, and the cache its shards go through; like a path of it.

    Parameters
    ----------
    url
        `s3://bucket/prefix/dataset`.
    cache
        Directory of the cache.
    cache_bytes
        Its bound; None chooses one, see `HostCache`.
    """

    url: str
    cache: str
    cache_bytes: int | None

    @classmethod
    def of(cls, url: str, cache: str | os.PathLike[str] | None, cache_bytes: int | None) -> RemotePath:
        """Check the arguments of a dataset."""
        if cache is None or not os.fspath(cache) or ADDRESS.match(os.fspath(cache)):
            raise InvalidOption(
                f"{url!r} with cache={cache!r}; allowed: cache='DIRECTORY' on a fast local disk, and "
                "cache_bytes=N"
            )
        parent_and_name(url)
        return cls(url, os.path.abspath(cache), cache_bytes)  # noqa: PTH100 - text is kept

    @property
    def parent(self) -> str:
        """Address of the store."""
        return parent_and_name(self.url)[0]

    @property
    def name(self) -> str:
        """Name of the dataset."""
        return parent_and_name(self.url)[1]

    def storage(self) -> CachedStorage:
        """Open the store through the cache."""
        return CachedStorage(self.parent, HostCache(self.cache, self.cache_bytes))

    def __str__(self) -> str:
        """The address."""
        return self.url


class CachedStorage(ObjectStorage):
    """An object store whose files are mapped from a cache of this host.

    Safe to share between threads and to pickle. In a forked child, files that are in the cache are served,
    others need a process that was not forked (see `shards.remote.client`).
    """

    def __init__(self, url: str, cache: HostCache) -> None:
        super().__init__(url)
        self.cache = cache
        self._fetcher = Fetcher(self)

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the threads."""
        return self.__dict__ | {"_fetcher": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Begin with nothing to fetch."""
        self.__dict__.update(state)
        self._fetcher = Fetcher(self)

    def map(self, path: str, size_bytes: int, xxh3_128: str = "") -> memoryview:
        """Content of an object, verified when it came, mapped from the cache."""
        if not xxh3_128:
            return super().map(path, size_bytes)
        descriptor = self.open(path, size_bytes, xxh3_128)
        try:
            mapped: memoryview = map_descriptor(descriptor, size_bytes)
            return mapped
        finally:
            os.close(descriptor)

    def open(self, path: str, size_bytes: int, xxh3_128: str, *, ahead: bool = False) -> int:
        """Open the file of the cache; fetched when it is not there. See `HostCache.open`."""
        fill = partial(self.transfer.download, path, size_bytes)
        return self.cache.open(path, size_bytes, xxh3_128, fill, ahead=ahead)

    def fetch_in_order(self, file: ShardFile) -> None:
        """Bring a large file into the cache by one connection, beside others that are needed sooner."""
        path, size_bytes, xxh3_128 = file.path, file.shard.bytes, file.shard.xxh3_128
        fill = partial(self.transfer.download_in_order, path, size_bytes)
        os.close(self.cache.open(path, size_bytes, xxh3_128, fill, ahead=True))

    def want(self, files: Iterable[ShardFile]) -> None:
        """Fetch files soon, several at once; returns at once. What fails is met again when it is mapped."""
        self._fetcher.want(files)


class Fetcher:
    """Threads that fetch files ahead; they start when first needed and end with the storage they work for."""

    def __init__(self, storage: CachedStorage) -> None:
        self._jobs = _Jobs(storage)
        self._process = -1

    def want(self, files: Iterable[ShardFile]) -> None:
        """Queue files that are neither here nor queued."""
        if self._process not in (-1, os.getpid()):
            return  # a forked child has no threads; it fetches what it maps, when it can
        if self._jobs.add(files) and self._process == -1:
            self._process = os.getpid()
            for number in range(NUM_FETCHERS):
                threading.Thread(
                    target=self._jobs.run, args=[number], name=f"shardmill-fetch-{number}", daemon=True
                ).start()

    def __del__(self) -> None:
        """Let the threads end, without waiting and without a lock: this may be one of them."""
        self._jobs.end()


class _Jobs:
    """What a fetcher and its threads share; the threads hold this, and the storage while they fetch."""

    def __init__(self, storage: CachedStorage) -> None:
        self._storage = weakref.ref(storage)
        self._queue: queue.SimpleQueue[ShardFile | None] = queue.SimpleQueue()
        self._waiting: set[str] = set()
        self._lock = threading.Lock()
        self._slow = threading.Event()
        self._slow.set()  # until the first file has come
        self._is_ended = False

    def add(self, files: Iterable[ShardFile]) -> bool:
        """Queue files that are neither here nor queued; whether any is."""
        storage = self._storage()
        assert storage is not None  # it asks
        with self._lock:
            for file in files:
                shard = file.shard
                if file.path in self._waiting or os.path.exists(  # noqa: PTH110 - text is enough
                    storage.cache.path(shard.xxh3_128, shard.bytes)
                ):
                    continue
                self._waiting.add(file.path)
                self._queue.put(file)
            return bool(self._waiting)

    def end(self) -> None:
        """Let the threads end when what they do now is done."""
        self._is_ended = True
        self._queue.put(None)

    def run(self, number: int) -> None:
        """Fetch files; what each thread runs."""
        while not self._is_ended:
            if number >= NUM_FAST and not self._slow.wait(LOOK_SECONDS):
                continue
            file, storage = self._queue.get(), self._storage()
            if file is None or storage is None:
                break
            start = time.monotonic()
            try:
                os.close(storage.open(file.path, file.shard.bytes, file.shard.xxh3_128, ahead=True))
                fast = file.shard.bytes > FAST_BYTES * (time.monotonic() - start)
                (self._slow.clear if fast else self._slow.set)()
            except (OSError, ShardError, LoaderError, RuntimeError):
                pass  # whoever maps the file meets it again; RuntimeError: the interpreter ends
            finally:
                with self._lock:
                    self._waiting.discard(file.path)
            del storage
        self._queue.put(None)  # for the next thread


class CachePlace:
    """Where the mapped files of a cached store are, for columns; see `loaders.files.Place`."""

    evicts = True

    def __init__(self, storage: CachedStorage) -> None:
        self._storage = storage
        self.bytes_ahead = storage.cache.room.limit_bytes // 4

    def file(self, reader: ColumnReader, shard: int) -> str:
        """Path of a shard's file in the cache."""
        found = reader.file(shard).shard
        return self._storage.cache.path(found.xxh3_128, found.bytes)

    def want(self, reader: ColumnReader, shards: Iterable[int]) -> None:
        """Fetch shards soon."""
        self._storage.want([reader.file(shard) for shard in shards])

    def touch(self, reader: ColumnReader, shards: Iterable[int]) -> None:
        """Say that shards are in use."""
        self._storage.cache.touch([self.file(reader, shard) for shard in shards])
