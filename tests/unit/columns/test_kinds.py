"""Every kind of column: what is stored, what is missing, what is rejected."""

from __future__ import annotations

import math
from datetime import datetime, timezone
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow as pa
import pytest
from bson.binary import Binary, BinaryVectorDtype
from bson.objectid import ObjectId

from assets.columns.build import build_records
from assets.columns.errors import NotMaterialized
from assets.columns.rejects import REJECTS
from assets.mongo.schema import REJECTS as MONGO_REJECTS
from assets.quality.guard import Unfit
from shards import ShardStore, Version
from tests.unit.columns.made import publish, spec_of


def built(store: ShardStore, column: dict[str, Any], values: list[Any], **fields: list[Any]) -> Version:
    spec = spec_of({"x": column})
    publish(store, spec, fields or {"x": values}, ids=list(range(len(next(iter(fields.values()), values)))))
    build_records(spec, "all", store=store)
    version = store.latest("made", "records")
    assert version is not None
    return version


def reasons(version: Version) -> list[tuple[str, str]]:
    return [(row["_id"], row["reason"]) for row in version.table("rejects").read().to_pylist()]


def stored(version: Version, name: str = "x") -> Any:
    values = version.column(name).read()
    return values.tolist() if isinstance(values, np.ndarray) else values.to_pylist()


def test_numbers_are_exact_or_rejected(store: ShardStore) -> None:
    version = built(
        store,
        {"kind": "number", "dtype": "float32"},
        [1.5, 16_777_216.0, 16_777_217.0, 0.1, 1e39, 1e-60, -3.4028234663852886e38, math.inf, math.nan],
    )
    assert stored(version)[:2] == [1.5, 16_777_216.0]
    assert stored(version)[3] == float(np.float32(0.1))
    assert reasons(version) == [
        ("2", "inexact"),
        ("4", "out of range"),
        ("5", "inexact"),
        ("7", "not finite"),
        ("8", "not finite"),
    ]
    assert version.validity().tolist() == [True, True, False, True, False, False, True, False, False]
    assert stored(version)[2] == 0.0


@pytest.mark.parametrize(
    ("column", "value", "expected"),
    [
        ({"kind": "number", "dtype": "float32", "round": True}, 16_777_217.0, 16_777_216.0),
        ({"kind": "number", "dtype": "float64"}, 9_007_199_254_740_993.0, 9_007_199_254_740_992.0),
        ({"kind": "number", "dtype": "float32", "non_finite": "keep"}, math.inf, math.inf),
        ({"kind": "number", "dtype": "int64"}, -(2**63), -(2**63)),
        ({"kind": "number", "dtype": "uint64"}, 2**64 - 1, 2**64 - 1),
        ({"kind": "number", "dtype": "int8"}, -128, -128),
        ({"kind": "number", "dtype": "float16"}, 2048.0, 2048.0),
    ],
)
def test_numbers_at_the_limits(store: ShardStore, column: dict[str, Any], value: Any, expected: Any) -> None:
    assert stored(built(store, column, [value])) == [expected]


def test_every_missing_policy_of_numbers(store: ShardStore) -> None:
    default = built(store, {"kind": "number", "missing": "default", "default": 7}, [1.0, None])
    assert stored(default) == [1.0, 7.0]
    nan = built(store, {"kind": "number", "missing": "nan"}, [1.0, None, math.nan])
    assert stored(nan)[0] == 1.0
    assert np.isnan(stored(nan)[1:]).all()
    mask = built(store, {"kind": "number", "dtype": "int16", "missing": "mask"}, [1, None])
    assert stored(mask) == [1, 0]
    assert stored(mask, "x__present") == [True, False]
    assert mask.columns["x"].mask == "x__present"
    assert mask.statistics["x"]["train"]["missing"] + mask.statistics["x"]["rest"]["missing"] == 1


def test_vector_of_fields_and_of_a_list(store: ShardStore) -> None:
    stacked = built(
        store,
        {"kind": "vector", "paths": ["a", "b"], "missing": "mask"},
        [],
        x__0=[1.0, None],
        x__1=[3.0, 4.0],
    )
    assert stored(stacked) == [[1.0, 3.0], [0.0, 4.0]]
    assert stored(stacked, "x__present") == [True, False]
    assert stored(stacked, "x__elements") == [[True, True], [False, True]]
    listed = built(
        store, {"kind": "vector", "length": 2, "missing": "nan", "path": "x"}, [[1.0, 2.0], None, [3.0, 1e40]]
    )
    assert stored(listed)[0] == [1.0, 2.0]
    assert np.isnan(stored(listed)[1]).all()
    assert reasons(listed) == [("2", "out of range")]


def test_declared_category_of_mixed_types(store: ShardStore) -> None:
    column = {"kind": "category", "values": ["a", 1, True]}
    values = [
        {"string": "a", "int64": None, "bool": None},
        {"string": None, "int64": 1, "bool": None},
        {"string": None, "int64": None, "bool": True},
        {"string": None, "int64": 2, "bool": None},
        {"string": None, "int64": None, "bool": False},
    ]
    version = built(store, column, values)
    assert stored(version)[:3] == [0, 1, 2]
    assert reasons(version) == [("3", "unknown category"), ("4", "unknown category")]
    got = [row["got"] for row in version.table("rejects").read().to_pylist()]
    assert got == ["2", "False"]


