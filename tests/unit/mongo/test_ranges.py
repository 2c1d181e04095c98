"""Windows and filters of partitions; Dagster computes the same windows."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from bson import ObjectId

from assets.mongo.errors import SourceError
from assets.mongo.ranges import OF_VALUES, first_objectid, partition_filter, window
from assets.partitions import partitions_definition
from assets.spec import DatasetSpec

UTC = datetime.timezone.utc


def spec_of(**partitions: Any) -> DatasetSpec:
    return DatasetSpec.model_validate(
        {
            "name": "things",
            "source": {"database": "d", "collection": "c", "filter": {"live": True}},
            "partitions": partitions,
            "columns": {"x": {"kind": "number", "path": "x"}},
        }
    )


@pytest.mark.parametrize("every", ["hour", "day", "week", "month"])
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata"])
def test_windows_are_dagsters(every: str, zone: str) -> None:
    start, end = ("2024-03-28", "2024-04-02") if every == "hour" else ("2024-01-01", "2025-01-01")
    if every == "week":
        end = "2024-12-30"
    spec = spec_of(
        by="time", field="t", every=every, timezone=zone,
        start=datetime.date.fromisoformat(start), end=datetime.date.fromisoformat(end),
    )  # fmt: skip
    definition: Any = partitions_definition(spec)
    keys = definition.get_partition_keys()
    assert len(keys) >= 12
    for key in keys:
        theirs = definition.time_window_for_partition_key(key)
        assert window(spec.partitions, key) == (theirs.start, theirs.end), key  # type: ignore[arg-type]


def test_windows_of_one_partition_meet() -> None:
    spec = spec_of(by="time", field="_id", every="day", start=datetime.date(2024, 1, 1))
    first = partition_filter(spec, "2024-01-01")["$and"][1]["_id"]
    second = partition_filter(spec, "2024-01-02")["$and"][1]["_id"]
    assert (
        first["$lt"]
        == second["$gte"]
        == ObjectId(int(datetime.datetime(2024, 1, 2, tzinfo=UTC).timestamp()).to_bytes(4, "big") + bytes(8))
    )


def test_objectids_have_bounds() -> None:
    assert first_objectid(datetime.datetime(1950, 1, 1, tzinfo=UTC)) == ObjectId("0" * 24)
    assert first_objectid(datetime.datetime(2300, 1, 1, tzinfo=UTC)) == ObjectId("f" * 8 + "0" * 16)


@pytest.mark.parametrize(
    ("partitions", "key", "names"),
    [
        (
            {"by": "time", "field": "t", "every": "day", "start": datetime.date(2024, 1, 1)},
            "2024",
            "%Y-%m-%d",
        ),
        ({"by": "static", "field": "f", "values": ["a", "b"]}, "c", "a, b"),
        ({"by": "hash", "buckets": 4}, "4", "0 to 3"),
        ({"by": "hash", "buckets": 4}, "-1", "0 to 3"),
    ],
)
def test_keys_that_do_not_exist(partitions: dict[str, Any], key: str, names: str) -> None:
    with pytest.raises(SourceError, match=names):
        partition_filter(spec_of(**partitions), key)


def test_values_keep_their_type() -> None:
    static = partition_filter(spec_of(by="static", field="f", values=[1, "x"]), "1")
    assert static["$and"][1]["$and"][0] == {"f": {"$in": [1], **OF_VALUES}}
    dynamic = partition_filter(spec_of(by="dynamic", field="f"), "12")
    assert dynamic["$and"][1]["$and"][0] == {"f": {"$in": ["12", 12], **OF_VALUES}}
