"""The cache of a host: whole files, once, within a bound, whatever dies."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import shutil
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import xxhash

from loaders import boot
from loaders.errors import CacheFull, InvalidOption
from loaders.remote_cache import HostCache
from shards.errors import DamagedFile

ROOT = Path(__file__).resolve().parents[3]


def content(number: int, size_bytes: int = 1000) -> bytes:
    return (b"%08d" % number) * (size_bytes // 8)


def open_descriptors() -> list[str]:
    found = []
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.append(str(link.readlink()))
    return found


def write(descriptor: int, data: bytes) -> None:
    os.pwrite(descriptor, data, 0)


class Source:
    """Counts how often each file is fetched."""

    def __init__(self, cache: HostCache) -> None:
        self.cache = cache
        self.fetched: list[int] = []

    def read(self, number: int, size_bytes: int = 1000) -> bytes:
        data = content(number, size_bytes)

        def fill(descriptor: int) -> None:
            self.fetched.append(number)
            os.pwrite(descriptor, data, 0)

        descriptor = self.cache.open(f"f{number}", len(data), xxhash.xxh3_128_hexdigest(data), fill)
        try:
            return os.pread(descriptor, len(data) + 1, 0)
        finally:
            os.close(descriptor)


def files(cache: HostCache, folder: str = "files") -> list[str]:
    return sorted(path.name for path in (cache.directory / folder).iterdir())


def test_a_file_is_fetched_once(tmp_path):
    source = Source(HostCache(tmp_path / "made" / "here", 10_000))
    for _ in range(3):
        assert source.read(1) == content(1)
    again = Source(pickle.loads(pickle.dumps(source.cache)))
    assert again.read(1) == content(1)
    assert source.fetched == [1]
    assert again.fetched == []
    assert files(source.cache, "partial") == []


def test_the_least_recently_used_goes_first(tmp_path):
    source = Source(HostCache(tmp_path, 4_500))
    for number in range(4):
        source.read(number)
        time.sleep(0.01)
    source.read(0)
    source.read(4)  # goes down to 0.9 of the limit: the two oldest go
    assert source.fetched == [0, 1, 2, 3, 4]
    for number in (0, 3, 4):
        source.read(number)
    assert source.fetched == [0, 1, 2, 3, 4]
    source.read(1)
    assert source.fetched == [0, 1, 2, 3, 4, 1]


def test_the_bound_holds_for_many_threads(tmp_path):
    source = Source(HostCache(tmp_path, 5_000))
    room = source.cache.room
    most = 0
    done = threading.Event()

    def look() -> None:
        nonlocal most
        while not done.is_set():
            with room._locked("usage"):  # so that only renames happen: what is seen is not more than there is
                found = [entry for folder in ("files", "partial") for entry in room.entries(folder)]
            most = max(most, sum(size for _, size, _ in found))

    watcher = threading.Thread(target=look)
    watcher.start()
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda n: source.read(n % 37) == content(n % 37), range(400)))
    done.set()
    watcher.join()
    assert 0 < most <= 5_000


def test_an_evicted_file_stays_readable_for_whoever_opened_it(tmp_path):
    source = Source(HostCache(tmp_path, 2_000))
    data = content(0)
    held = source.cache.open("f0", len(data), xxhash.xxh3_128_hexdigest(data), lambda d: write(d, data))
    for number in range(1, 6):
        source.read(number)
    assert not any(name.startswith(xxhash.xxh3_128_hexdigest(data)) for name in files(source.cache))
    assert os.pread(held, 2000, 0) == data
    os.close(held)


def test_wrong_bytes_are_fetched_again_and_never_served(tmp_path):
    cache = HostCache(tmp_path, 10_000)
    data = content(1)
    digest = xxhash.xxh3_128_hexdigest(data)
    tries = iter([b"x" * len(data), data])
    descriptor = cache.open("f", len(data), digest, lambda d: write(d, next(tries)))
    assert os.pread(descriptor, 2000, 0) == data
    os.close(descriptor)
    shutil.rmtree(tmp_path)
    cache = HostCache(tmp_path, 10_000)
    with pytest.raises(DamagedFile, match="xxh3_128"):
        cache.open("f", len(data), digest, lambda d: write(d, b"x" * len(data)))
    assert files(cache) == files(cache, "partial") == []


def test_a_hash_that_was_taken_on_the_way_is_believed_and_compared(tmp_path):
    cache = HostCache(tmp_path, 10_000)
    data = content(1)
    digest = xxhash.xxh3_128_hexdigest(data)
    told = iter(["0" * 32, digest])

    def fill(descriptor: int) -> str:
        write(descriptor, data)
        return next(told)

    os.close(cache.open("f", len(data), digest, fill))
    assert next(told, None) is None


def test_a_file_of_another_size_is_thrown_away(tmp_path):
    source = Source(HostCache(tmp_path, 10_000))
    source.read(1)
    os.truncate(tmp_path / "files" / files(source.cache)[0], 10)
    assert source.read(1) == content(1)
    assert source.fetched == [1, 1]


def test_after_a_crash_of_the_machine_files_are_verified_before_they_are_served(tmp_path, monkeypatch):
    """What a crash leaves of unsynced files: some whole, some of zeros, some short; and a usage of before."""
    source = Source(HostCache(tmp_path, 10_000))
    for number in range(4):
        source.read(number)
    paths = [Path(source.cache.path(xxhash.xxh3_128_hexdigest(content(number)), 1000)) for number in range(4)]
    paths[1].write_bytes(bytes(1000))
    os.truncate(paths[2], 0)
    (tmp_path / "usage").write_text(f"0 {boot.mark()}")
    before = boot.mark()
    monkeypatch.setattr("loaders.boot.mark", lambda: 12345)
    restarted = Source(HostCache(tmp_path, 10_000))
    assert [restarted.read(number) for number in (0, 1, 2, 0, 1)] == [content(n) for n in (0, 1, 2, 0, 1)]
    assert restarted.fetched == [1, 2]
    assert {path.stat().st_mtime for path in paths[:3]} == {12345}
    assert paths[3].stat().st_mtime == before
    restarted.cache.room.limit_bytes = 4_000  # what was there counts
    restarted.read(5)
    assert len(files(restarted.cache)) <= 4


def test_without_a_boot_to_remember_files_are_synced(tmp_path, monkeypatch):
    monkeypatch.setattr("loaders.boot.BOOT_ID", tmp_path / "absent")
    assert boot.mark.__wrapped__() == 0
    monkeypatch.setattr("loaders.boot.mark", lambda: 0)
    synced = []
    monkeypatch.setattr(os, "fsync", synced.append)
    source = Source(HostCache(tmp_path / "cache", 10_000))
    assert source.read(1) == source.read(1) == content(1)
    assert (source.fetched, len(synced)) == ([1], 1)


def test_failures_leave_nothing(tmp_path):
    cache = HostCache(tmp_path, 10_000)

    def fail(descriptor: int) -> None:
        raise ConnectionResetError("cut")

    with pytest.raises(ConnectionResetError):
        cache.open("f", 1000, "0" * 32, fail)
    assert files(cache) == files(cache, "partial") == []


def test_what_cannot_fit_is_refused(tmp_path):
    cache = HostCache(tmp_path, 999)
    with pytest.raises(CacheFull, match="cache_bytes=999"):
        Source(cache).read(1)
    with pytest.raises(InvalidOption):
        HostCache(tmp_path, 0)
    assert HostCache(tmp_path).room.limit_bytes > 1_000_000


def read_many(cache: Path, limit_bytes: int, mode: str, numbers: list[int]) -> None:
    """Read files in a process of its own, which writes down what it fetches and dies where it is told."""
    shared = HostCache(cache, limit_bytes)
    for number in numbers:
        data = content(number, 100_000)

        def fill(descriptor: int, number: int = number, data: bytes = data) -> None:
            with Path(f"{cache}.log").open("a") as log:
                log.write(f"{number}\n")
            os.pwrite(descriptor, data[:50_000], 0)
            if mode == "die":
                os.kill(os.getpid(), signal.SIGKILL)
            os.pwrite(descriptor, data[50_000:], 50_000)

        descriptor = shared.open(f"f{number}", len(data), xxhash.xxh3_128_hexdigest(data), fill)
        assert os.pread(descriptor, len(data) + 1, 0) == data
        os.close(descriptor)


def run_readers(*arguments: tuple[Path, int, str, list[int]]) -> list[int | None]:
    """Exit status of processes that read side by side."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["loaders.remote_cache"])
    processes = [context.Process(target=read_many, args=given) for given in arguments]
    for process in processes:
        process.start()
    for process in processes:
        process.join(600)
    return [process.exitcode for process in processes]


