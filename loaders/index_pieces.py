"""Row numbers of an index on an object store: the pieces that are asked for, until the whole file is here.

The file of a split of 10^9 rows has 4 GB, of which a batch in order needs 1 KB. See
docs/decisions/0714-pieces-of-an-index.md.
"""

from __future__ import annotations

import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt
import xxhash

from loaders.errors import LoaderError
from loaders.files import Locator, Place, Rows
from loaders.index import MappedRows, RowNumbers
from loaders.remote import CachedStorage
from shards.errors import DamagedFile, ShardError
from shards.index import IndexReader, PieceHashes

SMALL_BYTES = 8 << 20  # files up to this size are fetched whole; others once pieces of so many bytes were
HELD_BYTES = 64 << 20  # of pieces in memory
NUM_THREADS = 16  # pieces that are fetched at once

_Rows = npt.NDArray[Any]


def open_rows(reader: IndexReader, storage: CachedStorage, place: Place) -> RowNumbers:
    """Open an index of an object store: mapped where its file is small or in the cache, else by pieces.

    Parameters
    ----------
    reader, storage
        The file and where it is.
    place
        Where it would be in the cache, and how much of that may be fetched ahead.
    """
    if (
        reader.pieces is None
        or reader.file(0).shard.bytes <= min(SMALL_BYTES, place.bytes_ahead)
        or os.path.exists(place.file(reader, 0))  # noqa: PTH110 - text is enough
    ):
        return MappedRows(reader.rows())
    return PiecewiseRows(reader, reader.pieces, storage, place.bytes_ahead)


def first_rows(num_rows: int, row_bytes: int, head_bytes: int, piece_bytes: int) -> Rows:
    """Give the first row of every piece of a file and, last, the number of rows."""
    num_pieces = -(-(head_bytes + num_rows * row_bytes) // piece_bytes)
    starts = np.arange(num_pieces + 1) * piece_bytes - head_bytes
    return np.clip(starts // row_bytes, 0, num_rows)


class PiecewiseRows:
    """Row numbers from pieces that are fetched by ranges, each compared with its hash before it is used.

    Once they were many, the whole file is fetched into the cache by a thread beside, and mapped; where it is
    too large for that, or cannot be fetched, pieces go on serving. The latest pieces are held in memory.

    Parameters
    ----------
    reader, hashes
        The file, of two pieces at least.
    storage
        Where it is.
    bytes_ahead
        Size up to which it is fetched whole.
    """

    def __init__(
        self, reader: IndexReader, hashes: PieceHashes, storage: CachedStorage, bytes_ahead: int
    ) -> None:
        self._reader, self._hashes, self._storage = reader, hashes, storage
        self._file = reader.file(0)
        self._dtype = np.dtype(reader.column.dtype)
        self._head = reader.header
        self._locator = Locator(
            first_rows(len(reader), self._dtype.itemsize, len(self._head), hashes.piece_bytes)
        )
        self._num_held = max(HELD_BYTES // hashes.piece_bytes, NUM_THREADS)
        self._held: dict[int, Future[_Rows]] = {}  # the latest last
        self._num_fetched = 0
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(NUM_THREADS, thread_name_prefix="shardmill-index")
        self._process = os.getpid()
        self._whole: MappedRows | None = None
        self._is_whole_wanted = self._file.shard.bytes <= bytes_ahead

    def __len__(self) -> int:
        """Row numbers."""
        return len(self._reader)

    def take(self, samples: Rows) -> _Rows:
        """Give the row numbers of samples.

        Raises
        ------
        shards.DamagedFile
            A piece is not what its hash says, twice.
        OSError
            The store failed; or this is a forked process and the file is not in the cache.
        """
        whole = self._mapped()
        if whole is not None:
            return whole.take(samples)
        found = np.empty(len(samples), self._dtype)
        pieces, local = self._locator.locate(samples)
        order = np.argsort(pieces, kind="stable")
        numbers, starts = np.unique(np.asarray(pieces)[order], return_index=True)
        places = np.split(order, starts[1:])
        for first in range(0, len(numbers), NUM_THREADS):
            coming = [self._piece(number) for number in numbers[first : first + NUM_THREADS].tolist()]
            for piece, here in zip(coming, places[first : first + NUM_THREADS], strict=True):
                found[here] = piece.result()[local[here]]
        self._want_whole()
        return found

    def is_ready(self, samples: Rows) -> bool:
        """Whether the pieces of samples are here; if not, they are asked for, unless they fill the memory."""
        if self._mapped() is not None:
            return True
        numbers = np.unique(self._locator.locate(samples)[0]).tolist()
        if 2 * len(numbers) > self._num_held:
            return False
        coming = [self._piece(number) for number in numbers]
        return all(piece.done() for piece in coming)

    def _mapped(self) -> MappedRows | None:
        """Give the whole file, if it is here; a forked process has no other way to any row."""
        if self._whole is None and os.getpid() != self._process:
            self._whole = MappedRows(self._reader.rows())
        return self._whole

    def _piece(self, number: int) -> Future[_Rows]:
        with self._lock:
            found = self._held.pop(number, None)
            if found is None or (found.done() and found.exception() is not None):
                found = self._pool.submit(self._fetch, number)
                self._num_fetched += 1
            self._held[number] = found
            if len(self._held) > self._num_held:
                del self._held[next(iter(self._held))]
            return found

    def _fetch(self, number: int) -> _Rows:
        """Fetch a piece, once more where its hash is wrong, and give its rows."""
        path, expected = self._file.path, self._hashes.hashes[number]
        start, skip = number * self._hashes.piece_bytes, 0 if number else len(self._head)
        for last in (False, True):
            data = self._storage.transfer.read(path, start, self._hashes.piece_bytes, self._file.shard.bytes)
            digest = xxhash.xxh3_128_hexdigest(data)
            if digest == expected:
                break
            if last:
                raise DamagedFile(
                    path,
                    f"its {len(data)} bytes from {start} on have xxh3_128 {digest}, its manifest says "
                    f"{expected}",
                )
        if data[:skip] != self._head[:skip]:
            raise DamagedFile(path, f"its header is not that of {len(self)} rows of {self._dtype.str}")
        return np.frombuffer(data, self._dtype, offset=skip)

    def _want_whole(self) -> None:
        """Begin to fetch the whole file, once, when many pieces were fetched."""
        with self._lock:
            is_due = self._is_whole_wanted and self._num_fetched * self._hashes.piece_bytes > SMALL_BYTES
            self._is_whole_wanted = self._is_whole_wanted and not is_due
        if is_due:
            threading.Thread(target=self._fetch_whole, name="shardmill-index-whole", daemon=True).start()

    def _fetch_whole(self) -> None:
        with suppress(OSError, ShardError, LoaderError, RuntimeError):  # RuntimeError: the interpreter ends
            self._storage.fetch_in_order(self._file)
            self._whole = MappedRows(self._reader.rows())
            with self._lock:
                self._held = {}
