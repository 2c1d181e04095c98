"""How many files are fetched ahead at once, by how fast they come."""

from __future__ import annotations

import os
import threading
import time
from types import SimpleNamespace
from typing import Any, cast

import pytest

from loaders.errors import CacheFull
from loaders.remote import NUM_FAST, NUM_FETCHERS, CachedStorage, Fetcher
from shards.readers import ShardFile


class Source:
    """Gives files of a size after a while, and counts how many are under way."""

    def __init__(self, seconds: float) -> None:
        self.cache = SimpleNamespace(path=lambda digest, size_bytes: "/nowhere")
        self.seconds, self.now, self.most, self.done = seconds, 0, 0, 0
        self.num_failures = 0
        self.lock = threading.Lock()

    def open(self, path: str, size_bytes: int, xxh3_128: str, *, ahead: bool) -> int:
        with self.lock:
            if self.num_failures:
                self.num_failures -= 1
                raise CacheFull("no room")
            self.now += 1
            if self.done >= 2 * NUM_FETCHERS:  # those that begin before the first is done, and their next
                self.most = max(self.most, self.now)
        time.sleep(self.seconds)
        with self.lock:
            self.now -= 1
            self.done += 1
        return os.open(os.devnull, os.O_RDONLY)


@pytest.mark.parametrize(("size_bytes", "num_at_once"), [(10_000, NUM_FETCHERS), (1 << 40, NUM_FAST)])
def test_more_files_are_under_way_where_each_comes_slowly(size_bytes: int, num_at_once: int) -> None:
    source = Source(0.05)
    fetcher = Fetcher(cast(CachedStorage, source))
    shard = SimpleNamespace(bytes=size_bytes, xxh3_128="")
    files: list[Any] = [SimpleNamespace(path=str(number), shard=shard) for number in range(80)]
    fetcher.want(cast("list[ShardFile]", files))
    deadline = time.monotonic() + 20
    while source.done < len(files) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert source.done == len(files)
    assert source.most == num_at_once


def test_fetchers_outlive_a_full_cache() -> None:
    source = Source(0.0)
    fetcher = Fetcher(cast(CachedStorage, source))
    shard = SimpleNamespace(bytes=10_000, xxh3_128="")
    files: list[Any] = [SimpleNamespace(path=str(number), shard=shard) for number in range(4 * NUM_FETCHERS)]
    source.num_failures = 2 * NUM_FETCHERS
    fetcher.want(cast("list[ShardFile]", files))
    deadline = time.monotonic() + 20
    while source.done < 2 * NUM_FETCHERS and time.monotonic() < deadline:
        time.sleep(0.01)
    assert (source.num_failures, source.done) == (0, 2 * NUM_FETCHERS)


@pytest.mark.parametrize("size_bytes", [10_000, 1 << 40])
def test_threads_end_with_whom_they_work_for(size_bytes: int) -> None:
    before = set(threading.enumerate())
    source = Source(0.0)
    fetcher = Fetcher(cast(CachedStorage, source))
    shard = SimpleNamespace(bytes=size_bytes, xxh3_128="")
    files: list[Any] = [SimpleNamespace(path=str(number), shard=shard) for number in range(80)]
    fetcher.want(cast("list[ShardFile]", files))
    threads = set(threading.enumerate()) - before
    assert len(threads) == NUM_FETCHERS
    del fetcher
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