def test_processes_share_files_without_fetching_one_twice(tmp_path):
    cache = tmp_path / "cache"
    numbers = list(range(40))
    given = [(cache, 100_000_000, "live", numbers[k:] + numbers[:k]) for k in (0, 0, 13)]
    assert run_readers(*given) == [0, 0, 0]
    fetched = Path(f"{cache}.log").read_text().split()
    assert sorted(map(int, fetched)) == numbers


def test_processes_that_evict_each_other_read_right_bytes(tmp_path):
    cache = tmp_path / "cache"
    assert run_readers(*((cache, 450_000, "live", list(range(k, 20)) * 3) for k in range(3))) == [0, 0, 0]


def test_a_killed_process_leaves_no_half_file_and_no_lock(tmp_path):
    cache = tmp_path / "cache"
    assert run_readers((cache, 10_000_000, "die", [1])) == [-signal.SIGKILL]
    assert len(list((cache / "partial").iterdir())) == 1
    assert list((cache / "files").iterdir()) == []
    assert run_readers((cache, 10_000_000, "live", [1])) == [0]
    small = HostCache(cache, 250_000)  # room is wanted, so that what the dead left is found
    (cache / "usage").write_text("250000")
    Source(small).read(5)
    assert list((cache / "partial").iterdir()) == []