def test_declared_category_policies(store: ShardStore) -> None:
    code = built(store, {"kind": "category", "values": ["a", "b"], "unknown": "code"}, ["b", "c", "a"])
    assert stored(code) == [1, -1, 0]
    default = built(
        store, {"kind": "category", "values": ["a", "b"], "missing": "default", "default": "b"}, ["a", None]
    )
    assert stored(default) == [0, 1]
    mask = built(store, {"kind": "category", "values": ["a", "b"], "missing": "mask"}, ["a", None, "c"])
    assert stored(mask, "x__present") == [True, False, True]
    assert reasons(mask) == [("2", "unknown category")]


def test_hashed_category_is_stable_and_even(store: ShardStore) -> None:
    names = [f"user {number}" for number in range(5_000)]
    version = built(store, {"kind": "category", "hash_buckets": 10}, names)
    codes = np.array(stored(version))
    assert codes[:4].tolist() == np.array(stored(version))[:4].tolist()
    assert np.bincount(codes, minlength=10).min() > 400
    again = built(store, {"kind": "category", "hash_buckets": 10}, names[::-1])
    assert stored(again)[::-1] == codes.tolist()


def test_multilabel(store: ShardStore) -> None:
    version = built(
        store,
        {"kind": "multilabel", "values": ["a", "b", "c"], "missing": "mask"},
        [["a", "c", "a"], [], None, ["d"]],
    )
    assert stored(version) == [[1, 0, 1], [0, 0, 0], [0, 0, 0], [0, 0, 0]]
    assert stored(version, "x__present") == [True, True, False, True]
    assert reasons(version) == [("3", "unknown category")]
    ignoring = built(store, {"kind": "multilabel", "values": [1, 2], "unknown": "ignore"}, [[2, 9], [9]])
    assert stored(ignoring) == [[0, 1], [0, 0]]


def test_bool(store: ShardStore) -> None:
    version = built(store, {"kind": "bool", "missing": "default", "default": True}, [True, False, None])
    assert stored(version) == [True, False, True]


def test_datetime_units_and_range(store: ShardStore) -> None:
    moments = [
        datetime(2024, 5, 1, 12, 30, 15, tzinfo=timezone.utc),
        datetime(1, 1, 1, tzinfo=timezone.utc),
        datetime(2024, 5, 1, 12, 30, 15, 250_000, tzinfo=timezone.utc),
    ]
    ns = built(store, {"kind": "datetime", "unit": "ns"}, moments)
    assert stored(ns)[0] == 1_714_566_615_000_000_000
    assert reasons(ns) == [("1", "out of range")]
    seconds = built(store, {"kind": "datetime", "unit": "s"}, moments)
    assert stored(seconds)[0] == 1_714_566_615
    assert reasons(seconds) == [("2", "inexact")]


def test_datetime_cycles_follow_the_time_zone(store: ShardStore) -> None:
    column = {
        "kind": "datetime",
        "cyclic": ["hour", "weekday", "day", "month", "year"],
        "timezone": "Asia/Tokyo",
    }
    moment = datetime(2024, 2, 28, 21, 0, tzinfo=timezone.utc)  # 06:00 on Thursday 29 February in Tokyo
    values = np.array(stored(built(store, column, [moment]))[0])
    phases = np.array([0.25, (3 + 0.25) / 7, 28.25 / 29, 1 / 12, (31 + 28.25) / 366])
    expected = np.stack((np.sin(2 * np.pi * phases), np.cos(2 * np.pi * phases)), axis=1).reshape(-1)
    assert np.allclose(values, expected, atol=1e-6)


def test_datetime_default_needs_an_offset(store: ShardStore) -> None:
    column = {"kind": "datetime", "missing": "default", "default": "2024-05-01T00:00:00+02:00"}
    assert stored(built(store, column, [None])) == [1_714_514_400_000]
    with pytest.raises(ValueError, match="UTC offset"):
        spec_of({"x": {"kind": "datetime", "missing": "default", "default": "2024-05-01"}})


