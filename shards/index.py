"""Row numbers of splits and subsets: one file each, and hashes of its pieces for who does not fetch it whole.

The hashes stand in the snapshot's metadata, which are not content: a reader may use them or not.

    "index_pieces": {"piece_bytes": 1048576, "xxh3_128": {"index.train.000000.npy": ["<hash>", ...], ...}}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import xxhash

from shards import npy
from shards.errors import DamagedFile
from shards.manifest import IndexEntry, Shard
from shards.readers import ColumnReader, ShardFiles
from shards.schema import JSON, Column
from shards.storage import Buffer, Storage

NOTE = "index_pieces"
"""Name of the note in a snapshot's metadata."""
PIECE_BYTES = 1 << 20
"""Bytes of a piece; a smaller file has no note."""
PIECE_SIZES = range(4096, (8 << 20) + 1, 64)
"""Bytes that pieces may have: the first holds the header, no row lies in two, and memory holds many."""
CHECKED_ROWS = 1 << 20
"""Indices up to this size are looked through when they are opened; in others, each use must look."""


class PieceHashes(NamedTuple):
    """The xxh3_128 of every piece of a file, and the bytes of all pieces but the last."""

    piece_bytes: int
    hashes: Sequence[str]


def hash_pieces(head: bytes, body: Buffer, piece_bytes: int = PIECE_BYTES) -> list[str]:
    """Hash every piece of a file, given as its header and what follows."""
    body = memoryview(body).cast("B")
    first = piece_bytes - len(head)
    rest = range(first, len(body), piece_bytes)
    return [
        xxhash.xxh3_128_hexdigest(head + body[:first]),
        *(xxhash.xxh3_128_hexdigest(body[start : start + piece_bytes]) for start in rest),
    ]


def note(hashes: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """Give what metadata say of the pieces of files, by name; nothing without files."""
    return {NOTE: {"piece_bytes": PIECE_BYTES, "xxh3_128": dict(hashes)}} if hashes else {}


def noted(metadata: Mapping[str, Any], shard: Shard) -> PieceHashes | None:
    """Find the hashes of a file's pieces; None where metadata say nothing of use about it."""
    match metadata.get(NOTE):
        case {"piece_bytes": int(piece_bytes), "xxh3_128": {shard.file: [*hashes]}}:
            num_pieces = -(-shard.bytes // piece_bytes) if piece_bytes in PIECE_SIZES else None
            if len(hashes) == num_pieces and all(isinstance(digest, str) for digest in hashes):
                return PieceHashes(piece_bytes, hashes)
    return None


class IndexReader(ColumnReader):
    """Row numbers of a split or subset, in its order; uint32 or uint64.

    Parameters
    ----------
    entry
        The index as its manifest describes it.
    metadata
        Those of its manifest.
    num_rows
        Rows of the snapshot.

    Attributes
    ----------
    pieces
        Hashes of the pieces of its file, if they are known.
    """

    def __init__(
        self,
        storage: Storage,
        entry: IndexEntry,
        files: ShardFiles,
        metadata: Mapping[str, JSON],
        num_rows: int,
        *,
        verify: bool,
    ) -> None:
        super().__init__(storage, Column(entry.name, "npy", entry.dtype), files, verify=verify)
        self._limit = num_rows
        self.pieces: PieceHashes | None = None
        if (
            len(files)
            and files[0].shard.bytes == len(self.header) + len(self) * np.dtype(entry.dtype).itemsize
        ):
            self.pieces = noted(metadata, files[0].shard)

    @property
    def header(self) -> bytes:
        """What the file, if there is one, begins with."""
        return npy.header(self.column.dtype, self.num_rows, ())

    def rows(self) -> npt.NDArray[np.unsignedinteger[Any]]:
        """Give all row numbers, mapped.

        Raises
        ------
        DamagedFile
            As `shard`; or one of up to `CHECKED_ROWS` row numbers is not below the rows of the snapshot.
        """
        rows: npt.NDArray[np.unsignedinteger[Any]] = self.read()
        if 0 < rows.size <= CHECKED_ROWS and int(rows.max()) >= self._limit:
            raise DamagedFile(self.path(0), f"names row {rows.max()}, the last is {self._limit - 1}")
        return rows
