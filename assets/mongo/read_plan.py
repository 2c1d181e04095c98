"""What a read of a partition consists of: ranges of collections, at one cluster time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import bson
from bson.timestamp import Timestamp
from pymongo.database import Database

from assets.mongo.extract import Pace, Query
from assets.mongo.ids import EXACT
from assets.mongo.server import Guarantee, SnapshotGone, count
from assets.mongo.splits import WHOLE, Span, size_of, split

LASTING_BYTES = 1 << 30
"""Of a read of so much, pieces are put down from the beginning."""


@dataclass(frozen=True, slots=True)
class Part:
    """One range of one collection."""

    collection: str
    span: Span


@dataclass(frozen=True, slots=True)
class Plan:
    """Ranges to read, in the order of their rows.

    Parameters
    ----------
    at
        As of when.
    parts
        Ranges, collection after collection.
    expected
        Documents that the server counts at that time, by collection; None where a pipeline makes them.
    is_lasting
        Whether it will surely take so long that a retry should not do it again.
    """

    at: Guarantee
    parts: Sequence[Part]
    expected: Mapping[str, int | None]
    is_lasting: bool

    def encode(self) -> bytes:
        """BSON, to be put down; of plans at a cluster time."""
        parts = [[part.collection, part.span.lower, part.span.upper] for part in self.parts]
        expected = list(self.expected.items())
        return bson.encode({"time": self.at.cluster_time, "parts": parts, "expected": expected})


def decode_plan(data: memoryview) -> Plan:
    """A plan that was put down."""
    found = bson.decode(bytes(data), EXACT)
    time: Timestamp = found["time"]
    parts = [Part(name, Span(lower, upper)) for name, lower, upper in found["parts"]]
    expected = {name: None if number is None else int(number) for name, number in found["expected"]}
    return Plan(Guarantee(time, "snapshot"), parts, expected, is_lasting=True)


def make_plan(
    database: Database[Any], queries: Sequence[Query], at: Guarantee, pace: Pace, span_bytes: int
) -> Plan:
    """Count the documents at the time of the read, and divide large collections into ranges."""
    parts: list[Part] = []
    expected: dict[str, int | None] = {}
    num_bytes = 0.0
    is_known = True
    for query in queries:
        spans = [WHOLE]
        number = None
        size = size_of(database, query.collection)
        with suppress(SnapshotGone):  # counting alone outlives the server's history
            number = count_of(database, query, at, pace, by_id=size is not None and not query.condition)
        expected[query.collection] = number
        if number is None or size is None:
            is_known = False
        else:
            num_bytes += number * size.document_bytes
            if query.hint is None and at.cluster_time is not None:
                spans = split(database, query.collection, size, number, span_bytes, pace.comment)
        parts += [Part(query.collection, span) for span in spans]
    slow = pace.max_documents_per_second is not None
    is_lasting = at.cluster_time is not None and (slow or not is_known or num_bytes >= LASTING_BYTES)
    return Plan(at, parts, expected, is_lasting)


def count_of(
    database: Database[Any], query: Query, at: Guarantee, pace: Pace, *, by_id: bool = False
) -> int | None:
    """What the server counts, by the index of `_id` if so; None where a pipeline makes the documents."""
    if query.pipeline is not None:
        return None
    return count(
        database,
        query.collection,
        dict(query.condition),
        at,
        session=None,
        comment=pace.comment,
        read_preference=pace.read_preference,
        by_id=by_id,
    )
