"""What a collection holds, seen from outside: a data version for every partition, and the values of a field.

The server computes both; no document is sent. A data version is the number of documents and an order-free
sum of hashes: of `_id` and the date of last change where `updated_field` is declared, of whole documents
otherwise. What a pipeline joins from other collections is not seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timezone
from typing import Any

from bson import Decimal128, Int64, ObjectId
from pymongo import MongoClient

from assets.mongo.connect import PREFERENCES
from assets.mongo.dump_parts import values_of
from assets.mongo.errors import SourceError
from assets.mongo.ranges import VALUE_TYPES, bucket_expression, window
from assets.spec import DatasetSpec
from assets.spec.partitions import (
    DynamicPartitions,
    HashPartitions,
    NoPartitions,
    StaticPartitions,
    TimePartitions,
)

EMPTY = "0"
"""Data version of a partition without documents."""

HASH_MODULUS = 1 << 31
"""Hashes are cut to it before they are summed, so that sums stay exact for 2**32 documents."""


def source_versions(spec: DatasetSpec, partitions: Iterable[str], client: MongoClient[Any]) -> dict[str, str]:
    """Data version of every partition; equal ones mean that nothing in the partition has changed."""
    keys = list(partitions)
    found = dict.fromkeys(keys, EMPTY)
    for group, summary in _summaries(spec, _keys_by_group(spec, keys), client).items():
        if group in found:
            found[group] = summary
    return found


def partition_counts(
    spec: DatasetSpec, partitions: Iterable[str], client: MongoClient[Any]
) -> tuple[dict[str, int], int]:
    """Documents of every partition, and of none of them: field missing, of another type, or out of range."""
    keys = list(partitions)
    counts = dict.fromkeys(keys, 0)
    outside = 0
    by_group = _keys_by_group(spec, keys)
    for group, num_documents in _group(spec, {"n": {"$sum": 1}}, client):
        key = key_of(spec, group, by_group)
        if key in counts:
            counts[key] += num_documents["n"]
        else:
            outside += num_documents["n"]
    return counts, outside


def partition_values(spec: DatasetSpec, client: MongoClient[Any] | None) -> list[str]:
    """Values of the field of dynamic partitions, as partition keys, sorted.

    Strings and integers are values; documents with anything else belong to no partition.
    """
    if not isinstance(spec.partitions, DynamicPartitions):
        raise SourceError(f"{spec.name}: partitions are declared by {spec.partitions.by}, not dynamic")
    if spec.source.dump is not None:
        values = values_of(spec, spec.partitions.field)
    else:
        assert client is not None
        values = {str(group) for group, _ in _group(spec, {"n": {"$sum": 1}}, client) if _is_value(group)}
    return sorted(value for value in values if value)


def _is_value(value: Any) -> bool:
    return isinstance(value, str | int | Int64) and not isinstance(value, bool)


def _keys_by_group(spec: DatasetSpec, keys: Sequence[str]) -> dict[Any, str]:
    """Partition key of every value that the server groups by."""
    partitions = spec.partitions
    if isinstance(partitions, TimePartitions):
        return {window(partitions, key)[0]: key for key in keys}
    if isinstance(partitions, NoPartitions):
        return dict.fromkeys([None], keys[0]) if keys else {}
    return {key: key for key in keys}


def key_of(spec: DatasetSpec, group: Any, by_group: Mapping[Any, str]) -> str | None:
    """Partition key of a value that the server grouped by, None for no declared partition."""
    if isinstance(spec.partitions, NoPartitions):
        return by_group.get(None)
    if isinstance(spec.partitions, TimePartitions):
        return by_group.get(group) if isinstance(group, datetime) else None
    if isinstance(spec.partitions, HashPartitions):
        return by_group.get(str(int(group)))
    if isinstance(spec.partitions, StaticPartitions) and group not in spec.partitions.values:
        return None
    return by_group.get(str(group)) if _is_value(group) else None


def _summaries(spec: DatasetSpec, by_group: Mapping[Any, str], client: MongoClient[Any]) -> dict[str, str]:
    updated = spec.source.updated_field
    content: Any = "$$ROOT" if updated is None else {"id": "$_id", "updated": f"${updated}"}
    hashed = {"$toHashedIndexKey": content}
    # Two remainders by numbers without a common divisor: a collision needs both to agree.
    accumulators = {
        "n": {"$sum": 1},
        "a": {"$sum": {"$mod": [hashed, HASH_MODULUS]}},
        "b": {"$sum": {"$mod": [hashed, HASH_MODULUS - 1]}},
    }
    sums: dict[str, tuple[int, int, int]] = {}
    for group, found in _group(spec, accumulators, client):
        key = key_of(spec, group, by_group)
        if key is not None:
            old = sums.get(key, (0, 0, 0))
            sums[key] = (old[0] + found["n"], old[1] + int(found["a"]), old[2] + int(found["b"]))
    return {key: f"{n}-{a:x}-{b:x}" for key, (n, a, b) in sums.items()}


def _group(
    spec: DatasetSpec, accumulators: Mapping[str, Any], client: MongoClient[Any]
) -> list[tuple[Any, dict[str, Any]]]:
    """Accumulate over the documents of every group, in the server."""
    source = spec.source
    if source.database is None:
        raise SourceError(f"{spec.name}: a dump is not observed")
    stages: list[dict[str, Any]] = [{"$match": source.filter}] if source.filter else []
    stages += [{"$group": {"_id": group_expression(spec), **accumulators}}]
    found = []
    for name in source.collections or [source.collection or ""]:
        collection = client[source.database].get_collection(
            name, read_preference=PREFERENCES[source.read_preference]()
        )
        rows = collection.aggregate(stages, allowDiskUse=True, comment=f"shardmill {spec.name}, observation")
        found += [(plain(row.pop("_id")), row) for row in rows]
    return found


def group_expression(spec: DatasetSpec) -> Any:
    """Aggregation expression of the partition that a document is in; null or another type for none."""
    partitions = spec.partitions
    if isinstance(partitions, NoPartitions):
        return None
    if isinstance(partitions, HashPartitions):
        return bucket_expression(partitions)
    if not isinstance(partitions, TimePartitions):
        # Not by the field itself: the server would group an integer with the double that equals it.
        is_value = {"$in": [{"$type": f"${partitions.field}"}, list(VALUE_TYPES)]}
        return {"$cond": [is_value, f"${partitions.field}", None]}
    moment: Any = f"${partitions.field}"
    wanted = "date"
    if partitions.field == "_id":
        moment, wanted = {"$toDate": "$_id"}, "objectId"
    truncated = {
        "$dateTrunc": {
            "date": moment,
            "unit": partitions.every,
            "timezone": partitions.timezone,
            "startOfWeek": "monday",
        }
    }
    inside: list[Any] = [{"$eq": [{"$type": f"${partitions.field}"}, wanted]}]
    zone = partitions.timezone
    inside.append({"$gte": [moment, _moment(partitions.start, zone)]})
    if partitions.end is not None:
        inside.append({"$lt": [moment, _moment(partitions.end, zone)]})
    # Evaluated from left to right: nothing but dates reaches $dateTrunc.
    return {"$cond": [{"$and": inside}, truncated, None]}


def _moment(moment: date | datetime, zone: str) -> Any:
    if isinstance(moment, datetime):
        if moment.tzinfo is not None:
            return moment
    else:
        moment = datetime(moment.year, moment.month, moment.day)
    return {"$dateFromString": {"dateString": moment.isoformat(), "timezone": zone}}


def plain(value: Any) -> Any:
    """Groups as Python values that compare: dates aware, integers plain."""
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=timezone.utc)
    if isinstance(value, Int64):
        return int(value)
    if isinstance(value, float | Decimal128 | ObjectId | bool | dict | list):
        return _Other()
    return value


class _Other:
    """A group of documents whose field is of a type that makes no partition."""