@pytest.mark.parametrize("number", [1, 2], ids=["the same", "another"])
def test_what_a_killed_process_had_under_way_takes_no_room(tmp_path, number):
    cache = tmp_path / "cache"
    assert run_readers((cache, 150_000, "die", [1])) == [-signal.SIGKILL]
    assert run_readers((cache, 150_000, "live", [number])) == [0]
    assert [len(list((cache / folder).iterdir())) for folder in ("files", "partial")] == [1, 0]


def test_a_child_that_was_forked_meanwhile_keeps_no_lock(tmp_path):
    cache = HostCache(tmp_path, 10_000)
    filling, filled = threading.Event(), threading.Event()
    data = content(1)

    def fill(descriptor: int) -> None:
        filling.set()
        assert filled.wait(60)
        write(descriptor, data)

    def read() -> bytes:
        descriptor = cache.open("f1", len(data), xxhash.xxh3_128_hexdigest(data), fill)
        try:
            return os.pread(descriptor, len(data) + 1, 0)
        finally:
            os.close(descriptor)

    with ThreadPoolExecutor(2) as pool:
        readers = [pool.submit(read)]
        assert filling.wait(60)
        readers.append(pool.submit(read))
        partial = f"{tmp_path}/partial/{files(cache, 'partial')[0]}"
        deadline = time.monotonic() + 60
        while open_descriptors().count(partial) < 2:  # the second waits for the lock of the first
            assert time.monotonic() < deadline
            time.sleep(0.01)
        ends = os.pipe()
        child = os.fork()
        if not child:
            os.close(ends[1])
            os.read(ends[0], 1)
            os._exit(0)
        try:
            filled.set()
            assert [reader.result(timeout=60) for reader in readers] == [data, data]
        finally:
            os.close(ends[1])  # ends the child, and with it all that it might hold
            os.waitpid(child, 0)
            os.close(ends[0])


def test_files_of_others_stay_and_disturb_nothing(tmp_path):
    cache = HostCache(tmp_path, 3_000)
    others = [
        tmp_path / "files" / "checkpoint-0.pt",
        tmp_path / "files" / ("0" * 31 + "x-1000"),
        tmp_path / "partial" / "thesis.tex",
    ]
    for other in others:
        other.write_bytes(bytes(2_000))
    folders = [tmp_path / folder / "lost+found" for folder in ("files", "partial")]
    folders.append(tmp_path / "files" / ("0" * 32 + "-1000"))
    for folder in folders:
        folder.mkdir()
    source = Source(cache)
    for number in range(8):
        assert source.read(number) == content(number)
    assert 0 < len(cache.room.entries("files")) <= 3
    assert all(path.exists() for path in (*others, *folders))


def test_a_directory_where_a_file_belongs_is_told(tmp_path):
    source = Source(HostCache(tmp_path, 10_000))
    place = Path(source.cache.path(xxhash.xxh3_128_hexdigest(content(1)), 1000))
    place.mkdir()
    before = len(open_descriptors())
    with pytest.raises(IsADirectoryError, match=f"remove it: '{place}'"):
        source.read(1)
    assert len(open_descriptors()) == before
