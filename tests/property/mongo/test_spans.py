"""Ranges of `_id` cover every document once, whatever its type; any number of them gives the same."""

from __future__ import annotations

import datetime
import tempfile
from typing import Any

import pytest
from bson import Binary, Code, Decimal128, Int64, MaxKey, MinKey, ObjectId, Timestamp
from hypothesis import given, settings
from hypothesis import strategies as st
from pymongo.database import Database

from assets.mongo import server_build, splits
from assets.mongo.build import build_documents
from assets.mongo.fields import Field
from assets.mongo.replies import RAW
from assets.spec import DatasetSpec
from shards import ShardStore

FIELDS = [Field("value", "value", "int64")]
MOMENT = datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone.utc)
simple = st.one_of(
    st.integers(-(1 << 31), (1 << 31) - 1),
    st.integers(-(1 << 63), (1 << 63) - 1).map(Int64),
    st.floats(),
    st.decimals(allow_nan=True, places=2, min_value=-1000, max_value=1000).map(
        lambda one: Decimal128(str(one))
    ),
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=4),
    st.binary(max_size=4).flatmap(
        lambda data: st.sampled_from([0, 5, 128]).map(lambda kind: Binary(data, kind))
    ),
    st.binary(min_size=12, max_size=12).map(ObjectId),
    st.booleans(),
    st.integers(-(10**9), 10**9).map(lambda seconds: MOMENT + datetime.timedelta(seconds=seconds)),
    st.integers(1, 9).map(lambda number: Timestamp(number, 1)),
    st.sampled_from([None, MinKey(), MaxKey(), Code("x"), float("nan"), float("inf"), -0.0]),
)
ids = st.one_of(
    simple, st.dictionaries(st.sampled_from("ab"), st.one_of(simple, st.lists(simple, max_size=2)))
)


def spec_of(database: str, cursors: int) -> DatasetSpec:
    return DatasetSpec.model_validate(
        {
            "name": "things",
            "source": {"database": database, "collection": "things", "cursors": cursors},
            "columns": {"value": {"kind": "number", "path": "value"}},
            "checks": {"max_reject_share": 1},
        }
    )


def test_any_number_of_ranges_gives_the_same(
    database: Database[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    things = database["things"]
    num_ranges: set[int] = set()

    @settings(max_examples=25)
    @given(values=st.lists(ids, min_size=30, max_size=60), num_bytes=st.sampled_from([20, 40, 200]))
    def check(values: list[Any], num_bytes: int) -> None:
        things.delete_many({})
        for number, value in enumerate(values):
            document = {"_id": value, "value": number if number % 7 else "unfit"}
            # Values that are equal for the server are one document.
            things.replace_one({"_id": {"$eq": value}}, document, upsert=True)
        with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
            whole = build_documents(
                spec_of(database.name, 1), "all", FIELDS, client=database.client, store=ShardStore(one)
            )
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(splits, "SAMPLED_SHARE", 1)
                patch.setattr(server_build, "piece_bytes", lambda _: num_bytes)
                parts = build_documents(
                    spec_of(database.name, 3), "all", FIELDS, client=database.client, store=ShardStore(other)
                )
            assert whole.metadata["ranges"] == 1
            num_ranges.add(parts.metadata["ranges"])
            assert parts.content_hash == whole.content_hash
            assert parts.rejects == whole.rejects
            version = ShardStore(other).latest("things", "documents")
            assert version is not None
            found = version.table("documents").read().column("_id").to_pylist()
            fits = things.with_options(RAW).find({"value": {"$ne": "unfit"}}, {"_id": 1}).sort("_id")
            assert found == [bytes(one.raw[4:5]) + bytes(one.raw[9:-1]) for one in fits]

    check()
    assert max(num_ranges) > 10
