"""One collection into columns: in `_id` order, at one point in time, resumed after faults."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import bson
from pymongo import MongoClient
from pymongo.client_session import ClientSession
from pymongo.errors import (
    AutoReconnect,
    ConnectionFailure,
    CursorNotFound,
    ExecutionTimeout,
    OperationFailure,
    PyMongoError,
)

from assets.mongo.columns import Columns
from assets.mongo.errors import ReadFailed, SourceError
from assets.mongo.ids import EXACT
from assets.mongo.pin import held_to_one
from assets.mongo.read_ahead import read_ahead
from assets.mongo.replies import MAX_BATCH, Batch, read_replies
from assets.mongo.server import SNAPSHOT_GONE, Guarantee, SnapshotGone
from assets.mongo.splits import WHOLE, Span
from assets.progress import Progress, silent

PASSING_CODES = {
    6,  # HostUnreachable
    7,  # HostNotFound
    43,  # CursorNotFound
    89,  # NetworkTimeout
    91,  # ShutdownInProgress
    175,  # QueryPlanKilled
    189,  # PrimarySteppedDown
    237,  # CursorKilled
    262,  # ExceededTimeLimit
    9001,  # SocketException
    10107,  # NotWritablePrimary
    11600,  # InterruptedAtShutdown
    11601,  # Interrupted
    11602,  # InterruptedDueToReplStateChange
    13435,  # NotPrimaryNoSecondaryOk
    13436,  # NotPrimaryOrSecondary
}
RETRY_SECONDS = 120.0
"""How long a fault may last: a read fails when it makes no progress for so long."""

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Resume:
    """The last document that was read: its `_id`, and how many in a row had it (pipelines may repeat it)."""

    id: Any
    num_documents: int


@dataclass(frozen=True, slots=True)
class Query:
    """What is read of one collection.

    Parameters
    ----------
    database, collection
        Names.
    condition
        Filter of the documents.
    pipeline
        Stages that make documents of those that pass the filter; None reads them as they are.
    projection
        Names of the members at the top of the documents that are sent; None for all.
    hint
        Index to use, by name or by keys; None to let the server choose.
    order
        Fields that order the result, `_id` first.
    span
        Range of `_id`.
    """

    database: str
    collection: str
    condition: Mapping[str, Any]
    pipeline: Sequence[Mapping[str, Any]] | None = None
    projection: tuple[str, ...] | None = None
    hint: str | Mapping[str, int] | None = None
    order: tuple[str, ...] = ("_id",)
    allow_disk_use: bool = True
    span: Span = WHOLE

    def within(self, span: Span) -> Query:
        """The same of one range of `_id`, found by the index that every collection has."""
        return self if span == WHOLE else replace(self, span=span, hint={"_id": 1})

    def command(self, at: Guarantee, comment: str, resume: Resume | None = None) -> dict[str, Any]:
        """The command that reads it, or what is left of it when it is resumed."""
        bounds = self.span.bounds() if self.pipeline is None else {}
        span = [] if bounds else self.span.conditions()
        conditions = [one for one in (dict(self.condition), *span) if one]
        order = dict.fromkeys(self.order, 1)
        beyond: dict[str, Any] | None = None
        if resume is not None:
            # `$expr` compares across types; the plain operator would lose every `_id` of another type.
            operator = "$gt" if self.pipeline is None else "$gte"
            beyond = {"$expr": {operator: ["$_id", {"$literal": resume.id}]}}
            if self.pipeline is None:
                conditions.append(beyond)
                if bounds:
                    bounds["min"] = {"_id": resume.id}
        condition = {"$and": conditions} if len(conditions) > 1 else (conditions or [{}])[0]
        if self.pipeline is None:
            command: dict[str, Any] = {"find": self.collection, "filter": condition, "sort": order}
            command |= bounds
            if self.projection is not None:
                command["projection"] = {"_id": 1, **dict.fromkeys(self.projection, 1)}
            if self.hint is not None:
                command["hint"] = self.hint
        else:
            stages: list[Mapping[str, Any]] = [{"$match": condition}, *self.pipeline]
            if beyond is not None:
                stages.append({"$match": beyond})
            stages.append({"$sort": order})
            if self.projection is not None:
                stages.append({"$project": {"_id": 1, **dict.fromkeys(self.projection, 1)}})
            command = {"aggregate": self.collection, "pipeline": stages}
        command["allowDiskUse"] = self.allow_disk_use
        command["comment"] = comment
        if at.read_concern is not None:
            command["readConcern"] = at.read_concern
        return command


@dataclass(slots=True)
class Pace:
    """How reads treat the server and how long they try.

    Parameters
    ----------
    batch_bytes
        Bytes of BSON a batch should have.
    max_documents_per_second
        Upper bound of the rate, None for none.
    read_preference
        Which members of a replica set are asked.
    comment
        What the server's log and `currentOp` show.
    """

    batch_bytes: int = 4 << 20
    max_documents_per_second: float | None = None
    read_preference: Any = None
    comment: str = "shardmill"
    _free_at: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def wait(self, num_documents: int, stop: threading.Event) -> None:
        """Let the time pass that so many documents may take, or `stop`; shared by reads side by side."""
        if self.max_documents_per_second is None:
            return
        with self._lock:
            now = time.monotonic()
            self._free_at = until = max(now, self._free_at) + num_documents / self.max_documents_per_second
        stop.wait(until - now)


@dataclass(slots=True)
class Extraction:
    """Reads one query into columns.

    Parameters
    ----------
    client
        Connected client.
    query, at, pace
        What, as of when, how.
    columns
        Receives the documents.
    progress
        Told the number of documents read.
    total
        Documents to come, where that is known.
    on_batch
        Called after every batch that was walked, with its size in bytes.
    start
        The last document that was read before, None to begin at the first one.
    num_resumed
        Counts how often the read was resumed after a fault.
    stop
        Cuts waiting short when it is set; the read goes on, unless `on_batch` raises something.
    """

    client: MongoClient[Any]
    query: Query
    at: Guarantee
    columns: Columns
    pace: Pace = field(default_factory=Pace)
    progress: Progress = silent
    total: int | None = None
    on_batch: Callable[[int], None] | None = None
    start: Resume | None = None
    num_resumed: int = 0
    num_documents: int = 0
    stop: threading.Event = field(default_factory=threading.Event)
    _tail: tuple[Batch, int, int] | None = None

    def run(self) -> int:
        """Read everything; the number of documents.

        Raises
        ------
        ReadFailed
            When a fault lasts longer than `RETRY_SECONDS`.
        SnapshotGone
            When the server no longer has the data of the point in time; what was read before stays.
        SourceError
            When the server refuses the read for good.
        """
        pause, failing_since = FIRST_PAUSE_SECONDS, None
        while True:
            before = self.num_documents
            try:
                self._read()
                return self.num_documents
            except PyMongoError as error:
                self._check(error)
                now = time.monotonic()
                if self.num_documents > before or failing_since is None:
                    pause, failing_since = FIRST_PAUSE_SECONDS, now
                if now - failing_since > RETRY_SECONDS:
                    raise ReadFailed(
                        f"{self.query.database}.{self.query.collection}: no progress for "
                        f"{RETRY_SECONDS:g} s after {self.num_documents} documents "
                        f"({type(error).__name__}); nothing was published, run it again"
                    ) from error
                self.num_resumed += 1
                self.stop.wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def _check(self, error: PyMongoError) -> None:
        """Let pass what can pass; raise what cannot."""
        if isinstance(error, OperationFailure):
            if error.code in SNAPSHOT_GONE:
                raise SnapshotGone from error
            if error.code in PASSING_CODES or error.has_error_label("RetryableWriteError"):
                return
            if isinstance(error, CursorNotFound | ExecutionTimeout):
                return
            text = (error.details or {}).get("errmsg", type(error).__name__)
            raise SourceError(
                f"{self.query.database}.{self.query.collection}: the server refuses the read "
                f"(code {error.code}): {text}"
            ) from error
        if not isinstance(error, AutoReconnect | ConnectionFailure):
            raise error

    def _read(self) -> None:
        resume = self.resume()
        command = self.query.command(self.at, self.pace.comment, resume)
        skip = 0 if resume is None or self.query.pipeline is None else resume.num_documents
        with (
            self.client.start_session(causal_consistency=False) as session,
            read_ahead(self._replies(command, session)) as replies,
            self.columns.written_behind(),
        ):
            for batch in replies:
                before = self.num_documents
                skip = self._take(batch, skip)
                if self.on_batch is not None:
                    self.on_batch(batch.size_bytes)
                self.progress(self.num_documents, self.total, "documents")
                self.pace.wait(self.num_documents - before, self.stop)

    def _replies(self, command: Mapping[str, Any], session: ClientSession) -> Iterator[Batch]:
        """The batches of a command, from one server; runs in the thread that reads ahead."""
        rate = self.pace.max_documents_per_second
        with held_to_one(self.client, self.pace.read_preference):
            yield from read_replies(
                self.client.get_database(self.query.database),
                command,
                session=session,
                batch_bytes=self.pace.batch_bytes,
                max_documents=MAX_BATCH if rate is None else max(1, min(MAX_BATCH, int(rate / 4))),
                read_preference=self.pace.read_preference,
            )

    def _take(self, batch: Batch, skip: int) -> int:
        """Walk one batch, without the `skip` documents that were read before the fault."""
        start = batch.start
        while skip and start < batch.stop:
            start = _after(batch, start)
            skip -= 1
        if start < batch.stop:
            self.num_documents += self.columns.feed(batch.data, start, batch.stop, array=True)
            last = self.columns.last_place()
            self._tail = (
                batch,
                last,
                1 if self.query.pipeline is None else self._repeats(batch, start, last),
            )
        return skip

    def _repeats(self, batch: Batch, start: int, last: int) -> int:
        """How many documents up to the last one have its `_id`."""
        last_id = _id_of(batch, last)
        places = []
        while start < batch.stop:
            places.append(start)
            start = _after(batch, start)
        num_documents = 0
        for place in reversed(places):
            if _id_of(batch, _body(batch, place)) != last_id:
                return num_documents
            num_documents += 1
        before = self.resume()
        return num_documents + (0 if before is None or before.id != last_id else before.num_documents)

    def resume(self) -> Resume | None:
        """The last document that was read, None for none."""
        if self._tail is None:
            return self.start
        batch, place, num_documents = self._tail
        return Resume(_id_of(batch, place), num_documents)


def _body(batch: Batch, place: int) -> int:
    """Where the document of the array element at `place` begins."""
    while batch.data[place]:
        place += 1
    return place + 1


def _after(batch: Batch, place: int) -> int:
    """Place behind the array element at `place`."""
    body = _body(batch, place)
    return body + int.from_bytes(batch.data[body : body + 4], "little")


def _id_of(batch: Batch, place: int) -> Any:
    """`_id` of the document at `place`, in a form that is sent back exactly as it came."""
    size = int.from_bytes(batch.data[place : place + 4], "little")
    return bson.decode(bytes(batch.data[place : place + size]), EXACT)["_id"]
