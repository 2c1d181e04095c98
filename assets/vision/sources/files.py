"""Files below one directory: no path leads out of it, neither by `..` nor by a link."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path, PurePosixPath
from typing import Final

from assets.vision.errors import BuildError, FetchError

_READ: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class RootedFiles:
    """Read regular files below `root`; thread-safe. Links may be followed as long as they stay below it."""

    def __init__(self, root: str) -> None:
        self._root = Path(root).resolve()
        if not self._root.is_dir():
            raise BuildError(
                f"root {root!r} of an image column: expected a directory, got none at {self._root}; "
                "create it or correct `root`"
            )

    def read(self, path: str, max_bytes: int) -> bytes:
        """Give the bytes of a file.

        Raises
        ------
        FetchError
            `refused` for a path that leads out or is no regular file, `not_found`, `too_many_bytes`.
        """
        descriptor = self._open(self._inside(path))
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise FetchError("refused", expected="a regular file", got="a directory or device")
            if status.st_size > max_bytes:
                raise FetchError(
                    "too_many_bytes", expected=f"at most {max_bytes} bytes", got=f"{status.st_size} bytes"
                )
            with os.fdopen(os.dup(descriptor), "rb") as file:
                data = file.read(max_bytes + 1)
        except OSError as error:
            raise FetchError("fetch_failed", expected="a readable file", got=_name(error)) from None
        finally:
            os.close(descriptor)
        if len(data) > max_bytes:
            raise FetchError("too_many_bytes", expected=f"at most {max_bytes} bytes", got="more")
        return data

    def _inside(self, path: str) -> tuple[str, ...]:
        """Parts of the path below the root, with every link resolved."""
        pure = PurePosixPath(path)
        if "\x00" in path or pure.is_absolute() or ".." in pure.parts or not pure.parts:
            raise FetchError("refused", expected="a relative path without `..`", got="another path")
        try:
            target = (self._root / pure).resolve(strict=True)
        except (FileNotFoundError, NotADirectoryError):
            raise FetchError("not_found", expected="a file below the root", got="none") from None
        except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links, before Python 3.13
            raise FetchError("refused", expected="a path that ends at a file", got=_name(error)) from None
        if not target.is_relative_to(self._root):
            raise FetchError("refused", expected="a file below the root", got="a link that leads out")
        return target.relative_to(self._root).parts

    def _open(self, parts: tuple[str, ...]) -> int:
        """Open part by part, following no link: what was resolved cannot be exchanged in between."""
        if not parts:
            raise FetchError("refused", expected="a file below the root", got="the root")
        held = os.open(self._root, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
        try:
            for part in parts[:-1]:
                inner = os.open(part, _READ | os.O_DIRECTORY, dir_fd=held)
                os.close(held)
                held = inner
            return os.open(parts[-1], _READ, dir_fd=held)
        except OSError as error:
            gone = error.errno in (errno.ENOENT, errno.ENOTDIR)
            raise FetchError(
                "not_found" if gone else "refused", expected="a readable file", got=_name(error)
            ) from None
        finally:
            os.close(held)


def _name(error: BaseException) -> str:
    number = getattr(error, "errno", None)
    return errno.errorcode.get(number, "an error") if number else type(error).__name__
