"""The operations that the format needs of a store, and their form on a local file system.

Everything that touches files goes through `Storage`, so that faults can be injected below the protocol and
an object store can take its place. Paths are relative to the root, with `/` between names.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol, TypeAlias

from shards.errors import DamagedFile, NotFound
from shards.mapping import map_descriptor
from shards.writeback import start_writeback

Buffer: TypeAlias = "bytes | bytearray | memoryview"
"""Bytes that need no copy."""

HUGE_PAGE_BYTES = 2 << 20
"""The page cache can hold a file in huge pages if it is written in multiples of this, from its start on."""
WRITEBACK_BYTES = 8 << 20
"""Bytes after which the kernel is asked to begin writing, so that `sync` finds little left to wait for."""
PIECE_BYTES = 1 << 20
"""Bytes read at once where a whole file is read: few enough for a processor's cache."""


class WritableFile(Protocol):
    """A new file; its bytes are durable once `sync` has returned."""

    def write(self, data: Buffer) -> int: ...

    def write_at(self, offset: int, data: bytes) -> None: ...

    def sync(self) -> None: ...

    def close(self) -> None: ...


class Storage(Protocol):
    """What the format asks of a store. Failures are OSError. Implementations may be shared by threads."""

    in_place: bool
    """Whether `map` maps the file where it stands, so that its size must be known before."""

    def create(self, path: str) -> WritableFile:
        """Create a file that must not exist."""

    def make_directory(self, path: str) -> None:
        """Create a directory inside an existing one; no error if it is there."""

    def sync_directory(self, path: str) -> None:
        """Make the names in a directory durable."""

    def link(self, source: str, target: str) -> None:
        """Give a file a second name, atomically; FileExistsError if the name is taken."""

    def replace(self, source: str, target: str) -> None:
        """Rename a file over another, atomically."""

    def remove(self, path: str) -> None:
        """Remove a file; no error if it is absent."""

    def remove_directory(self, path: str) -> None:
        """Remove an empty directory; no error if it is absent."""

    def names(self, path: str) -> list[str]:
        """Names in a directory, in any order; none if it is absent."""

    def sizes(self, path: str) -> dict[str, int]:
        """Size of every regular file in a directory; -1 for a link or anything else."""

    def age_seconds(self, path: str) -> float:
        """Seconds since a file or directory was last changed."""

    def read(self, path: str, max_bytes: int) -> bytes:
        """Content of a regular file; NotFound, or DamagedFile if it is larger than allowed."""

    def map(self, path: str, size_bytes: int, xxh3_128: str = "") -> memoryview:
        """Content of a regular file of exactly this size (at least 1), mapped read-only; else DamagedFile.

        The hash, where given, is that of the content; a store that copies files may go by it.
        """

    def pieces(self, path: str, size_bytes: int) -> Iterator[memoryview]:
        """Content of a regular file of exactly this size, read piece by piece; else DamagedFile.

        A piece is valid until the next one is asked for.
        """


