"""Reads the ranges of a plan side by side, piece by piece, without what was put down before."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pyarrow as pa
import xxhash
from pymongo import MongoClient

from assets.mongo.columns import Columns
from assets.mongo.extract import Extraction, Pace, Query, Resume
from assets.mongo.fields import Field
from assets.mongo.pieces import Piece, decode, encode
from assets.mongo.pool import Pool
from assets.mongo.read_plan import Part, Plan
from assets.mongo.schema import ID, documents_schema
from assets.mongo.server import Guarantee, SnapshotGone
from assets.mongo.side_by_side import Emit, Stopped, in_order
from assets.progress import Progress, silent
from shards import Pieces, StorageError

LASTING_SECONDS = 10.0
"""What was read before is read again sooner than it is put down."""

PIECES_PER_SPAN = 4
"""Pieces that a range of the expected size has; so many of a range wait for those before them."""

REJECT_BYTES = 400
"""About what a reject takes in memory."""


@dataclass(slots=True)
class RangeRead:
    """Reads a plan.

    Parameters
    ----------
    client, plan, pace
        What, as of when, how.
    queries
        By collection.
    fields
        What is taken from every document, `_id` aside.
    pieces
        Where pieces are put down and found; None to keep none.
    piece_bytes
        BSON of a piece.
    num_threads
        Ranges that are read at once.
    renew
        Gives a later time to go on with when the plan's is no longer in the server's history; without it
        `SnapshotGone` is raised.
    num_kept
        Documents that were put down before; `num_read` came from the server now.
    """

    client: MongoClient[Any]
    plan: Plan
    queries: Mapping[str, Query]
    fields: Sequence[Field]
    pace: Pace
    pieces: Pieces | None = None
    piece_bytes: int = 16 << 20
    num_threads: int = 1
    renew: Callable[[], Guarantee] | None = None
    progress: Progress = silent
    total: int | None = None
    num_kept: int = 0
    num_read: int = 0
    num_resumed: int = 0
    label: str = ""
    """Tells pieces of this plan from those of others."""
    lost: OSError | None = None
    """Why pieces could not be put down any more, if so."""
    pool: Pool = field(default_factory=Pool)
    stop: threading.Event = field(default_factory=threading.Event)
    """Set when nobody takes pieces any more."""
    _unsaid: bytes | None = None
    _lasting_from: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self) -> Generator[tuple[Part, Piece], None, None]:
        """All pieces with their parts, in order; those of about one range a thread are in memory.

        Raises
        ------
        ReadFailed, SnapshotGone, SourceError
            As `Extraction.run` does.
        """
        if self.pieces is not None:
            plan = self.plan.encode()
            self.label = xxhash.xxh3_64_hexdigest(plan)
            self._unsaid = plan if self.pieces.get("plan") is None else None
            self._lasting_from = time.monotonic() + (0 if self.plan.is_lasting else LASTING_SECONDS)
        tasks = [partial(self._read, number, part) for number, part in enumerate(self.plan.parts)]
        self.stop = threading.Event()
        return in_order(tasks, self.num_threads, PIECES_PER_SPAN, self.stop)

    def _read(self, number: int, part: Part, emit: Emit[tuple[Part, Piece]]) -> None:
        """One range: what was put down, then the rest."""
        position, start = 0, None
        while (kept := self._kept(number, position)) is not None:
            if not kept.is_exact and self.renew is None:
                raise SnapshotGone
            self._count(kept.num_documents, is_kept=True)
            emit((part, kept))
            if kept.is_last:
                return
            position, start = position + 1, kept.resume
        _Range(self, number, part, position, start, emit).run()

    def _kept(self, number: int, position: int) -> Piece | None:
        data = None if self.pieces is None else self.pieces.get(self._name(number, position))
        return None if data is None else decode(data, documents_schema(self.fields))

    def put(self, number: int, position: int, piece: Piece) -> None:
        """Put a piece down, if pieces are kept and the read lasts long enough."""
        if self.pieces is not None and self.lost is None and time.monotonic() >= self._lasting_from:
            with self._lock:
                plan, self._unsaid = self._unsaid, None
            if plan is not None:
                self._put(self.pieces, "plan", plan)
            data = encode(piece, documents_schema(self.fields))
            self._put(self.pieces, self._name(number, position), data)

    def _name(self, number: int, position: int) -> str:
        """Name of a piece: its plan, its range, and its place in that."""
        return f"range_{self.label}_{number}_{position}"

    def _put(self, pieces: Pieces, name: str, data: Any) -> None:
        try:
            pieces.put(name, [data])
        except StorageError:
            raise  # a store that is away needs no room; the read goes on from its pieces later
        except OSError as error:  # no room: the version needs it more
            self.lost = error
            pieces.remove()

    def _count(self, num_documents: int, *, is_kept: bool = False, num_resumed: int = 0) -> None:
        with self._lock:
            if is_kept:
                self.num_kept += num_documents
            else:
                self.num_read += num_documents
            self.num_resumed += num_resumed
            done = self.num_kept + self.num_read
        self.progress(done, self.total, "documents")

    def told(self, num_documents: int, num_resumed: int = 0) -> None:
        """Note documents that came from the server."""
        self._count(num_documents, num_resumed=num_resumed)


class _Range:
    """Reads what is left of one range; used by one thread."""

    def __init__(
        self,
        read: RangeRead,
        number: int,
        part: Part,
        position: int,
        start: Resume | None,
        emit: Emit[tuple[Part, Piece]],
    ) -> None:
        self._read, self._number, self._part, self._position = read, number, part, position
        self._emit = emit
        self._rows: list[pa.RecordBatch] = []
        self._columns = Columns(
            [ID, *read.fields], self._rows.append, flush_bytes=read.piece_bytes, pool=read.pool
        )
        query = read.queries[part.collection].within(part.span)
        self._extraction = Extraction(read.client, query, read.plan.at, self._columns, read.pace)
        self._extraction.start, self._extraction.stop = start, read.stop
        self._extraction.on_batch = self._note
        self._num_told = self._num_cut = 0
        self._held_bytes = 0
        self._is_exact = True

    def run(self) -> None:
        while True:
            try:
                self._extraction.run()
                break
            except SnapshotGone:
                if self._read.renew is None:
                    raise
                self._is_exact, self._extraction.at = False, self._read.renew()
        self._tell(self._extraction.num_resumed)
        self._cut(is_last=True)

    def _note(self, size_bytes: int) -> None:
        if self._read.stop.is_set():
            raise Stopped
        self._tell()
        self._held_bytes += size_bytes
        if self._held_bytes + REJECT_BYTES * len(self._columns.rejects) >= self._read.piece_bytes:
            self._cut(is_last=False)

    def _tell(self, num_resumed: int = 0) -> None:
        num_documents = self._extraction.num_documents
        self._read.told(num_documents - self._num_told, num_resumed)
        self._num_told = num_documents

    def _cut(self, *, is_last: bool) -> None:
        """End a piece behind the last document that was walked."""
        columns, num_documents = self._columns, self._extraction.num_documents
        columns.flush()
        rest = {
            "rejects": columns.take_rejects(),
            "resume": self._extraction.resume(),
            "num_documents": num_documents - self._num_cut,
            "is_last": is_last,
            "is_exact": self._is_exact,
        }
        self._num_cut, self._held_bytes = num_documents, 0
        columns.hand_over(partial(self._complete, rest))

    def _complete(self, rest: Mapping[str, Any]) -> None:
        """Put the piece down and pass it on; behind the rows that the columns handed over before."""
        piece = Piece(self._rows[:], **rest)
        self._rows.clear()
        self._read.put(self._number, self._position, piece)
        self._position += 1
        self._emit((self._part, piece))
