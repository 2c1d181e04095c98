"""The on-disk format: versions of columns and tables, published by one link, read through memory maps.

Everything public is here; docs/format.md is the specification.
"""

from shards.attempt import Attempt
from shards.commit import Commit
from shards.errors import (
    CommitConflict,
    CommitError,
    CommitFailed,
    CommitStateUnknown,
    DamagedFile,
    InvalidArgument,
    LeaseLost,
    ManifestError,
    MissingExtra,
    NotFound,
    Problem,
    ShardError,
    StorageError,
    UnsupportedFormat,
)
from shards.gc import GcReport
from shards.lease import Lease
from shards.pieces import Pieces
from shards.readers import ColumnReader, TableReader
from shards.schema import Column, Provenance
from shards.snapshot import Snapshot
from shards.snapshot_attempt import SnapshotAttempt
from shards.store import ShardStore
from shards.verify import Damage, VerifyReport
from shards.version import Version

__all__ = [
    "Attempt",
    "Column",
    "ColumnReader",
    "Commit",
    "CommitConflict",
    "CommitError",
    "CommitFailed",
    "CommitStateUnknown",
    "Damage",
    "DamagedFile",
    "GcReport",
    "InvalidArgument",
    "Lease",
    "LeaseLost",
    "ManifestError",
    "MissingExtra",
    "NotFound",
    "Pieces",
    "Problem",
    "Provenance",
    "ShardError",
    "ShardStore",
    "Snapshot",
    "SnapshotAttempt",
    "StorageError",
    "TableReader",
    "UnsupportedFormat",
    "VerifyReport",
    "Version",
]
