"""Documents that belong to no partition: their field is absent, of another type, or out of range."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pymongo import MongoClient

from assets.mongo.observe import partition_counts
from assets.mongo.ranges import placement
from assets.mongo.rejects import extended_json
from assets.spec import DatasetSpec

MAX_LISTED = 20


@dataclass(frozen=True, slots=True)
class Outside:
    """How many documents no partition takes, and some of them: `_id`, and what stands in the field.

    Parameters
    ----------
    num_documents
        All of them.
    listed
        At most twenty, by `_id` and value as extended JSON.
    """

    num_documents: int
    listed: list[tuple[str, str]]


def outside(spec: DatasetSpec, keys: Sequence[str], client: MongoClient[Any]) -> Outside:
    """Return the documents of a source that are in none of the partitions `keys`."""
    _, num_documents = partition_counts(spec, keys, client)
    wanted = placement(spec)
    if not num_documents or wanted is None or spec.source.database is None:
        return Outside(num_documents, [])
    stages: list[dict[str, Any]] = [
        {"$match": wanted.outside(spec.source.filter)},
        {"$sort": {"_id": 1}},
        {"$limit": MAX_LISTED},
        {"$project": {"value": f"${wanted.field}"}},
    ]
    found = [
        (extended_json(row["_id"]), extended_json(row["value"]) if "value" in row else "missing")
        for name in spec.source.collections or [str(spec.source.collection)]
        for row in client[spec.source.database][name].aggregate(stages, comment=f"shardmill {spec.name}")
    ]
    return Outside(num_documents, found[:MAX_LISTED])
