"""Every error of this package, one tree.

ShardError
├── InvalidArgument      a value given by the caller is not allowed
├── NotFound             no such dataset, version, tag, column, table or split
├── ManifestError        a manifest breaks the format; `problems` lists every breach
│   └── UnsupportedFormat  it needs a format version or feature that this reader lacks
├── DamagedFile          a data file is missing, of the wrong size, malformed or of another hash
├── LeaseLost            a lease could not be taken or kept
├── StorageError         an object store failed after all repetitions; an OSError, too
├── MissingExtra         the library for object stores is not installed
└── CommitError          nothing was published, unless the error is CommitStateUnknown
    ├── CommitConflict       another writer published first
    ├── CommitFailed         writing, syncing or verifying failed; the attempt is abandoned
    └── CommitStateUnknown   the version may or may not exist; nothing was deleted
"""

from __future__ import annotations

from dataclasses import dataclass


class ShardError(Exception):
    """Base of all errors of `shards`."""


class InvalidArgument(ShardError, ValueError):
    """A value given by the caller is not allowed."""


class NotFound(ShardError, LookupError):
    """No such dataset, version, tag, column, table or split."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One breach of the format.

    Parameters
    ----------
    where
        Location inside the document, as a JSON pointer (`/columns/0/dtype`); empty for the whole.
    kind
        Machine-readable reason; kinds are only ever added.
    got, allowed
        What stands there, shortened, and what may.
    """

    where: str
    kind: str
    got: str
    allowed: str

    def __str__(self) -> str:
        """One line."""
        return f"{self.where or '/'}: {self.kind}: got {self.got}, allowed {self.allowed}"


class ManifestError(ShardError):
    """A manifest breaks the format; `problems` lists every breach found."""

    def __init__(self, path: str, problems: list[Problem]) -> None:
        self.path = path
        self.problems = problems
        lines = "\n".join(f"  {problem}" for problem in problems[:20])
        more = f"\n  and {len(problems) - 20} more" if len(problems) > 20 else ""
        super().__init__(f"{path}: {len(problems)} problem(s) in the manifest\n{lines}{more}")

    def __reduce__(self) -> tuple[type[ManifestError], tuple[str, list[Problem]]]:
        """Pickle by the arguments, so that the error crosses processes."""
        return type(self), (self.path, self.problems)


class UnsupportedFormat(ManifestError):
    """A manifest needs a format version or a feature that this reader does not have."""


class DamagedFile(ShardError):
    """A data file is missing, of the wrong size, malformed, or of another hash than its manifest says."""

    def __init__(self, path: str, reason: str) -> None:
        self.path = path
        self.reason = reason
        super().__init__(f"{path}: {reason}; restore the file or materialize its partition again")

    def __reduce__(self) -> tuple[type[DamagedFile], tuple[str, str]]:
        """Pickle by the arguments, so that the error crosses processes."""
        return type(self), (self.path, self.reason)


class LeaseLost(ShardError):
    """A lease could not be taken or kept, so the versions it names may be collected."""


class StorageError(ShardError, OSError):
    """An object store did not do what was asked, after all repetitions."""


class MissingExtra(ShardError, ImportError):
    """The library for object stores is not installed."""


class CommitError(ShardError):
    """A commit did not give a version."""


class CommitConflict(CommitError):
    """Another writer published this number first; nothing of this attempt was published."""


class CommitFailed(CommitError):
    """Writing, syncing or verifying failed; nothing was published and the attempt is abandoned."""


class CommitStateUnknown(CommitError):
    """The version may or may not have been published; nothing was deleted. Look before trying again."""
