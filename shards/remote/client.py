"""One connection to an object store: settings, the limits of a request, and what its errors mean.

The library is `obstore` (Rust's object_store). It repeats what can be repeated (5xx, dropped connections,
timeouts) with exponential backoff; what it gives up on is repeated here a few times more where a repetition
cannot do harm. See docs/decisions/0701-object-storage.md.
"""

from __future__ import annotations

import errno
import os
import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from shards.errors import MissingExtra, StorageError

_Result = TypeVar("_Result")

ENDPOINTS = (
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT",
    "AZURE_STORAGE_ENDPOINT",
    "GOOGLE_BASE_URL",
)
"""Variables that name another server; only one that says `http://` is spoken to without TLS."""

_STATUS = re.compile(r"status code: (\d{3})\b")
"""What the text of an error says of the reply; errors of listings have no class that would tell it."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long and how often a request is tried.

    Attributes
    ----------
    request_seconds
        A single request, up to the last byte of its reply.
    retry_seconds
        All repetitions of one request by the library.
    tries
        Times that a request which the library gave up on is made in all.
    backoff_seconds
        First pause between tries; doubled each time, at random between half and the whole.
    """

    request_seconds: float = 30.0
    retry_seconds: float = 120.0
    tries: int = 5
    backoff_seconds: float = 0.2


class Client:
    """Gives the library and its store; opened when first used, in each process anew.

    Safe to share between threads and to pickle. Not usable in a forked child of a process that used it.
    """

    def __init__(self, url: str, limits: Limits | None = None) -> None:
        self.url = url.rstrip("/")
        self.limits = limits or Limits()
        self._opened: tuple[int, Any] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the connection."""
        return self.__dict__ | {"_opened": None}

    @property
    def store(self) -> Any:
        """The library's store.

        Raises
        ------
        StorageError
            A parent of this process has used the library, whose threads do not outlive a fork.
        """
        opened = self._opened
        if opened is None:
            opened = self._opened = (os.getpid(), self._open())
        if opened[0] != os.getpid():
            raise StorageError(
                f"{self.url}: was used by process {opened[0]} before it forked process {os.getpid()}; start "
                "workers by spawn or forkserver (multiprocessing_context='forkserver')"
            )
        return opened[1]

    def _open(self) -> Any:
        library = _library()
        plain_http = any(os.environ.get(name, "").startswith("http://") for name in ENDPOINTS)
        try:
            return library.store.from_url(
                self.url,
                client_options={
                    "timeout": timedelta(seconds=self.limits.request_seconds),
                    "connect_timeout": timedelta(seconds=min(10.0, self.limits.request_seconds)),
                    "allow_http": plain_http,
                },
                retry_config={
                    "max_retries": 10,
                    "retry_timeout": timedelta(seconds=self.limits.retry_seconds),
                    "backoff": {
                        "init_backoff": timedelta(seconds=self.limits.backoff_seconds),
                        "max_backoff": timedelta(seconds=15),
                        "base": 2,
                    },
                },
            )
        except library.exceptions.BaseError as error:
            raise StorageError(f"{self.url}: {first_line(error)}") from None

    def call(self, path: str, request: Callable[[Any, Any], _Result]) -> _Result:
        """Make a request that may be repeated: it reads, or writes the same bytes again.

        Parameters
        ----------
        path
            What it is about, for errors.
        request
            Receives the library and its store.

        Raises
        ------
        FileNotFoundError
            There is no such object or bucket.
        FileExistsError
            A conditional write found an object.
        StorageError
            Anything else, after the last try; at once where the store refuses for good. Its `errno` is EACCES
            where the credentials do not allow it.
        """
        library = _library()
        pause_seconds = self.limits.backoff_seconds
        for left in range(self.limits.tries - 1, -1, -1):
            try:
                return request(library, self.store)
            except (FileNotFoundError, library.exceptions.NotFoundError) as error:
                raise self._absent(path) from error
            except library.exceptions.AlreadyExistsError as error:
                raise FileExistsError(f"{self.url}/{path}: exists") from error
            except library.exceptions.BaseError as error:
                if _status(error) == 404:
                    raise self._absent(path) from error
                if isinstance(
                    error,
                    library.exceptions.PermissionDeniedError | library.exceptions.UnauthenticatedError,
                ) or _status(error) in (401, 403):
                    raise StorageError(
                        errno.EACCES,
                        f"{self.url}/{path}: refused; check the credentials in the environment, what they "
                        f"allow, and the name of the bucket ({first_line(error)})",
                    ) from None
                final = isinstance(
                    error, library.exceptions.InvalidPathError | library.exceptions.NotSupportedError
                )
                if final or not left:
                    raise StorageError(f"{self.url}/{path}: {first_line(error)}") from None
            time.sleep(pause_seconds * random.uniform(0.5, 1.0))
            pause_seconds *= 2
        raise AssertionError("unreachable: the last try returns or raises")

    def _absent(self, path: str) -> FileNotFoundError:
        return FileNotFoundError(f"{self.url}/{path}: no such object or bucket")


def _status(error: Exception) -> int | None:
    found = _STATUS.search(str(error))
    return int(found[1]) if found else None


def first_line(error: Exception) -> str:
    """What the library says, without its debugging output."""
    return str(error).partition("\n")[0].rstrip(": ")[:500]


def _library() -> Any:
    try:
        import obstore
        import obstore.exceptions
        import obstore.store
    except ImportError as error:
        raise MissingExtra(
            "object stores need the package obstore, found none; install shardmill[objects]"
        ) from error
    return obstore
