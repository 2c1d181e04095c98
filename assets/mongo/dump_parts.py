"""Partitions of a dump: the conditions that a server would be asked, evaluated here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from assets.mongo.chosen import Chosen
from assets.mongo.columns import Bytes, Columns
from assets.mongo.conditions import TYPES, Test, make_test, names_of
from assets.mongo.dump import find_files, scan_dump
from assets.mongo.hashed import bucket_of
from assets.mongo.layout import T_DOCUMENT, T_INT32, T_INT64, T_NULL, T_STRING
from assets.mongo.merge import reject_key
from assets.mongo.paths import Members, Raw, members_of, shown_value
from assets.mongo.ranges import Placement, partition_filter
from assets.mongo.rejects import Reject, decode_value, extended_json
from assets.spec import DatasetSpec
from assets.spec.partitions import HashPartitions, NoPartitions

NULL = bytes((T_NULL,))
NAMES = {bson_type: name for name, bson_type in TYPES.items()}


def choose(spec: DatasetSpec, partition: str, columns: Columns) -> Chosen | None:
    """What passes the documents of a partition on to columns; None where it is all of them.

    A document of which nothing can be said is a reject of the only partition, or of the first bucket; other
    partitions leave it to the list of unplaced documents.
    """
    names, test = _test_of(spec, partition)
    if not names:
        return None
    is_home = isinstance(spec.partitions, NoPartitions) or (
        isinstance(spec.partitions, HashPartitions) and partition == "0"
    )

    def take(data: Bytes, start: int, end: int) -> None:
        columns.feed(data, start, end)

    def take_broken(reject: Reject) -> bool:
        if is_home:
            columns.add_reject(reject)
        return is_home

    return Chosen(names, test, take, take_broken)


def _test_of(spec: DatasetSpec, partition: str) -> tuple[list[str], Test]:
    """The members that decide whether a document is in a partition, and how."""
    partitions = spec.partitions
    condition = partition_filter(spec, partition)
    if not isinstance(partitions, HashPartitions):
        return names_of(condition), make_test(condition)
    declared, buckets, bucket = make_test(spec.source.filter), partitions.buckets, int(partition)

    def test(members: Members) -> bool:
        return bucket_of(members.get("_id", NULL), buckets) == bucket and declared(members)

    return list(dict.fromkeys(("_id", *names_of(spec.source.filter)))), test


def unplaced_of(spec: DatasetSpec, wanted: Placement) -> list[Reject]:
    """Documents of a dump that are in no partition, in `_id` order; and those that cannot be read."""
    condition = wanted.outside(spec.source.filter)
    path = wanted.field.split(".")
    found: list[Reject] = []

    def take(data: Bytes, start: int, end: int) -> None:
        for document in _documents(data, start, end):
            members = dict(members_of(document))
            value = shown_value(members, path)
            identifier = extended_json(_decoded(members.get("_id", NULL)))
            found.append(wanted.reject(identifier, _type_name(value), _decoded(value)))

    def take_broken(reject: Reject) -> bool:
        found.append(reject)
        return True

    chosen = Chosen(names_of(condition), make_test(condition), take, take_broken)
    for file in find_files(str(spec.source.dump), spec.source.database):
        scan_dump(file, chosen.feed)
    return sorted(found, key=reject_key)


def values_of(spec: DatasetSpec, field: str) -> set[str]:
    """Strings and integers that the field of dynamic partitions has in a dump, as partition keys."""
    found: set[str] = set()
    path = field.split(".")
    declared = make_test(spec.source.filter)

    def test(members: Members) -> bool:
        value = shown_value(members, path)
        if isinstance(value, bytes) and value[0] in (T_STRING, T_INT32, T_INT64) and declared(members):
            found.add(str(_decoded(value)))
        return False

    names = list(dict.fromkeys((path[0], *names_of(spec.source.filter))))
    chosen = Chosen(names, test, lambda data, start, end: None, lambda reject: False)
    for file in find_files(str(spec.source.dump), spec.source.database):
        scan_dump(file, chosen.feed)
    return found


def _documents(data: Bytes, start: int, end: int) -> Iterator[Raw]:
    while start < end:
        size = int.from_bytes(data[start : start + 4], "little")
        yield bytes((T_DOCUMENT,)) + data[start : start + size]
        start += size


def _type_name(value: Raw | list[Raw] | None) -> str:
    if value is None:
        return "missing"
    return "array" if isinstance(value, list) else NAMES[value[0]]


def _decoded(value: Raw | list[Raw] | None) -> Any:
    if value is None:
        return None
    if isinstance(value, list):
        return [_decoded(one) for one in value]
    return decode_value(value[0], value[1:])
