"""Ranges of `_id` by which a large collection is read side by side, from a sample that the server draws."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pymongo.database import Database
from pymongo.errors import OperationFailure

from assets.mongo.ids import raw_id, value_of
from assets.mongo.replies import RAW

SAMPLES_PER_SPAN = 10
"""So many drawn `_id` values a range: ranges then differ by about a third."""

SAMPLED_SHARE = 21
"""A sample of more than one document in twenty makes the server read the whole collection."""

MOST_SPANS = 4096
WORTH = 0.25
"""Less of a collection than this is not split: every range would look at all of its documents."""


@dataclass(frozen=True, slots=True)
class Span:
    """Documents whose `_id` is not below `lower` and is below `upper`, as the server orders all types.

    Bounds are kept as `documents` tables keep an `_id`; None is no bound.
    """

    lower: bytes | None = None
    upper: bytes | None = None

    def bounds(self) -> dict[str, dict[str, Any]]:
        """What a `find` that is hinted at the index of `_id` takes: bounds of the index, across types.

        Conditions that do as much are checked for every document, a fifth of the server's time. Without an
        upper bound there is no other way: what the server then takes for one, the greatest of all values, is
        the `_id` of a document that it would leave out.
        """
        if self.upper is None:
            return {}
        pairs = (("min", self.lower), ("max", self.upper))
        return {name: {"_id": value_of(bound)} for name, bound in pairs if bound is not None}

    def conditions(self) -> list[dict[str, Any]]:
        """Filters of the documents. `$expr` compares across types; a plain operator would lose the others."""
        return [
            {"$expr": {operator: ["$_id", {"$literal": value_of(bound)}]}}
            for operator, bound in (("$gte", self.lower), ("$lt", self.upper))
            if bound is not None
        ]


@dataclass(frozen=True, slots=True)
class Size:
    """What the server knows of a collection without looking at it."""

    num_documents: int
    document_bytes: float


WHOLE = Span()
LEAST = 0xFF
"""BSON type of MinKey."""


def size_of(database: Database[Any], collection: str) -> Size | None:
    """Size of a collection; None of views, of time-series collections, and where it may not be asked for."""
    stages: list[dict[str, Any]] = [{"$collStats": {"storageStats": {}}}]
    try:
        shards = list(database[collection].aggregate(stages, comment="shardmill, plan"))
    except OperationFailure:
        return None
    stats = [shard["storageStats"] for shard in shards]
    if any("timeseries" in one for one in stats):
        return None
    num_documents = sum(int(one["count"]) for one in stats)
    return Size(num_documents, sum(int(one["size"]) for one in stats) / max(1, num_documents))


def split(
    database: Database[Any], collection: str, size: Size, num_documents: int, span_bytes: int, comment: str
) -> list[Span]:
    """Divide the `_id` values of a collection, so that documents of a query fall into about equal ranges.

    Parameters
    ----------
    size
        Of the whole collection.
    num_documents
        Documents of the query.
    span_bytes
        BSON that a range should have.

    Returns
    -------
    list of Span
        In order, without gaps, over all types of `_id`; one without bounds where splitting is not worth it.
    """
    num_spans = min(MOST_SPANS, int(num_documents * size.document_bytes / span_bytes))
    num_samples = min(num_spans * SAMPLES_PER_SPAN, size.num_documents // SAMPLED_SHARE)
    num_spans = min(num_spans, num_samples)
    if num_spans < 2 or num_documents < WORTH * size.num_documents:
        return [WHOLE]
    stages = [{"$sample": {"size": num_samples}}, {"$project": {"_id": 1}}, {"$sort": {"_id": 1}}]
    try:
        drawn = list(database.get_collection(collection, RAW).aggregate(stages, comment=comment))
    except OperationFailure:
        return [WHOLE]
    bounds: list[bytes] = []
    for number in range(1, num_spans):
        raw = drawn[number * len(drawn) // num_spans].raw
        bound = raw[4:5] + raw[9:-1]
        # A type that Python cannot send back as it came (old ones are decoded to others) is no bound, nor is
        # the least of all values: the server takes no range that ends there.
        if bound[0] == LEAST or bound in bounds[-1:]:
            continue
        if raw_id(value_of(bound)) == bound:
            bounds.append(bound)
    return [Span(*pair) for pair in zip([None, *bounds], [*bounds, None], strict=True)]
