"""A partition on top of its version before: what is newer is fetched, what is gone is left out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from bson.timestamp import Timestamp
from pymongo import MongoClient

from assets.mongo.changes import fetch
from assets.mongo.columns import Columns
from assets.mongo.extract import Extraction, Pace, Query
from assets.mongo.fields import Field
from assets.mongo.merge import merge, reject_id
from assets.mongo.outcome import Counting, Outcome, check_count
from assets.mongo.read_plan import count_of
from assets.mongo.rejects import read_rejects_table
from assets.mongo.schema import ID, documents_schema
from assets.mongo.server import Guarantee
from assets.mongo.sinks import Sink, Spool
from assets.progress import silent
from shards import Version

OVERLAP = timedelta(minutes=5)
"""How far the clock that sets `updated_field` may be behind the server's."""

MAX_CHANGED_SHARE = 0.3
"""When more than this changed, reading everything is cheaper than reading the changes."""


def read_newer(
    client: MongoClient[Any],
    query: Query,
    updated_field: str,
    fields: Sequence[Field],
    at: Guarantee,
    previous: Version,
    sink: Sink,
    pace: Pace,
) -> Outcome | None:
    """Fetch what is newer than a version of the same query and merge; None when all must be read.

    Raises
    ------
    SnapshotGone
        When the server no longer has the data of the point in time.
    """
    time = time_of(previous)
    old_rejects = read_rejects_table(previous.table("rejects").read())
    reject_ids = [reject_id(reject) for reject in old_rejects]
    if time is None or None in reject_ids:
        return None
    since = datetime.fromtimestamp(time.time, timezone.utc)
    database = client.get_database(query.database)
    expected = count_of(database, query, at, pace)
    present = _ids(client, query, at, {}, pace)
    newer = {
        "$or": [
            {updated_field: {"$gte": since - OVERLAP}},
            {updated_field: {"$not": {"$type": "date"}}},
            {updated_field: {"$type": "array"}},
        ]
    }
    touched = _ids(client, query, at, newer, pace)
    stored = previous.table("documents").read().column("_id").combine_chunks()
    known = pa.concat_arrays([_chunk(stored), pa.array(reject_ids, pa.large_binary())])
    gone = known.filter(pc.invert(pc.is_in(known, value_set=present)))
    come = present.filter(pc.invert(pc.is_in(present, value_set=known)))
    changed = set(touched.to_pylist()) | set(come.to_pylist())
    if len(changed) > MAX_CHANGED_SHARE * max(len(present), 1_000):
        return None
    outcome = Outcome(at, mode="incremental")
    with Spool(documents_schema(fields)) as now:
        fetch(client, query, at, changed, Columns([ID, *fields], now.rows), now, pace)
        everything = changed | set(gone.to_pylist())
        merged = Counting(sink)
        base = previous.table("documents").batches()
        merge(base, old_rejects, everything, now.table(), now.rejected, merged)
        outcome.num_read = now.num_rows + len(now.rejected)
    outcome.num_changed = len(everything)
    outcome.num_documents = merged.num_documents
    check_count(query, at, expected, merged.num_documents, outcome)
    return outcome


def time_of(version: Version) -> Timestamp | None:
    """Cluster time that a version was read at, if any."""
    text = version.provenance.cluster_time
    return None if text is None else Timestamp(*map(int, text.split(".")))


def _ids(client: MongoClient[Any], query: Query, at: Guarantee, more: dict[str, Any], pace: Pace) -> pa.Array:
    """`_id` of the documents that satisfy the query and a further condition."""
    conditions = [one for one in (dict(query.condition), more) if one]
    condition = {"$and": conditions} if len(conditions) > 1 else (conditions or [{}])[0]
    found: list[pa.RecordBatch] = []
    columns = Columns([ID], found.append)
    chosen = Query(query.database, query.collection, condition, projection=(), hint=query.hint)
    Extraction(client, chosen, at, columns, pace, silent).run()
    columns.flush()
    return _chunk(pa.Table.from_batches(found, schema=columns.schema).column(0).combine_chunks())


def _chunk(array: Any) -> pa.Array:
    return array if isinstance(array, pa.Array) else pa.concat_arrays(array.chunks)
