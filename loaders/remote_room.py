"""The directory of a host's cache: its files, its locks, the room they take; see `loaders.remote_cache`."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

from loaders import boot
from loaders.errors import CacheFull
from loaders.files import give_up_evicted

NAME = re.compile(r"[0-9a-f]{32}-[0-9]+")
LOW_WATER = 0.9  # eviction goes on until so much of what was allowed is taken, so that it is seldom needed
WAIT_SECONDS = 0.02
FULL_SECONDS = 2.0  # for which room of evicted files is waited for before more is evicted
FULL_TRIES = 10  # to make room on a full disk; the last one evicts a thousand times what is needed
FULL_ERRORS = (errno.ENOSPC, errno.EDQUOT)


class Room:
    """What is taken of a directory by files and by files under way; safe between threads and processes.

    Parameters
    ----------
    directory
        Made when it is missing. One that may not be written to is only read.
    limit_bytes
        Bytes of all files. None: 0.9 of what is free or taken.
    """

    def __init__(self, directory: Path, limit_bytes: int | None) -> None:
        self.directory = directory
        files = directory / "files"
        self.may_write = not files.is_dir() or os.access(files, os.W_OK)
        if self.may_write:
            self._make_folders()
        self.limit_bytes = self._default_limit() if limit_bytes is None else limit_bytes

    def _make_folders(self) -> None:
        for name in ("files", "partial"):
            (self.directory / name).mkdir(parents=True, exist_ok=True)

    def _default_limit(self) -> int:
        disk = os.statvfs(self.directory)
        taken = sum(size for _, size, _ in self.entries("files"))
        limit_bytes = int((disk.f_bavail * disk.f_frsize + taken) * LOW_WATER)
        if limit_bytes < 1:
            raise CacheFull(
                f"{self.directory}: {disk.f_bavail * disk.f_frsize} of the disk's "
                f"{disk.f_blocks * disk.f_frsize} bytes are free, and the cache holds nothing to evict; make "
                "room or choose another directory"
            )
        return limit_bytes

    def entries(self, folder: str) -> list[tuple[str, int, int]]:
        """Name, size and time of last use of every file of a folder that is the cache's own."""
        found = []
        with contextlib.suppress(FileNotFoundError), os.scandir(self.directory / folder) as entries:
            for entry in entries:
                if NAME.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                    with contextlib.suppress(FileNotFoundError):
                        status = entry.stat(follow_symlinks=False)
                        found.append((entry.name, status.st_size, status.st_atime_ns))
        return found

    def remove(self, name: str) -> None:
        """Remove a file, by its path below the directory; no error if it is absent."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{self.directory}/{name}")  # noqa: PTH108 - paths here are text

    @contextlib.contextmanager
    def under_way(self, name: str) -> Iterator[int]:
        """Open and lock the file under way of this name; empty, whatever a dead process left of it."""
        partial = f"partial/{name}"
        while True:
            with self._locked(partial) as descriptor:
                if self._stands(partial, descriptor):  # else whoever had the lock renamed or removed it
                    if os.fstat(descriptor).st_size:  # else it is flushed when it is closed
                        os.truncate(descriptor, 0)
                    yield descriptor
                    return

    def reserve(self, descriptor: int, size_bytes: int) -> None:
        """Give a file under way its size, once there is room for it within the limit.

        Raises
        ------
        CacheFull
            It is larger than the limit.
        OSError
            The disk is full.
        """
        if size_bytes > self.limit_bytes:
            raise CacheFull(
                f"{self.directory}: a file of {size_bytes} bytes does not fit into cache_bytes="
                f"{self.limit_bytes}; give the cache several times the size of a shard"
            )
        while True:
            with self._locked("usage") as usage:
                taken = self._usage(usage) + size_bytes
                if taken > self.limit_bytes:
                    taken = self._bytes_under_way() + size_bytes
                    taken += self._evict(int(self.limit_bytes * LOW_WATER) - taken)
                if taken <= self.limit_bytes:
                    os.truncate(descriptor, size_bytes)  # counted from now on
                    self._set_usage(usage, taken)
                    break
            time.sleep(WAIT_SECONDS)  # all room is taken by files under way; they will be done
        os.posix_fallocate(descriptor, 0, size_bytes)

    def publish(self, name: str, descriptor: int) -> None:
        """Give a file under way its place, unless somebody removed the cache meanwhile."""
        try:
            if self._stands(f"partial/{name}", descriptor):
                os.rename(f"{self.directory}/partial/{name}", f"{self.directory}/files/{name}")  # noqa: PTH104
        except FileNotFoundError:
            self._make_folders()

    def make(self, size_bytes: int, tries: int, *, may_evict: bool) -> bool:
        """Make room on a full disk, more with every try; whether another try makes sense.

        What was evicted takes room until its maps are given up: here at once, by other processes when they
        next look at their files.
        """
        give_up_evicted()
        if tries == 0 and self._has_room(size_bytes):
            return True
        if not may_evict or tries > FULL_TRIES:
            return False
        evicted = self._evict_some(size_bytes << tries)
        deadline = time.monotonic() + FULL_SECONDS
        while not self._has_room(size_bytes):
            if time.monotonic() > deadline:
                return evicted
            time.sleep(WAIT_SECONDS)
            give_up_evicted()
        return True

    def _has_room(self, size_bytes: int) -> bool:
        disk = os.statvfs(self.directory)
        has_names = disk.f_favail > 0 or disk.f_files == 0  # some file systems do not count them
        return has_names and disk.f_bavail * disk.f_frsize >= size_bytes

    def _evict_some(self, size_bytes: int) -> bool:
        """Evict this much, and enough for a while; whether anything went."""
        with self._locked("usage") as usage:
            before = sum(size for _, size, _ in self.entries("files"))
            after = self._evict(min(before - size_bytes, int(before * LOW_WATER)))
            self._set_usage(usage, after + self._bytes_under_way())
            return after < before

    def _evict(self, room_bytes: int) -> int:
        """Remove what is oldest until files take no more than this; what they then take. Needs `usage`."""
        files = sorted(self.entries("files"), key=lambda entry: entry[2])
        taken = sum(size for _, size, _ in files)
        for name, size, _ in files:
            if taken <= room_bytes:
                break
            self.remove(f"files/{name}")
            taken -= size
        return taken

    def _bytes_under_way(self) -> int:
        """Bytes of files under way; those of dead processes are removed. Needs `usage`."""
        return sum(size for name, size, _ in self.entries("partial") if not self._is_dead(f"partial/{name}"))

    def _is_dead(self, partial: str) -> bool:
        """Whether nobody makes this file under way any more; then it is removed."""
        try:
            descriptor = os.open(f"{self.directory}/{partial}", os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        else:
            self.remove(partial)
            return True
        finally:
            _unlock(descriptor)

    def _usage(self, descriptor: int) -> int:
        try:
            taken, of_boot = map(int, os.pread(descriptor, 100, 0).split())
        except ValueError:  # never written, or cut short by a full disk
            return self.limit_bytes
        return taken if of_boot == boot.mark() else self.limit_bytes

    def _set_usage(self, descriptor: int, taken_bytes: int) -> None:
        os.truncate(descriptor, 0)
        with contextlib.suppress(OSError):  # on a full disk it is empty, and counted anew
            os.pwrite(descriptor, f"{taken_bytes} {boot.mark()}".encode(), 0)

    def _stands(self, name: str, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.stat(f"{self.directory}/{name}"), os.fstat(descriptor))  # noqa: PTH116
        except FileNotFoundError:
            return False

    @contextlib.contextmanager
    def _locked(self, name: str) -> Iterator[int]:
        """Open a file to read and write, and lock it; made when it is missing."""
        path, flags = f"{self.directory}/{name}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        try:
            descriptor = os.open(path, flags, 0o644)
        except FileNotFoundError:  # somebody removed the cache
            self._make_folders()
            descriptor = os.open(path, flags, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield descriptor
        finally:
            _unlock(descriptor)


def _unlock(descriptor: int) -> None:
    fcntl.flock(descriptor, fcntl.LOCK_UN)  # closing is not enough where a forked child has it open, too
    os.close(descriptor)
