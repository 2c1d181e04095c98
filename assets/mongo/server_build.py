"""A partition out of a server: at one cluster time, from scratch or on top of the version before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import Any

from bson.timestamp import Timestamp
from pymongo import MongoClient

from assets.mongo.changes import changed_ids
from assets.mongo.connect import PREFERENCES
from assets.mongo.errors import ChangesLost, CountDiffers, ReadFailed, SourceError
from assets.mongo.extract import Pace, Query
from assets.mongo.fields import Field
from assets.mongo.incremental import MAX_CHANGED_SHARE, read_newer
from assets.mongo.indexes import find_hint, index_warning, projected
from assets.mongo.long_read import LongRead
from assets.mongo.outcome import Outcome, check_count
from assets.mongo.range_read import PIECES_PER_SPAN, RangeRead
from assets.mongo.ranges import partition_filter
from assets.mongo.read_plan import Plan, decode_plan, make_plan
from assets.mongo.server import Guarantee, SnapshotGone, guarantee, snapshot_time
from assets.mongo.sinks import Sink
from assets.mongo.unchanged import is_unchanged
from assets.progress import Progress
from assets.spec import DatasetSpec
from assets.spec.source import Source
from shards import Pieces, Version

LEAST_CHANGES = 1_000
"""So many changes are replayed however small the partition is."""


def piece_bytes(source: Source) -> int:
    """BSON of a piece: some eight of them a cursor are in memory, and buffers twice as large as needed."""
    return (source.memory_budget_mb << 20 >> 6) // source.cursors


@dataclass(slots=True)
class ServerRead:
    """Reads one partition of a dataset from a server.

    Parameters
    ----------
    spec, partition, fields
        What is read.
    client
        Connected client.
    pieces
        Where a read that takes long puts down what it has.
    progress
        Told the number of documents read.
    cluster_time
        Read as of this time; the present when None.
    """

    spec: DatasetSpec
    partition: str
    fields: Sequence[Field]
    client: MongoClient[Any]
    pieces: Pieces
    progress: Progress
    cluster_time: Timestamp | None = None
    _pace: Pace = field(init=False)
    _queries: dict[str, Query] = field(init=False)

    def __post_init__(self) -> None:
        source = self.spec.source
        self._pace = Pace(
            batch_bytes=min(4 << 20, piece_bytes(self.spec.source) // 4),
            max_documents_per_second=source.max_documents_per_second,
            read_preference=PREFERENCES[source.read_preference](),
            comment=f"shardmill {self.spec.name}/{self.partition}",
        )
        self._queries = {name: self._query(name) for name in source.collections or [str(source.collection)]}

    def run(self, open_sink: Callable[[], Sink], previous: Version | None) -> tuple[Sink | None, Outcome]:
        """Read into a sink; the sink and how it went. None where nothing differs from the version before.

        Parameters
        ----------
        open_sink
            Gives an empty sink; called again when a read has to begin anew.
        previous
            Version of the same query; None to read everything.
        """
        first = next(iter(self._queries.values()))
        at = guarantee(self.client, self._database, first.collection, self.cluster_time)
        queries = list(self._queries.values())
        if previous is not None and is_unchanged(self.client, queries, previous, at, self._pace):
            num_documents = previous.num_rows + len(previous.table("rejects"))
            return None, Outcome(at, num_documents, mode="unchanged", server_count=num_documents)
        if previous is not None and (newer := self._newer(first, at, previous, open_sink)) is not None:
            return newer
        kept = self._kept_plan()
        if kept is not None:
            with suppress(SnapshotGone, ChangesLost, CountDiffers):  # of no use any more: begin anew
                return self._go_on(kept, at, open_sink)
        self.pieces.remove()
        span_bytes = PIECES_PER_SPAN * piece_bytes(self.spec.source)
        plan = make_plan(self._database, queries, at, self._pace, span_bytes)
        try:
            return self._carry_out(plan, open_sink)
        except CountDiffers:
            self.pieces.remove()
            raise
        except SnapshotGone:
            raise ReadFailed(
                f"{self.spec.name}/{self.partition}: the read takes longer than the server keeps history, "
                "and what a pipeline makes cannot be brought up to date from the change stream: the "
                "guarantee `snapshot`, all documents as of one cluster time, cannot be given; nothing was "
                "published. Next: use smaller partitions, or have the server keep more history, "
                "db.adminCommand({setParameter: 1, minSnapshotHistoryWindowInSeconds: 3600}), or let the "
                "pipeline end in $merge and read the collection that it makes"
            ) from None

    def _newer(
        self, query: Query, at: Guarantee, previous: Version, open_sink: Callable[[], Sink]
    ) -> tuple[Sink, Outcome] | None:
        """Read on top of the version before, where that can be done and is worth it."""
        source = self.spec.source
        if source.updated_field is None or source.pipeline is not None or source.collections is not None:
            return None
        if at.cluster_time is None:
            return None
        sink = open_sink()
        with suppress(SnapshotGone):
            outcome = read_newer(
                self.client, query, source.updated_field, self.fields, at, previous, sink, self._pace
            )
            if outcome is not None:
                return sink, outcome
        return None

    def _go_on(self, plan: Plan, at: Guarantee, open_sink: Callable[[], Sink]) -> tuple[Sink, Outcome]:
        """Read what an earlier run did not come to, and what has changed between its time and now.

        Raises
        ------
        ChangesLost, CountDiffers, SnapshotGone
            It has to begin anew.
        """
        began, until = plan.at.cluster_time, at.cluster_time
        assert began is not None
        if until is None:
            raise SnapshotGone
        most = max(LEAST_CHANGES, int(MAX_CHANGED_SHARE * sum(filter(None, plan.expected.values()))))
        is_changed = False
        for query in self._queries.values():
            is_changed |= bool(
                changed_ids(self.client, query.database, query.collection, began, until, most=most)
            )
        if not is_changed:
            return self._carry_out(plan, open_sink)
        if self.spec.source.pipeline is not None:
            raise SnapshotGone
        return self._replayed(plan, open_sink)

    def _carry_out(self, plan: Plan, open_sink: Callable[[], Sink]) -> tuple[Sink, Outcome]:
        """Read a plan at its time or, where that is gone and changes can be replayed, at a later one."""
        sink = open_sink()
        try:
            return sink, self._at_once(plan, sink)
        except SnapshotGone:
            if self.spec.source.pipeline is not None:
                raise
        return self._replayed(plan, open_sink)

    def _replayed(self, plan: Plan, open_sink: Callable[[], Sink]) -> tuple[Sink, Outcome]:
        """Read a plan, its time or later, and then what has changed since."""
        sink = open_sink()
        read = self._read(plan)
        read.renew = self._present
        outcome = LongRead(read, self._present).run(sink)
        self._note(read, outcome)
        return sink, outcome

    def _at_once(self, plan: Plan, sink: Sink) -> Outcome:
        outcome = Outcome(plan.at)
        read = self._read(plan)
        found = dict.fromkeys(self._queries, 0)
        with closing(read.run()) as pieces:
            for part, piece in pieces:
                for batch in piece.rows:
                    sink.rows(batch)
                sink.rejects(piece.rejects)
                found[part.collection] += piece.num_documents
        self._note(read, outcome)
        for name, query in self._queries.items():
            outcome.num_documents += found[name]
            check_count(query, plan.at, plan.expected[name], found[name], outcome)
        return outcome

    def _note(self, read: RangeRead, outcome: Outcome) -> None:
        outcome.num_ranges = len(read.plan.parts)
        outcome.num_resumed, outcome.num_kept = read.num_resumed, read.num_kept
        outcome.num_read += read.num_read
        if read.lost is not None:
            outcome.warnings.append(
                f"pieces could not be put down, a killed run would have begun anew: {read.lost}"
            )
        for query in self._queries.values():
            command = query.command(outcome.guarantee, "shardmill, plan")
            warning = index_warning(self.spec, self._database, command)
            if warning is not None:
                outcome.warnings.append(warning)

    def _read(self, plan: Plan) -> RangeRead:
        return RangeRead(
            self.client,
            plan,
            self._queries,
            self.fields,
            self._pace,
            None if plan.at.cluster_time is None else self.pieces,
            piece_bytes(self.spec.source),
            self.spec.source.cursors,
            progress=self.progress,
            total=None if None in plan.expected.values() else sum(filter(None, plan.expected.values())),
        )

    def _kept_plan(self) -> Plan | None:
        """What an earlier run of the same partition had planned, and did not finish."""
        data = self.pieces.get("plan")
        if data is None:
            return None
        plan = decode_plan(data)
        wanted = self.cluster_time
        is_usable = wanted in (None, plan.at.cluster_time) and plan.expected.keys() == self._queries.keys()
        return plan if is_usable else None

    @property
    def _database(self) -> Any:
        return self.client.get_database(str(self.spec.source.database))

    def _query(self, collection: str) -> Query:
        source = self.spec.source
        condition = partition_filter(self.spec, self.partition)
        names = tuple(dict.fromkeys(one.path.split(".")[0] for one in self.fields))
        is_plain = source.pipeline is None
        return Query(
            str(source.database),
            collection,
            condition,
            source.pipeline,
            projected(self._database, collection, condition, names) if is_plain else names,
            hint=find_hint(self.spec, self._database, collection),
            order=("_id",) if source.unwound_by is None else ("_id", source.unwound_by),
            allow_disk_use=source.allow_disk_use,
        )

    def _present(self) -> Guarantee:
        time = snapshot_time(self.client)
        if time is None:
            raise SourceError(f"{self.spec.name}: the server has no cluster time to read at")
        return Guarantee(time, "snapshot and replay")
