"""A partition out of a server: at one cluster time, from scratch or on top of the version before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from bson.timestamp import Timestamp
from pymongo import MongoClient

from assets.mongo.changes import changed_ids, fetch
from assets.mongo.columns import Columns
from assets.mongo.connect import PREFERENCES
from assets.mongo.errors import ReadFailed, SourceError
from assets.mongo.extract import Extraction, Pace, Query
from assets.mongo.fields import Field
from assets.mongo.indexes import find_hint, index_warning, projected
from assets.mongo.merge import merge, reject_id
from assets.mongo.ranges import partition_filter
from assets.mongo.rejects import Reject
from assets.mongo.schema import ID, documents_schema
from assets.mongo.server import Guarantee, SnapshotGone, count, guarantee, snapshot_time
from assets.mongo.sinks import Sink, Spool
from assets.progress import Progress, silent
from assets.spec import DatasetSpec
from shards import Version

OVERLAP = timedelta(minutes=5)
"""How far the clock that sets `updated_field` may be behind the server's."""

MAX_CHANGED_SHARE = 0.3
"""When more than this changed, reading everything is cheaper than reading the changes."""

REPLAYS = 20


@dataclass(slots=True)
class Outcome:
    """How a partition was read."""

    guarantee: Guarantee
    num_documents: int = 0
    server_count: int | None = None
    num_resumed: int = 0
    mode: str = "full"
    num_changed: int = 0
    warnings: list[str] = field(default_factory=list)


