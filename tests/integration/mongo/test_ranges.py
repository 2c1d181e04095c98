"""Ranges of `_id` by bounds of its index: every document in exactly one, whatever types `_id` has."""

from __future__ import annotations

import datetime
import itertools
import uuid
from typing import Any

import pyarrow as pa
import pytest
from bson import Binary, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from pymongo.database import Database

from assets.mongo.columns import Columns
from assets.mongo.extract import Extraction, Query, Resume
from assets.mongo.ids import value_of
from assets.mongo.schema import ID
from assets.mongo.server import Guarantee, guarantee
from assets.mongo.splits import Span

IDS: list[Any] = [
    MinKey(), MaxKey(), None, -5, 3, Int64(4), 4.5, float("nan"), Decimal128("4.25"), Decimal128("7E+3"),
    "", "a", "ä", "zz", {}, {"a": 1}, {"a": 2}, {"a": {"b": None}}, b"", b"x", Binary(b"x", 128),
    Binary(uuid.UUID(int=7).bytes, 4), ObjectId("0" * 24), ObjectId("f" * 24), False, True,
    datetime.datetime(1950, 1, 1), datetime.datetime(2024, 2, 29), Timestamp(1, 1), Timestamp(9, 0),
]  # fmt: skip


@pytest.fixture
def at(database: Database[Any]) -> Guarantee:
    database["things"].insert_many([{"_id": one, "even": number % 2 == 0} for number, one in enumerate(IDS)])
    return guarantee(database.client, database, "things", None)


def read(database: Database[Any], at: Guarantee, span: Span, **more: Any) -> list[bytes]:
    found: list[pa.RecordBatch] = []
    columns = Columns([ID], found.append)
    query = Query(database.name, "things", more.get("condition", {})).within(span)
    extraction = Extraction(database.client, query, at, columns)
    extraction.start = more.get("start")
    extraction.run()
    columns.flush()
    assert not columns.rejects
    return [one for batch in found for one in batch.column(0).to_pylist()]


@pytest.mark.parametrize("condition", [{}, {"even": True}], ids=["all", "half"])
def test_ranges_of_all_types_divide_a_collection(
    database: Database[Any], at: Guarantee, condition: dict[str, Any]
) -> None:
    everything = read(database, at, Span())
    wanted = read(database, at, Span(), condition=condition)
    bounds = [None, *everything[1:], None]
    parts = [read(database, at, Span(*pair), condition=condition) for pair in itertools.pairwise(bounds)]
    assert list(itertools.chain(*parts)) == wanted
    assert max(map(len, parts)) == 1


def test_a_range_is_resumed_behind_any_type(database: Database[Any], at: Guarantee) -> None:
    everything = read(database, at, Span())
    for upper in (everything[-1], None):
        wanted = read(database, at, Span(everything[1], upper))
        for number, last in enumerate(wanted):
            rest = read(database, at, Span(everything[1], upper), start=Resume(value_of(last), 1))
            assert rest == wanted[number + 1 :]


def test_regular_expressions_are_no_ids(database: Database[Any], at: Guarantee) -> None:
    """The server refuses them, so that no bound is one."""
    with pytest.raises(Exception, match="_id"):
        database["things"].insert_one({"_id": Regex("a")})
