"""Partitions as MongoDB sees them: windows of time, values of a field, buckets of `_id`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

from bson import ObjectId

from assets.mongo.errors import SourceError
from assets.mongo.rejects import Reject, shorten
from assets.spec import DatasetSpec
from assets.spec.partitions import (
    DynamicPartitions,
    HashPartitions,
    NoPartitions,
    StaticPartitions,
    TimePartitions,
)

FORMATS = {"hour": "%Y-%m-%d-%H:%M", "day": "%Y-%m-%d", "week": "%Y-%m-%d", "month": "%Y-%m"}
"""How the key of a window is written: the local time at which it begins."""

OFFSET = re.compile(r"[+-]\d{4}$")
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
VALUE_TYPES = ("string", "int", "long")
"""BSON types of values that are partitions; a double or decimal that equals an integer is none of them."""

OF_VALUES = {"$type": list(VALUE_TYPES)}
LAST_OBJECTID_SECOND = (1 << 32) - 1


def window(partitions: TimePartitions, key: str) -> tuple[datetime, datetime]:
    """Begin and exclusive end of a time partition, UTC.

    Parameters
    ----------
    partitions
        Declared windows.
    key
        Local time of the begin, in the format of the window's length; an hour that a clock change repeats
        carries the offset of its second occurrence.

    Raises
    ------
    SourceError
        When the key is no begin of a window.
    """
    zone = ZoneInfo(partitions.timezone)
    fmt = FORMATS[partitions.every]
    offset = OFFSET.search(key) if partitions.every == "hour" else None
    try:
        local = datetime.strptime(key[: offset.start()] if offset else key, fmt)
    except ValueError:
        raise SourceError(
            f"partition key {key!r} is not of the form {fmt} that windows of one {partitions.every} have"
        ) from None
    if offset:
        aware = datetime.strptime(key, f"{fmt}%z")
        start = aware.astimezone(timezone.utc)
    else:
        start = local.replace(tzinfo=zone).astimezone(timezone.utc)
    if partitions.every == "hour":
        return start, start + timedelta(hours=1)
    if partitions.every == "day":
        following = local + timedelta(days=1)
    elif partitions.every == "week":
        following = local + timedelta(days=7)
    else:
        following = (local.replace(day=1) + timedelta(days=32)).replace(day=1)
    return start, following.replace(tzinfo=zone).astimezone(timezone.utc)


def first_objectid(moment: datetime) -> ObjectId:
    """Lowest ObjectId of a second; the time inside an ObjectId has whole seconds from 1970 to 2106."""
    seconds = -(-(moment - EPOCH) // timedelta(seconds=1))
    return ObjectId(min(max(seconds, 0), LAST_OBJECTID_SECOND).to_bytes(4, "big") + bytes(8))


def partition_filter(spec: DatasetSpec, partition: str) -> dict[str, Any]:
    """MongoDB filter of the documents of one partition, the source's own filter included.

    Arrays belong to no partition: a document whose partition field is an array would match several.
    """
    own = partition_condition(spec, partition)
    declared = dict(spec.source.filter)
    if not own:
        return declared
    return {"$and": [declared, own]} if declared else own


def partition_condition(spec: DatasetSpec, partition: str) -> dict[str, Any]:
    """The part of the filter that tells one partition from the others."""
    partitions = spec.partitions
    if isinstance(partitions, NoPartitions):
        return {}
    if isinstance(partitions, TimePartitions):
        start, end = window(partitions, partition)
        if partitions.start is not None:
            start = max(start, _utc(partitions.start, partitions.timezone))
        if partitions.end is not None:
            end = min(end, _utc(partitions.end, partitions.timezone))
        if partitions.field == "_id":
            return {"_id": {"$gte": first_objectid(start), "$lt": first_objectid(end)}}
        return _scalar(partitions.field, {"$gte": start, "$lt": end})
    if isinstance(partitions, HashPartitions):
        bucket = int(partition) if partition.isascii() and partition.isdigit() else -1
        if not 0 <= bucket < partitions.buckets:
            raise SourceError(f"partition key {partition!r} is no bucket from 0 to {partitions.buckets - 1}")
        return {"$expr": {"$eq": [bucket_expression(partitions), bucket]}}
    if isinstance(partitions, StaticPartitions):
        values = [value for value in partitions.values if str(value) == partition]
        if not values:
            allowed = ", ".join(str(value) for value in partitions.values)
            raise SourceError(f"partition key {partition!r} is none of the declared values: {allowed}")
        return _scalar(partitions.field, {"$in": values, **OF_VALUES})
    return _scalar(partitions.field, {"$in": _dynamic_values(partition), **OF_VALUES})


def bucket_expression(partitions: HashPartitions) -> dict[str, Any]:
    """Aggregation expression of the bucket that a document belongs to."""
    return {
        "$mod": [{"$abs": {"$mod": [{"$toHashedIndexKey": "$_id"}, partitions.buckets]}}, partitions.buckets]
    }


def _scalar(field: str, condition: Mapping[str, Any]) -> dict[str, Any]:
    return {"$and": [{field: dict(condition)}, {field: {"$not": {"$type": "array"}}}]}


def _dynamic_values(partition: str) -> list[Any]:
    """Values whose text is the key: the string itself, and the integer that it spells."""
    values: list[Any] = [partition]
    if re.fullmatch(r"-?(0|[1-9]\d{0,18})", partition) and partition != "-0":
        number = int(partition)
        if -(1 << 63) <= number < 1 << 63:
            values.append(number)
    return values


def _utc(moment: date | datetime, zone: str) -> datetime:
    if not isinstance(moment, datetime):
        moment = datetime(moment.year, moment.month, moment.day)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=ZoneInfo(zone))
    return moment.astimezone(timezone.utc)


@dataclass(frozen=True, slots=True)
class Placement:
    """What a document must have to be in some partition.

    Parameters
    ----------
    field
        The partition field.
    inside
        Filter of the documents that are in a partition, one that has begun or one that will.
    types
        BSON types that the field may have, as the server names them.
    words
        The same for people.
    """

    field: str
    inside: Mapping[str, Any]
    types: tuple[str, ...]
    words: str

    def outside(self, declared: Mapping[str, Any]) -> dict[str, Any]:
        """Filter of the documents in no partition, of those that a source's own filter selects."""
        outside: dict[str, Any] = {"$nor": [self.inside]}
        return {"$and": [dict(declared), outside]} if declared else outside

    def reject(self, identifier: str, kind: str, value: Any) -> Reject:
        """Say why a document is in no partition, by its field: its type as the server names it, its value."""
        if kind in ("missing", "null"):
            reason, got = kind, "nothing" if kind == "missing" else "null"
        else:
            reason = "out of range" if kind in self.types else "wrong type"
            got = shorten(f"{kind} {value!r}")
        return Reject(identifier, self.field, reason, self.words, got, "")