@dataclass(slots=True)
class ServerRead:
    """Reads one partition of a dataset from a server.

    Parameters
    ----------
    spec, partition, fields
        What is read.
    client
        Connected client.
    progress
        Told the number of documents read.
    cluster_time
        Read as of this time; the present when None.
    """

    spec: DatasetSpec
    partition: str
    fields: Sequence[Field]
    client: MongoClient[Any]
    progress: Progress
    cluster_time: Timestamp | None = None

    def run(self, open_sink: Callable[[], Sink], previous: Version | None) -> tuple[Sink, Outcome]:
        """Read into a sink; the sink and how it went.

        Parameters
        ----------
        open_sink
            Gives an empty sink; called again when a read has to begin anew.
        previous
            Version of the same query, for incremental reads; None to read everything.
        """
        source = self.spec.source
        names = source.collections or [source.collection or ""]
        at = guarantee(self.client, self._database, names[0], self.cluster_time)
        if previous is not None and at.cluster_time is not None:
            sink = open_sink()
            with suppress(SnapshotGone):
                outcome = self._incremental(names[0], at, previous, sink)
                if outcome is not None:
                    return sink, outcome
        sink = open_sink()
        try:
            return sink, self._full(names, at, sink)
        except SnapshotGone:
            if source.pipeline is not None or len(names) > 1:
                raise ReadFailed(
                    f"{self.spec.name}/{self.partition}: the read takes longer than the "
                    "server keeps history, and "
                    "a pipeline (or several collections) cannot be continued; use smaller "
                    "partitions, or raise "
                    "minSnapshotHistoryWindowInSeconds"
                ) from None
        sink = open_sink()
        return sink, self._long(names[0], sink)

    @property
    def _database(self) -> Any:
        return self.client.get_database(str(self.spec.source.database))

    @property
    def _pace(self) -> Pace:
        source = self.spec.source
        return Pace(
            batch_bytes=min(4 << 20, source.memory_budget_mb << 20 >> 6),
            max_documents_per_second=source.max_documents_per_second,
            read_preference=PREFERENCES[source.read_preference](),
            comment=f"shardmill {self.spec.name}/{self.partition}",
        )

    def _query(self, collection: str, *, plain: bool = False) -> Query:
        source = self.spec.source
        condition = partition_filter(self.spec, self.partition)
        names = tuple(dict.fromkeys(one.path.split(".")[0] for one in self.fields))
        if source.pipeline is None and not plain:
            projection = projected(self._database, collection, condition, names)
        else:
            projection = names
        return Query(
            str(source.database),
            collection,
            condition,
            source.pipeline,
            projection,
            hint=find_hint(self.spec, self._database, collection),
            order=("_id",) if source.unwound_by is None else ("_id", source.unwound_by),
            allow_disk_use=source.allow_disk_use,
        )

    def _columns(self, sink: Sink) -> Columns:
        flush_bytes = self.spec.source.memory_budget_mb << 20 >> 4
        return Columns([ID, *self.fields], sink.rows, flush_bytes=flush_bytes)

    def _full(self, names: Sequence[str], at: Guarantee, sink: Sink) -> Outcome:
        outcome = Outcome(at)
        columns = self._columns(sink)
        for name in names:
            query = self._query(name)
            warning = index_warning(self.spec, self._database, query.command(at, "shardmill, plan"))
            if warning is not None:
                outcome.warnings.append(warning)
            extraction = Extraction(self.client, query, at, columns, self._pace, self._progress(outcome))
            extraction.total = self._estimate(name)
            expected = self._count(query, at)
            num_documents = self._drain(extraction, columns, sink)
            outcome.num_documents += num_documents
            outcome.num_resumed += extraction.num_resumed
            self._check_count(query, at, expected, num_documents, outcome)
        return outcome

    def _progress(self, outcome: Outcome) -> Progress:
        before = outcome.num_documents

        def tell(done: int, total: int | None, unit: str) -> None:
            self.progress(before + done, None if total is None else before + total, unit)

        return tell

    def _estimate(self, collection: str) -> int | None:
        """Documents to come, where that is known without counting."""
        if partition_filter(self.spec, self.partition) or self.spec.source.pipeline is not None:
            return None
        return int(self._database[collection].estimated_document_count())

    def _drain(self, extraction: Extraction, columns: Columns, sink: Sink) -> int:
        extraction.on_rejects = sink.rejects
        num_documents = extraction.run()
        columns.flush()
        sink.rejects(columns.take_rejects())
        return num_documents

    def _count(self, query: Query, at: Guarantee) -> int | None:
        """What the server counts; None where a pipeline makes the documents."""
        if query.pipeline is not None:
            return None
        return count(
            self._database,
            query.collection,
            dict(query.condition),
            at,
            session=None,
            comment=self._pace.comment,
            read_preference=self._pace.read_preference,
        )

    @staticmethod
    def _check_count(
        query: Query, at: Guarantee, expected: int | None, num_documents: int, outcome: Outcome
    ) -> None:
        if expected is None:
            return
        outcome.server_count = (outcome.server_count or 0) + expected
        if at.cluster_time is not None and expected != num_documents:
            raise ReadFailed(
                f"{query.database}.{query.collection}: {num_documents} documents were read, "
                "the server counts "
                f"{expected} at the same cluster time; nothing was published"
            )

    def _long(self, name: str, sink: Sink) -> Outcome:
        """Read range after range, each as of its own time, and replay what changed since the first."""
        began = snapshot_time(self.client)
        if began is None:
            raise SourceError(f"{self.spec.name}: the server has no cluster time to read at")
        query = self._query(name, plain=True)
        schema = documents_schema(self.fields)
        outcome = Outcome(Guarantee(began, "snapshot"), mode="ranges and replay")
        with ExitStack() as stack:
            base = stack.enter_context(Spool(schema))
            columns = self._columns(base)
            extraction = Extraction(
                self.client, query, Guarantee(began, "snapshot"), columns, self._pace, self.progress
            )
            while True:
                try:
                    self._drain(extraction, columns, base)
                    break
                except SnapshotGone:
                    extraction.at = self._present()
            outcome.num_resumed = extraction.num_resumed
            # Every round reads what changed since the one before; the last one is short enough for one time.
            for _ in range(REPLAYS):
                at = self._present()
                assert at.cluster_time is not None
                changed = changed_ids(self.client, query.database, name, began, at.cluster_time)
                outcome.num_changed += len(changed)
                expected = self._count(query, at)
                now = stack.enter_context(Spool(schema))
                columns = self._columns(now)
                if fetch(self.client, query, at, changed, columns, now, self._pace, self._present):
                    merged = _Counting(sink)
                    merge(base.batches(), base.rejected, changed, now.table(), now.rejected, merged)
                    outcome.guarantee = at
                    outcome.num_documents = merged.num_documents
                    self._check_count(query, at, expected, merged.num_documents, outcome)
                    return outcome
                following = stack.enter_context(Spool(schema))
                merge(base.batches(), base.rejected, changed, now.table(), now.rejected, following)
                base, began = following, at.cluster_time
        raise ReadFailed(
            f"{query.database}.{name}: documents change faster than the changes can be "
            "read; nothing was published"
        )

    def _present(self) -> Guarantee:
        return Guarantee(snapshot_time(self.client), "snapshot and replay")

    def _incremental(self, name: str, at: Guarantee, previous: Version, sink: Sink) -> Outcome | None:
        """Fetch what is newer than the version before and merge; None when all must be read."""
        since = previous_time(previous)
        old_rejects = rejects_of(previous)
        reject_ids = [reject_id(reject) for reject in old_rejects]
        if since is None or None in reject_ids:
            return None
        query = self._query(name)
        expected = self._count(query, at)
        present = self._ids(query, at, {})
        updated = self.spec.source.updated_field
        newer = {
            "$or": [
                {updated: {"$gte": since - OVERLAP}},
                {updated: {"$not": {"$type": "date"}}},
                {updated: {"$type": "array"}},
            ]
        }
        touched = self._ids(query, at, newer)
        stored = previous.table("documents").read().column("_id").combine_chunks()
        known = pa.concat_arrays([_chunk(stored), pa.array(reject_ids, pa.large_binary())])
        gone = known.filter(pc.invert(pc.is_in(known, value_set=present)))
        come = present.filter(pc.invert(pc.is_in(present, value_set=known)))
        changed = set(touched.to_pylist()) | set(come.to_pylist())
        if len(changed) > MAX_CHANGED_SHARE * max(len(present), 1_000):
            return None
        outcome = Outcome(at, mode="incremental")
        with Spool(documents_schema(self.fields)) as now:
            fetch(self.client, query, at, changed, self._columns(now), now, self._pace)
            everything = changed | set(gone.to_pylist())
            merged = _Counting(sink)
            merge(
                previous.table("documents").batches(),
                old_rejects,
                everything,
                now.table(),
                now.rejected,
                merged,
            )
        outcome.num_changed = len(everything)
        outcome.num_documents = merged.num_documents
        self._check_count(query, at, expected, merged.num_documents, outcome)
        return outcome

    def _ids(self, query: Query, at: Guarantee, more: dict[str, Any]) -> pa.Array:
        """`_id` of the documents that satisfy the query and a further condition."""
        conditions = [one for one in (dict(query.condition), more) if one]
        condition = {"$and": conditions} if len(conditions) > 1 else (conditions or [{}])[0]
        found: list[pa.RecordBatch] = []
        columns = Columns([ID], found.append)
        chosen = Query(query.database, query.collection, condition, projection=(), hint=query.hint)
        Extraction(self.client, chosen, at, columns, self._pace, silent).run()
        columns.flush()
        return _chunk(pa.Table.from_batches(found, schema=columns.schema).column(0).combine_chunks())


class _Counting:
    """Passes everything on and counts it."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self.num_documents = 0

    def rows(self, batch: pa.RecordBatch) -> None:
        self.num_documents += batch.num_rows
        self._sink.rows(batch)

    def rejects(self, rejects: Sequence[Reject]) -> None:
        self.num_documents += len(rejects)
        self._sink.rejects(rejects)


def _chunk(array: Any) -> pa.Array:
    return array if isinstance(array, pa.Array) else pa.concat_arrays(array.chunks)


def previous_time(version: Version) -> datetime | None:
    """Wall-clock time of the cluster time that a version was read at."""
    text = version.provenance.cluster_time
    return None if text is None else datetime.fromtimestamp(int(text.split(".")[0]), timezone.utc)


def rejects_of(version: Version) -> list[Reject]:
    """Rejects of a version."""
    rows = version.table("rejects").read().to_pylist()
    return [
        Reject(row["_id"], row["path"], row["reason"], row["expected"], row["got"], row["field"])
        for row in rows
    ]