def test_text_lists_records_binary_and_ids(store: ShardStore) -> None:
    text = built(store, {"kind": "text", "missing": "mask"}, ["é", None])
    assert stored(text) == ["é", ""]
    assert stored(text, "x__present") == [True, False]
    nested = built(
        store,
        {"kind": "list", "element": "float32", "depth": 2, "missing": "mask"},
        [[[1.0, 2.0], []], None, [], [[1e40]]],
    )
    assert stored(nested) == [[[1.0, 2.0], []], [], [], [[0.0]]]
    assert reasons(nested) == [("3", "out of range")]
    assert nested.columns["x"].arrow_type == "large_list<large_list<float32>>"
    strings = built(store, {"kind": "list", "element": "string"}, [["a", ""], []])
    assert stored(strings) == [["a", ""], []]
    members = {
        "a": {"type": "int64"},
        "b": {"type": "list", "element": "string", "missing": "null"},
        "c": {"type": "record", "members": {"d": {"type": "datetime"}}},
    }
    moment = datetime(2024, 1, 1, tzinfo=timezone.utc)
    rows = [{"a": 1, "b": ["x"], "c": {"d": moment}}, {"a": 2, "b": None, "c": {"d": moment}}]
    assert stored(built(store, {"kind": "record", "members": members}, rows)) == rows
    assert stored(built(store, {"kind": "binary", "missing": "mask"}, [b"a", None])) == [b"a", b""]
    one = ObjectId()
    assert bytes(stored(built(store, {"kind": "id"}, [one.binary]))[0]) == one.binary
    uuid = UUID(int=7)
    assert bytes(stored(built(store, {"kind": "id", "type": "uuid"}, [uuid.bytes]))[0]) == uuid.bytes
    assert stored(built(store, {"kind": "id", "type": "int64", "missing": "mask"}, [5, None])) == [5, 0]
    assert stored(built(store, {"kind": "id", "type": "string"}, ["a", "b"])) == ["a", "b"]


def test_embeddings_of_every_packing(store: ShardStore) -> None:
    numbers = [1.0, -2.5, 3.0]
    values: list[object] = [
        Binary.from_vector(numbers, BinaryVectorDtype.FLOAT32),
        Binary(np.array(numbers, "<f4").tobytes(), 0),
        Binary.from_vector([1, -2, 3], BinaryVectorDtype.INT8),
        Binary.from_vector([0b10100000], BinaryVectorDtype.PACKED_BIT, padding=5),
        Binary.from_vector([1.0, 2.0], BinaryVectorDtype.FLOAT32),
        Binary(b"12345", 0),
        "text",
        Binary(np.array([1.0, math.nan, 2.0], "<f4").tobytes(), 0),
        Binary(b"\x27\x03" + np.array(numbers, "<f4").tobytes(), 9),
    ]
    version = built(store, {"kind": "embedding", "length": 3}, values)
    assert stored(version)[:4] == [numbers, numbers, [1.0, -2.0, 3.0], [1.0, 0.0, 1.0]]
    assert [number for number, _ in reasons(version)] == ["4", "5", "6", "7", "8"]
    assert {reason for _, reason in reasons(version)} == {"wrong type"}
    nan = built(store, {"kind": "embedding", "length": 2, "missing": "nan"}, [None, b"\0" * 8])
    assert np.isnan(stored(nan)[0]).all()


def test_rejects_have_the_schema_of_documents(store: ShardStore) -> None:
    assert REJECTS == MONGO_REJECTS
    version = built(store, {"kind": "category", "values": ["a"], "path": "p.q"}, ["b" * 500])
    (row,) = version.table("rejects").read().to_pylist()
    assert (row["path"], row["field"], row["expected"]) == ("p.q", "x", "one of 'a'")
    assert row["got"].endswith("… (500 characters)")


def test_too_many_rejects_publish_nothing(store: ShardStore) -> None:
    spec = spec_of({"x": {"kind": "category", "values": ["a"]}}, checks={"max_reject_share": 0.25})
    publish(store, spec, {"x": ["a", "b", "c", "a"]})
    with pytest.raises(Unfit, match=r"nothing was published: .*0\.5 \(2 of 4: unknown category 2\)"):
        build_records(spec, "all", store=store)
    assert store.latest("made", "records") is None


def test_no_documents_says_what_to_materialize(store: ShardStore) -> None:
    with pytest.raises(NotMaterialized, match="materialize made/documents first"):
        build_records(spec_of({"x": {"kind": "bool"}}), "2024-01", store=store)


def test_same_documents_give_the_same_version(store: ShardStore) -> None:
    spec = spec_of({"x": {"kind": "number"}, "c": {"kind": "category"}})
    publish(store, spec, {"x": [1.0] * 3_000, "c": ["a", "b", "c"] * 1_000})
    first = build_records(spec, "all", store=store)
    second = build_records(spec, "all", store=store, run_id="another")
    assert (first.created, second.created) == (True, False)
    assert first.content_hash == second.content_hash


def test_empty_documents(store: ShardStore) -> None:
    spec = spec_of(
        {
            "x": {"kind": "number"},
            "c": {"kind": "category"},
            "l": {"kind": "list", "element": "float32"},
            "t": {"kind": "text"},
            "e": {"kind": "embedding", "length": 2},
            "v": {"kind": "vector", "paths": ["a", "b"]},
        }
    )
    publish(store, spec, {"x": [], "c": [], "l": [], "t": [], "e": [], "v__0": [], "v__1": []})
    assert build_records(spec, "all", store=store).rows == 0


def test_arrow_columns_hold_no_type_but_the_declared(store: ShardStore) -> None:
    version = built(store, {"kind": "list", "element": "int8"}, [[1, -128]])
    assert version.column("x").read().type == pa.large_list(pa.int8())
