"""Shards of object stores on a local disk: one directory for all processes of a host.

    <cache>/files/<xxh3_128>-<bytes>   whole, verified files; the name says what is inside
    <cache>/partial/<name>.<random>    files under way
    <cache>/locks/00 … ff, room        locks; files are chosen by the first two digits of the hash
    <cache>/usage                      bytes that are taken, never less than the truth, and the boot

A file gets its name in `files` by a rename, after its bytes were compared with their hash, so whatever kills
a process, there is no half file under that name. Nothing waits for the disk: what a crash of the machine left
is not known to be whole, so a file carries the boot in which it was verified as its time of change, and one
of another boot is compared with its hash again before it is served. Who downloads holds the lock of the name;
others wait for it and then find the file. Locks end with their process (`flock`). What was mapped stays
readable when its file is evicted; its room is free once nobody maps it any more.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path

import xxhash

from loaders.errors import CacheFull, InvalidOption
from shards.errors import DamagedFile
from shards.mapping import map_descriptor

Fill = Callable[[int], "str | None"]
"""Writes a file's bytes into an open descriptor, from its start; their hash where it saw them in order."""

LOW_WATER = 0.9  # of the limit: eviction goes on until so much is taken, so that it is not needed every time
WAIT_SECONDS = 0.02
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class HostCache:
    """A bounded cache of immutable files; safe to share between threads and processes, pickles small.

    Parameters
    ----------
    directory
        Made when it is missing; on a local file system.
    limit_bytes
        Bytes of all files, those under way included. None: 0.9 of what was free or taken by the cache when
        this was made.
    """

    def __init__(self, directory: str | os.PathLike[str], limit_bytes: int | None = None) -> None:
        self.directory = Path(directory).absolute()
        for name in ("files", "partial", "locks"):
            (self.directory / name).mkdir(parents=True, exist_ok=True)
        if limit_bytes is None:
            taken = sum(size for _, size, _ in self._entries("files"))
            limit_bytes = int(
                (os.statvfs(self.directory).f_bavail * os.statvfs(self.directory).f_frsize + taken) * 0.9
            )
        if limit_bytes < 1:
            raise InvalidOption(f"cache_bytes={limit_bytes}; allowed: 1 or more")
        self.limit_bytes = limit_bytes

    def path(self, xxh3_128: str, size_bytes: int) -> str:
        """Where a file lies when it is here."""
        return f"{self.directory}/files/{xxh3_128}-{size_bytes}"

    def open(self, path: str, size_bytes: int, xxh3_128: str, fill: Fill) -> int:
        """Open a whole, verified file, which `fill` writes when it is not here; the caller closes it.

        Parameters
        ----------
        path
            What the file is called where it comes from, for errors.

        Raises
        ------
        shards.DamagedFile
            What was filled in has another hash, twice.
        CacheFull
            There is no room for it.
        """
        found = self._open(xxh3_128, size_bytes)
        if found is not None:
            return found
        with self._lock(xxh3_128[:2]):
            found = self._open(xxh3_128, size_bytes, verify=True)
            return self._make(path, size_bytes, xxh3_128, fill) if found is None else found

    def touch(self, names: Iterable[str]) -> None:
        """Say of files, by their path here, that they are in use: others are evicted before them."""
        for name in names:
            with contextlib.suppress(FileNotFoundError, PermissionError):
                os.utime(name, (time.time(), boot_mark()))

    def _open(self, xxh3_128: str, size_bytes: int, *, verify: bool = False) -> int | None:
        """Open a file verified in this boot, or now if `verify`; None when there is none."""
        name = self.path(xxh3_128, size_bytes)
        try:
            descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        status = os.fstat(descriptor)
        right = status.st_size == size_bytes
        if right and status.st_mtime != boot_mark():
            if not verify:
                os.close(descriptor)
                return None
            right = _hash(descriptor, size_bytes) == xxh3_128
        if not right:  # cut short by a crash of the machine, or somebody else wrote there
            os.close(descriptor)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)  # noqa: PTH108 - paths here are text
            return None
        with contextlib.suppress(PermissionError):  # of another user: it grows old and is made again
            os.utime(descriptor, (time.time(), boot_mark()))
        return descriptor

    def _make(self, path: str, size_bytes: int, xxh3_128: str, fill: Fill) -> int:
        final = self.path(xxh3_128, size_bytes)
        partial = f"{self.directory}/partial/{xxh3_128}-{size_bytes}.{secrets.token_hex(8)}"
        while True:
            descriptor = self._reserve(partial, size_bytes)
            try:
                os.posix_fallocate(descriptor, 0, size_bytes)
                _fill_verified(path, size_bytes, xxh3_128, fill, descriptor)
                if not boot_mark():
                    os.fsync(descriptor)
                os.utime(descriptor, (time.time(), boot_mark()))
                os.rename(partial, final)  # noqa: PTH104
                return descriptor
            except BaseException as error:
                os.close(descriptor)
                os.unlink(partial)  # noqa: PTH108
                full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
                if not full:
                    raise
                if not self._evict_some(size_bytes):
                    raise CacheFull(
                        f"{self.directory}: the disk is full ({error}) and the cache holds nothing more to "
                        f"evict for {path} of {size_bytes} bytes; make room or choose another directory"
                    ) from error

    def _reserve(self, partial: str, size_bytes: int) -> int:
        """Create a file of this size once there is room for it within the limit."""
        if size_bytes > self.limit_bytes:
            raise CacheFull(
                f"{self.directory}: a file of {size_bytes} bytes does not fit into cache_bytes="
                f"{self.limit_bytes}; give the cache several times the size of a shard"
            )
        while True:
            with self._lock("room"):
                taken = self._usage() + size_bytes
                if taken > self.limit_bytes:
                    taken = self._evict(int(self.limit_bytes * LOW_WATER) - size_bytes) + size_bytes
                if taken <= self.limit_bytes:
                    descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
                    os.truncate(descriptor, size_bytes)  # counted from now on
                    self._set_usage(taken)
                    return descriptor
            time.sleep(WAIT_SECONDS)  # all room is taken by files under way; they will be done

    def _evict_some(self, size_bytes: int) -> bool:
        """Make room on a full disk; whether anything went."""
        with self._lock("room"):
            before = sum(size for _, size, _ in self._entries("files"))
            self._set_usage(self._evict(before - size_bytes, files_only=True))
            return sum(size for _, size, _ in self._entries("files")) < before

    def _evict(self, target_bytes: int, *, files_only: bool = False) -> int:
        """Remove what is oldest until `target_bytes` are taken; what is then taken. Needs the room lock."""
        under_way = sum(size for name, size, _ in self._entries("partial") if not self._is_stale(name, size))
        files = sorted(self._entries("files"), key=lambda entry: entry[2])
        taken = sum(size for _, size, _ in files)
        room = target_bytes - (0 if files_only else under_way)
        for name, size, _ in files:
            if taken <= room:
                break
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{self.directory}/files/{name}")  # noqa: PTH108
            taken -= size
        return taken + under_way

    def _is_stale(self, name: str, size: int) -> bool:
        """Whether a partial file's maker is dead; then it is removed."""
        with self._try_lock(name[:2]) as got:
            if got:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(f"{self.directory}/partial/{name}")  # noqa: PTH108
            return got

    def _entries(self, folder: str) -> list[tuple[str, int, int]]:
        """Name, size and time of last use of every file of a folder."""
        found = []
        with os.scandir(self.directory / folder) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    found.append((entry.name, status.st_size, status.st_atime_ns))
        return found

    def _usage(self) -> int:
        try:
            taken, boot = map(int, (self.directory / "usage").read_text().split())
        except (FileNotFoundError, ValueError):  # never written, or cut short by a full disk
            return self.limit_bytes
        return taken if boot == boot_mark() else self.limit_bytes

    def _set_usage(self, taken_bytes: int) -> None:
        with contextlib.suppress(OSError):  # on a full disk it is empty, and counted anew
            (self.directory / "usage").write_text(f"{taken_bytes} {boot_mark()}")

    @contextlib.contextmanager
    def _lock(self, name: str) -> Iterator[None]:
        descriptor = self._lock_file(name)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def _try_lock(self, name: str) -> Iterator[bool]:
        descriptor = self._lock_file(name)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True
        finally:
            os.close(descriptor)

    def _lock_file(self, name: str) -> int:
        return os.open(f"{self.directory}/locks/{name}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)


@cache
def boot_mark() -> int:
    """A number of the machine's present boot; 0 where the system tells none: then files are synced."""
    try:
        return int(BOOT_ID.read_text()[:7], 16) or 1
    except (OSError, ValueError):
        return 0


def _hash(descriptor: int, size_bytes: int) -> str:
    found: str = xxhash.xxh3_128_hexdigest(map_descriptor(descriptor, size_bytes))
    return found


def _fill_verified(path: str, size_bytes: int, xxh3_128: str, fill: Fill, descriptor: int) -> None:
    """Fill, compare with the hash, and fill once more where they differ."""
    for last in (False, True):
        found = fill(descriptor) or _hash(descriptor, size_bytes)
        if found == xxh3_128:
            return
        if last:
            raise DamagedFile(path, f"has xxh3_128 {found}, its manifest says {xxh3_128}")
