"""What became of documents after they were read: changed `_id` values, and the documents behind them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from bson.timestamp import Timestamp
from pymongo import MongoClient
from pymongo.errors import OperationFailure

from assets.mongo.columns import Columns
from assets.mongo.errors import ChangesLost
from assets.mongo.extract import Extraction, Pace, Query
from assets.mongo.ids import raw_id, value_of
from assets.mongo.order import order_key
from assets.mongo.server import Guarantee, SnapshotGone
from assets.mongo.sinks import Sink
from assets.progress import silent

IDS_TOGETHER = 2_000
DRAIN_SECONDS = 60.0
MOST_CHANGES = 2_000_000
"""Of so many changed documents the `_id` values fit the memory budget."""


def changed_ids(
    client: MongoClient[Any],
    database: str,
    collection: str,
    since: Timestamp,
    until: Timestamp,
    *,
    most: int = MOST_CHANGES,
    max_seconds: float | None = None,
) -> set[bytes]:
    """`_id` of every document that was written after one cluster time and up to another.

    Parameters
    ----------
    most
        How many may be gathered in memory.
    max_seconds
        How long it may take in all; without it, as long as events come.

    Raises
    ------
    ChangesLost
        The server's log does not reach back so far, the collection was dropped or renamed, or there is too
        much to gather.
    """
    found: set[bytes] = set()
    stages = [{"$project": {"operationType": 1, "documentKey": 1, "clusterTime": 1}}]
    where = f"{database}.{collection}"
    deadline = time.monotonic() + (max_seconds or DRAIN_SECONDS)
    try:
        with client[database][collection].watch(
            stages, start_at_operation_time=since, max_await_time_ms=100, comment="shardmill replay"
        ) as stream:
            while True:
                reached = token_time(stream.resume_token or {})
                if reached is not None and reached >= until:
                    return found
                if time.monotonic() > deadline:
                    raise ChangesLost(f"{where}: the change stream did not reach the time of the read")
                event = stream.try_next()
                if event is None or event["clusterTime"] <= since:
                    continue
                if max_seconds is None:
                    deadline = time.monotonic() + DRAIN_SECONDS
                if event["clusterTime"] > until:
                    return found
                if "documentKey" not in event:
                    raise ChangesLost(f"{where}: {event['operationType']} while it was read; run it again")
                if len(found) >= most:
                    raise ChangesLost(f"{where}: more than {most} documents changed while it was read")
                found.add(raw_id(event["documentKey"]["_id"]))
    except OperationFailure as error:
        raise ChangesLost(
            f"{where}: the changes since the read began cannot be replayed (code {error.code}); "
            "the server's oplog is shorter than the read, or the collection has no change stream"
        ) from error


def token_time(token: Mapping[str, Any]) -> Timestamp | None:
    """Cluster time inside a resume token, None where it is of another form."""
    data = token.get("_data")
    if not isinstance(data, str) or len(data) < 18 or not data.startswith("82"):
        return None
    return Timestamp(int(data[2:10], 16), int(data[10:18], 16))


def fetch(
    client: MongoClient[Any],
    query: Query,
    at: Guarantee,
    ids: Iterable[bytes],
    columns: Columns,
    sink: Sink,
    pace: Pace,
    renew: Callable[[], Guarantee] | None = None,
) -> bool:
    """Read documents by `_id` into columns, in `_id` order.

    Parameters
    ----------
    renew
        Gives a later time to go on with when the first one is no longer in the server's history; without it
        `SnapshotGone` is raised.

    Returns
    -------
    bool
        Whether all were read as of `at`.
    """
    exact = True
    ordered = sorted(ids, key=order_key)
    for start in range(0, len(ordered), IDS_TOGETHER):
        wanted = [value_of(raw) for raw in ordered[start : start + IDS_TOGETHER]]
        chosen = {"_id": {"$in": wanted}}
        condition = {"$and": [query.condition, chosen]} if query.condition else chosen
        part = Query(query.database, query.collection, condition, projection=query.projection)
        extraction = Extraction(client, part, at, columns, pace, silent)
        while True:
            try:
                extraction.run()
                break
            except SnapshotGone:
                if renew is None:
                    raise
                exact, at = False, renew()
                extraction.at = at
        sink.rejects(columns.take_rejects())
    columns.flush()
    return exact
