"""Whether a partition still holds what its latest version holds, by what the change stream says since."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pymongo import MongoClient

from assets.mongo.changes import IDS_TOGETHER, changed_ids
from assets.mongo.errors import ChangesLost
from assets.mongo.extract import Pace, Query
from assets.mongo.ids import value_of
from assets.mongo.incremental import time_of
from assets.mongo.merge import reject_id
from assets.mongo.read_plan import count_of
from assets.mongo.rejects import read_rejects_table
from assets.mongo.server import Guarantee, SnapshotGone
from shards import Version

LOOK_BACK_SECONDS = 24 * 3600
"""Older versions are read again: the server would search its log for longer than the read takes."""

MOST_CHANGES = 50_000


def is_unchanged(
    client: MongoClient[Any], queries: Sequence[Query], previous: Version, at: Guarantee, pace: Pace
) -> bool:
    """Whether no document of a partition was written between the time of a version and another.

    True is certain; False is also said where it cannot be known, or not cheaply: no cluster time, a pipeline,
    a change stream that does not reach back, many changes.
    """
    since = time_of(previous)
    if since is None or at.cluster_time is None or any(query.pipeline is not None for query in queries):
        return False
    if at.cluster_time.time - since.time > LOOK_BACK_SECONDS:
        return False
    try:
        for query in queries:
            name = query.collection
            changed = changed_ids(
                client, query.database, name, since, at.cluster_time, most=MOST_CHANGES, max_seconds=10
            )
            if changed and (_holds(previous, changed) or _is_inside(client, query, changed, at, pace)):
                return False
    except (ChangesLost, SnapshotGone):
        return False
    return True


def _holds(version: Version, ids: Iterable[bytes]) -> bool:
    """Whether a version has one of the documents, as a row or as a reject."""
    wanted = pa.array(ids, pa.large_binary())
    for batch in version.table("documents").batches():
        if pc.any(pc.is_in(batch.column("_id"), value_set=wanted)).as_py():
            return True
    rejected = {reject_id(reject) for reject in read_rejects_table(version.table("rejects").read())}
    return None in rejected or not rejected.isdisjoint(ids)


def _is_inside(client: MongoClient[Any], query: Query, ids: set[bytes], at: Guarantee, pace: Pace) -> bool:
    """Whether one of the documents belongs to the query now."""
    ordered = list(ids)
    for start in range(0, len(ordered), IDS_TOGETHER):
        chosen = {"_id": {"$in": [value_of(raw) for raw in ordered[start : start + IDS_TOGETHER]]}}
        condition = {"$and": [query.condition, chosen]} if query.condition else chosen
        if count_of(client[query.database], Query(query.database, query.collection, condition), at, pace):
            return True
    return False