def placement(spec: DatasetSpec) -> Placement | None:
    """What puts a document into a partition; None where every document is in one."""
    partitions = spec.partitions
    if isinstance(partitions, TimePartitions):
        start = _utc(partitions.start, partitions.timezone)
        bounds: dict[str, Any] = {"$gte": start}
        words = f"from {start:%Y-%m-%d %H:%M} UTC"
        if partitions.end is not None:
            bounds["$lt"] = end = _utc(partitions.end, partitions.timezone)
            words += f" to before {end:%Y-%m-%d %H:%M} UTC"
        if partitions.field == "_id":
            bounds = {sign: first_objectid(moment) for sign, moment in bounds.items()}
            return Placement("_id", {"_id": bounds}, ("objectId",), f"objectid {words}")
        return Placement(partitions.field, _scalar(partitions.field, bounds), ("date",), f"date {words}")
    if isinstance(partitions, StaticPartitions):
        inside = _scalar(partitions.field, {"$in": list(partitions.values), **OF_VALUES})
        words = f"one of {', '.join(map(str, partitions.values))}"
        return Placement(partitions.field, inside, VALUE_TYPES, words)
    if isinstance(partitions, DynamicPartitions):
        inside = _scalar(partitions.field, {"$ne": "", **OF_VALUES})
        return Placement(partitions.field, inside, VALUE_TYPES, "a string that is not empty, or an integer")
    return None