class LocalStorage:
    """A directory of a local or network file system with hard links and fsync; POSIX only."""

    in_place = True

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root).absolute()
        self._prefix = f"{self.root}/"

    def create(self, path: str) -> LocalFile:
        """Create a file that must not exist."""
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        return LocalFile(os.open(self._prefix + path, flags, 0o644))

    def make_directory(self, path: str) -> None:
        """Create a directory inside an existing one; no error if it is there."""
        if not path:
            self._make_root(self.root)
            return
        with contextlib.suppress(FileExistsError):
            os.mkdir(self._prefix + path)  # noqa: PTH102 - a str is enough on this path

    def _make_root(self, directory: Path) -> None:
        if not directory.is_dir():
            self._make_root(directory.parent)
            directory.mkdir(exist_ok=True)
            _sync(directory.parent)

    def sync_directory(self, path: str) -> None:
        """Make the names in a directory durable."""
        _sync(self._prefix + path)

    def link(self, source: str, target: str) -> None:
        """Give a file a second name, atomically; FileExistsError if the name is taken."""
        os.link(self._prefix + source, self._prefix + target)

    def replace(self, source: str, target: str) -> None:
        """Rename a file over another, atomically."""
        os.rename(self._prefix + source, self._prefix + target)  # noqa: PTH104

    def remove(self, path: str) -> None:
        """Remove a file; no error if it is absent."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._prefix + path)  # noqa: PTH108

    def remove_directory(self, path: str) -> None:
        """Remove an empty directory; no error if it is absent."""
        with contextlib.suppress(FileNotFoundError):
            os.rmdir(self._prefix + path)  # noqa: PTH106

    def names(self, path: str) -> list[str]:
        """Names in a directory, in any order; none if it is absent."""
        try:
            return os.listdir(self._prefix + path)  # noqa: PTH208 - names alone, without a Path each
        except (FileNotFoundError, NotADirectoryError):
            return []

    def sizes(self, path: str) -> dict[str, int]:
        """Size of every regular file in a directory; -1 for a link or anything else."""
        found: dict[str, int] = {}
        self._check_inside(path)
        try:
            with os.scandir(self._prefix + path) as entries:
                for entry in entries:
                    status = entry.stat(follow_symlinks=False)
                    found[entry.name] = status.st_size if stat.S_ISREG(status.st_mode) else -1
        except (FileNotFoundError, NotADirectoryError):
            return {}
        return found

    def age_seconds(self, path: str) -> float:
        """Seconds since a file or directory was last changed, by the store's own clock."""
        return time.time() - os.lstat(self._prefix + path).st_mtime

    def read(self, path: str, max_bytes: int) -> bytes:
        """Content of a regular file; NotFound, or DamagedFile if it is larger than allowed."""
        self._check_inside(path)
        descriptor, size = self._open(path)
        try:
            if size > max_bytes:
                raise DamagedFile(path, f"has {size} bytes, allowed are {max_bytes}")
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                return file.read(max_bytes)
        finally:
            os.close(descriptor)

    def map(self, path: str, size_bytes: int, xxh3_128: str = "") -> memoryview:
        """Content of a regular file of exactly this size (at least 1), mapped read-only; else DamagedFile."""
        descriptor = self._open_sized(path, size_bytes)
        try:
            return map_descriptor(descriptor, size_bytes)
        finally:
            os.close(descriptor)

    def pieces(self, path: str, size_bytes: int) -> Iterator[memoryview]:
        """Content of a regular file of exactly this size, read piece by piece; else DamagedFile."""
        descriptor = self._open_sized(path, size_bytes)
        try:
            buffer = memoryview(bytearray(min(size_bytes, PIECE_BYTES)))
            left = size_bytes
            while left:
                count = os.readv(descriptor, [buffer[: min(left, len(buffer))]])
                if not count:
                    raise DamagedFile(path, f"ends {left} bytes early")
                left -= count
                yield buffer[:count]
        finally:
            os.close(descriptor)

    def _check_inside(self, path: str) -> None:
        """Refuse a path that links lead out of the root."""
        real, root = os.path.realpath(self._prefix + path), os.path.realpath(self.root)
        if not real.startswith(f"{root.rstrip('/')}/"):
            raise DamagedFile(path, "is a link out of the root")

    def _open_sized(self, path: str, size_bytes: int) -> int:
        try:
            descriptor, size = self._open(path)
        except NotFound:
            raise DamagedFile(path, "is missing") from None
        if size != size_bytes:
            os.close(descriptor)
            raise DamagedFile(path, f"has {size} bytes, its manifest says {size_bytes}")
        return descriptor

    def _open(self, path: str) -> tuple[int, int]:
        """Open a regular file without following a link; its descriptor and size."""
        try:
            descriptor = os.open(
                self._prefix + path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            )
        except FileNotFoundError:
            raise NotFound(f"{self._prefix}{path}: no such file") from None
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.EMLINK, errno.ENOTDIR):
                raise DamagedFile(path, "is a link or lies below a file") from None
            raise
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            raise DamagedFile(path, "is not a regular file")
        return descriptor, status.st_size


def _sync(directory: str | Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class LocalFile:
    """A new file on a local file system."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._written_bytes = 0
        self._started_bytes = 0

    def write(self, data: Buffer) -> int:
        """Append all bytes."""
        view = memoryview(data).cast("B")
        written = 0
        while written < view.nbytes:
            written += os.write(self._descriptor, view[written:])
        self._written_bytes += written
        if self._written_bytes - self._started_bytes >= WRITEBACK_BYTES:
            start_writeback(self._descriptor, self._started_bytes, self._written_bytes)
            self._started_bytes = self._written_bytes
        return written

    def write_at(self, offset: int, data: bytes) -> None:
        """Overwrite bytes at an offset."""
        written = 0
        while written < len(data):
            written += os.pwrite(self._descriptor, data[written:], offset + written)

    def sync(self) -> None:
        """Make the bytes durable."""
        os.fsync(self._descriptor)

    def close(self) -> None:
        """Close; harmless when closed."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)
