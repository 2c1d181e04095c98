"""Reads that outlive the server's history: ranges, each at its own time, and a replay of what changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from bson.timestamp import Timestamp

from assets.mongo.changes import changed_ids, fetch
from assets.mongo.columns import Columns
from assets.mongo.errors import ReadFailed
from assets.mongo.extract import Query
from assets.mongo.merge import merge
from assets.mongo.outcome import Counting, Outcome, check_count
from assets.mongo.range_read import RangeRead
from assets.mongo.read_plan import count_of
from assets.mongo.schema import ID, documents_schema
from assets.mongo.server import Guarantee, SnapshotGone
from assets.mongo.sinks import Sink, Spool

ROUNDS = 20
"""Every round reads what changed since the one before; the last one is short enough for one time."""

MOST_UNCOUNTED = 3
"""After so many rounds in which counting alone outlived the server's history, the count is left out."""


@dataclass(slots=True)
class LongRead:
    """Brings ranges that were read at several times to one time.

    Parameters
    ----------
    read
        Of the ranges; what it gives need not be of the plan's time, but not older.
    present
        Gives the present time, as often as it is asked.
    """

    read: RangeRead
    present: Callable[[], Guarantee]
    _num_uncounted: int = 0
    _stack: ExitStack = field(default_factory=ExitStack)

    def run(self, sink: Sink) -> Outcome:
        """Read into a sink.

        Raises
        ------
        ReadFailed
            The changes since the plan's time cannot be known, or come faster than they can be read.
        """
        began = self.read.plan.at.cluster_time
        assert began is not None
        outcome = Outcome(self.read.plan.at, mode="ranges and replay")
        with self._stack:
            bases = self._bases()
            for _ in range(ROUNDS):
                at = self.present()
                assert at.cluster_time is not None
                if self._round(bases, began, at, sink, outcome):
                    outcome.guarantee = at
                    return outcome
                began = at.cluster_time
        names = ", ".join(self.read.queries)
        raise ReadFailed(f"{names}: documents change faster than they can be read; nothing was published")

    def _bases(self) -> dict[str, Spool]:
        schema = documents_schema(self.read.fields)
        bases = {name: self._stack.enter_context(Spool(schema)) for name in self.read.queries}
        for part, piece in self.read.run():
            base = bases[part.collection]
            for batch in piece.rows:
                base.rows(batch)
            base.rejects(piece.rejects)
        return bases

    def _round(
        self, bases: dict[str, Spool], began: Timestamp, at: Guarantee, sink: Sink, outcome: Outcome
    ) -> bool:
        """Bring every collection from one time to another; False when some documents are of a later one."""
        changes = [self._changes(query, began, at, outcome) for query in self.read.queries.values()]
        if all(is_exact for _, _, _, is_exact in changes):
            for (name, query), (changed, now, expected, _) in zip(
                self.read.queries.items(), changes, strict=True
            ):
                merged = Counting(sink)
                base = bases[name]
                merge(base.batches(), base.rejected, changed, now.table(), now.rejected, merged)
                outcome.num_documents += merged.num_documents
                check_count(query, at, expected, merged.num_documents, outcome)
            return True
        for name, (changed, now, _, _) in zip(self.read.queries, changes, strict=True):
            base = bases[name]
            following = self._stack.enter_context(Spool(documents_schema(self.read.fields)))
            merge(base.batches(), base.rejected, changed, now.table(), now.rejected, following)
            bases[name] = following
        return False

    def _changes(
        self, query: Query, began: Timestamp, at: Guarantee, outcome: Outcome
    ) -> tuple[Sequence[bytes], Spool, int | None, bool]:
        """What changed, how it is now, how many documents there are, and whether both are as of `at`."""
        read = self.read
        assert at.cluster_time is not None
        changed = changed_ids(read.client, query.database, query.collection, began, at.cluster_time)
        outcome.num_changed += len(changed)
        now = self._stack.enter_context(Spool(documents_schema(read.fields)))
        columns = Columns([ID, *read.fields], now.rows)
        is_exact = fetch(read.client, query, at, changed, columns, now, read.pace, self.present)
        outcome.num_read += now.num_rows + len(now.rejected)
        expected = None
        if is_exact:
            try:
                expected = count_of(read.client[query.database], query, at, read.pace)
            except SnapshotGone:
                self._num_uncounted += 1
                is_exact = self._num_uncounted > MOST_UNCOUNTED
        return sorted(changed), now, expected, is_exact
