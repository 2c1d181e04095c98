"""Shards of object stores on a local disk: one directory for all processes of a user on a host.

    <cache>/files/<xxh3_128>-<bytes>     whole, verified files; the name says what is inside
    <cache>/partial/<xxh3_128>-<bytes>   files under way; who makes one holds its lock
    <cache>/usage                        bytes that are taken, never less than the truth, and the boot;
                                         who counts holds its lock

A file gets its name in `files` by a rename, after its bytes were compared with their hash, so whatever kills
a process, there is no half file under that name. Nothing waits for the disk: what a crash of the machine left
is not known to be whole, so a file carries the boot in which it was verified as its time of change, and one
of another boot is compared with its hash again before it is served. Who downloads holds the lock of the file
under way; others wait for it and then find the file. Locks end with their process (`flock`), so a file under
way whose lock is free is of a dead one. What was mapped stays readable when its file is evicted; its room is
free once nobody maps it any more.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import xxhash

from loaders import boot
from loaders.errors import CacheFull, InvalidOption
from loaders.remote_room import FULL_ERRORS, Room
from shards.errors import DamagedFile
from shards.mapping import map_descriptor

Fill = Callable[[int], "str | None"]
"""Writes a file's bytes into an open descriptor, from its start; their hash where it saw them in order."""


class HostCache:
    """A bounded cache of immutable files; safe to share between threads and processes, pickles small.

    Parameters
    ----------
    directory
        Made when it is missing; on a local file system. Of one that may not be written to (another user's, on
        a read-only disk), what it holds is served.
    limit_bytes
        Bytes of all files, those under way included. None: 0.9 of what was free or taken by the cache when
        this was made.

    Raises
    ------
    InvalidOption
        `limit_bytes` is no int of 1 or more.
    CacheFull
        It is None, and the disk is full.
    """

    def __init__(self, directory: str | os.PathLike[str], limit_bytes: int | None = None) -> None:
        if limit_bytes is not None and (type(limit_bytes) is not int or limit_bytes < 1):
            raise InvalidOption(f"cache_bytes={limit_bytes!r}; allowed: an int of 1 or more, or None")
        self.directory = Path(directory).absolute()
        self.room = Room(self.directory, limit_bytes)

    def path(self, xxh3_128: str, size_bytes: int) -> str:
        """Where a file lies when it is here."""
        return f"{self.directory}/files/{_name(xxh3_128, size_bytes)}"

    def open(self, path: str, size_bytes: int, xxh3_128: str, fill: Fill, *, ahead: bool = False) -> int:
        """Open a whole, verified file, which `fill` writes when it is not here; the caller closes it.

        Parameters
        ----------
        path
            What the file is called where it comes from, for errors.
        ahead
            Whether nobody waits for the file yet: then nothing is evicted for it on a full disk.

        Raises
        ------
        shards.DamagedFile
            What was filled in has another hash, twice.
        CacheFull
            There is no room for it.
        InvalidOption
            It is not here, and the cache may not be written to.
        """
        found = self._open(xxh3_128, size_bytes, verify=not self.room.may_write)
        if found is not None:
            return found
        if not self.room.may_write:
            raise InvalidOption(
                f"cache={str(self.directory)!r} does not hold {path}, and user {os.geteuid()} may not write "
                "there; allowed: a directory of this user alone, or one that holds all that is read"
            )
        tries = 0
        while True:
            try:
                return self._fetch(path, size_bytes, xxh3_128, fill)
            except OSError as error:
                if error.errno not in FULL_ERRORS:
                    raise
                if not self.room.make(size_bytes, tries, may_evict=not ahead):
                    raise CacheFull(
                        f"{self.directory}: the disk is full ({error}) and evicting made no room for {path} "
                        f"of {size_bytes} bytes, as what is evicted takes room while a process maps it; "
                        "make room or choose another directory"
                    ) from error
            tries += 1

    def touch(self, names: Iterable[str]) -> None:
        """Say of files, by their path here, that they are in use: others are evicted before them."""
        for name in names:
            with contextlib.suppress(OSError):  # it was evicted, or may not be written to
                _mark(name)

    def _open(self, xxh3_128: str, size_bytes: int, *, verify: bool = False) -> int | None:
        """Open a file verified in this boot, or now if `verify`; None when there is none."""
        name = self.path(xxh3_128, size_bytes)
        try:
            descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        with contextlib.ExitStack() as closing:
            closing.callback(os.close, descriptor)
            status = os.fstat(descriptor)
            if stat.S_ISDIR(status.st_mode):
                raise IsADirectoryError(
                    errno.EISDIR, "A directory where a cached file belongs; remove it", name
                )
            right = status.st_size == size_bytes
            if right and status.st_mtime != boot.mark():
                if not verify:
                    return None
                right = _hash(descriptor, size_bytes) == xxh3_128
            if right:
                with contextlib.suppress(OSError):  # it may not be written to
                    _mark(descriptor)
                closing.pop_all()
                return descriptor
            with contextlib.suppress(OSError):  # cut short by a crash of the machine, or somebody wrote there
                os.unlink(name)  # noqa: PTH108 - paths here are text
        return None

    def _fetch(self, path: str, size_bytes: int, xxh3_128: str, fill: Fill) -> int:
        """Make a file, unless another did meanwhile."""
        name = _name(xxh3_128, size_bytes)
        with self.room.under_way(name) as descriptor:
            try:
                found = self._open(xxh3_128, size_bytes, verify=True)
                if found is None:
                    self.room.reserve(descriptor, size_bytes)
                    _fill_verified(path, size_bytes, xxh3_128, fill, descriptor)
                    if not boot.mark():
                        os.fsync(descriptor)
                    _mark(descriptor)
            except BaseException:
                self.room.remove(f"partial/{name}")
                raise
            if found is not None:
                self.room.remove(f"partial/{name}")
                return found
            self.room.publish(name, descriptor)
            return os.dup(descriptor)


def _name(xxh3_128: str, size_bytes: int) -> str:
    return f"{xxh3_128}-{size_bytes}"


def _mark(file: str | int) -> None:
    """Say of a file that it is in use, and was verified in this boot."""
    os.utime(file, (time.time(), boot.mark()))


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
