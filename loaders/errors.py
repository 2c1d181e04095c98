"""What can go wrong in a loader, one class a cause.

LoaderError
├── InvalidOption       an argument outside what is allowed (also a ValueError)
├── UnknownName         a column, split or subset that the snapshot does not have (also a KeyError)
├── StateMismatch       a saved state that belongs to another snapshot, order or seed
├── ShardChanged        a file was truncated, replaced or rewritten while it was mapped
├── DecodeFailed        an encoded picture could not be decoded
├── CacheFull           a cache of remote shards has no room for the next one
├── DoesNotFit          a split that is larger than the memory of the device that should hold it
├── WorkerKilled        a worker process ended without saying why; names the shard it read
├── ForeignIterator     an iterator with live threads was used in another process
└── IteratorReplaced    an iterator was used after its loader had begun another one

Failures of the store itself keep their own classes, see `shards.errors`.
"""

from __future__ import annotations

from collections.abc import Iterable


class LoaderError(Exception):
    """Base of every error that `loaders` raises itself."""


class InvalidOption(LoaderError, ValueError):
    """An argument is outside what is allowed."""


class UnknownName(LoaderError, KeyError):
    """The snapshot has no column, split or subset of this name."""

    def __init__(self, what: str, got: str, where: str, allowed: Iterable[str]) -> None:
        names = ", ".join(sorted(allowed)) or "none"
        self.message = f"{where} has no {what} {got!r}; it has: {names}"
        super().__init__(self.message)

    def __str__(self) -> str:
        """Give the message itself; a KeyError would show its repr."""
        return self.message

    def __reduce__(self) -> tuple[type[LoaderError], tuple[str]]:
        """Cross process boundaries as the plain base class with the same message."""
        return LoaderError, (self.message,)


class StateMismatch(LoaderError):
    """A saved state belongs to another snapshot, order or seed."""


class ShardChanged(LoaderError):
    """A file that is mapped was truncated, replaced or rewritten by somebody else."""


class DecodeFailed(LoaderError):
    """An encoded picture could not be decoded."""


class DoesNotFit(LoaderError):
    """A split is larger than the memory that should hold it."""


class CacheFull(LoaderError):
    """A cache of remote shards has no room for the next one."""


class WorkerKilled(LoaderError):
    """A worker process ended without saying why."""


class ForeignIterator(LoaderError):
    """An iterator with live threads was used in another process than the one that made it."""


class IteratorReplaced(LoaderError):
    """An iterator was used after its loader had begun another one, or another place was loaded."""
