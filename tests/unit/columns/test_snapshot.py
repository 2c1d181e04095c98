"""Snapshots: aligned partitions, codes that stay, splits, duplicates, leaks, subsets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from bson.objectid import ObjectId

from assets.columns.build import build_records
from assets.columns.errors import ExpressionError, NotMaterialized
from assets.columns.snapshot import build_snapshot
from assets.columns.stats.summary import Summary
from assets.spec import DatasetSpec
from shards import Column, ShardStore, Snapshot
from tests.unit.columns.made import object_ids, publish, raws, spec_of


def made(
    store: ShardStore, spec: DatasetSpec, partitions: dict[str, dict[str, list[Any]]], **more: Any
) -> Snapshot:
    for partition, values in partitions.items():
        publish(store, spec, values, partition, **more)
        build_records(spec, partition, store=store)
    build_snapshot(spec, list(partitions), store=store)
    return store.snapshot(spec.name)


def test_rows_of_splits_are_valid_disjoint_and_complete(store: ShardStore) -> None:
    spec = spec_of({"x": {"kind": "category", "values": ["a", "b"]}})
    values = ["a", "b", "c"] * 400
    snapshot = made(store, spec, {"p1": {"x": values}, "p0": {"x": values[::-1]}})
    assert [key for key, _, _ in snapshot.partitions] == ["p0", "p1"]
    rows = np.concatenate([snapshot.index(name) for name in snapshot.splits])
    invalid = np.flatnonzero(np.array(values[::-1] + values) == "c")
    assert sorted([*rows.tolist(), *invalid.tolist()]) == list(range(2_400))
    assert snapshot.metadata["invalid_rows"] == len(invalid)
    assert snapshot.metadata["splits"] == {name: len(snapshot.index(name)) for name in snapshot.splits}


def test_statistics_are_merged_and_fitted_on_train_alone(store: ShardStore) -> None:
    spec = spec_of({"x": {"kind": "number", "dtype": "float64", "transform": ["standardize"]}})
    rng = np.random.default_rng(0)
    parts = {f"p{number}": {"x": rng.normal(5e5, 3, 5_000).tolist()} for number in range(4)}
    snapshot = made(store, spec, parts)
    train = snapshot.column("x").read()[snapshot.index("train")]
    step = snapshot.transforms["x"][0]
    assert abs(step["mean"] / train.mean() - 1) < 1e-12
    assert abs(step["std"] / np.longdouble(train).std() - 1) < 1e-12
    summary = Summary.from_json(snapshot.statistics["x"]["train"])  # type: ignore[index,call-overload,arg-type]
    assert summary.rows == len(train)
    assert summary.values is not None
    assert summary.values.moments.maximum[0] == train.max()


def test_codes_of_open_categories_are_appended_only(store: ShardStore) -> None:
    spec = spec_of({"c": {"kind": "category", "minimum_count": 2, "transform": ["one_hot"]}})
    first = made(store, spec, {"p0": {"c": ["red"] * 30 + ["blue"] * 60 + ["once"]}})
    assert first.vocabulary("c").to_pylist() == [None, "blue", "red"]
    codes = first.column("c").read()
    assert codes.tolist() == [2] * 30 + [1] * 60 + [0]
    derived = first.pins["derived"]["p0"]
    second = made(store, spec, {"p1": {"c": ["aqua"] * 500 + ["red"] * 5}, "p0": {"c": ["blue"] * 3}})
    assert second.vocabulary("c").to_pylist() == [None, "blue", "red", "aqua"]
    assert second.column("c").read().tolist() == [1] * 3 + [3] * 500 + [2] * 5
    assert second.transforms["c"] == [{"op": "one_hot", "num_codes": 4}]
    assert first.column("c").read().tolist() == codes.tolist()
    assert second.pins["derived"]["p0"] == derived + 1


def test_derived_columns_are_written_again_only_where_they_change(store: ShardStore) -> None:
    spec = spec_of({"c": {"kind": "category"}, "x": {"kind": "number"}})
    values = {"c": ["red"] * 50, "x": [1.0] * 50}
    first = made(store, spec, {"p0": values, "p1": values})
    publish(store, spec, {"c": ["red"] * 40 + ["green"] * 40, "x": [1.0] * 80}, "p1")
    build_records(spec, "p1", store=store)
    report = build_snapshot(spec, ["p0", "p1"], store=store)
    second = store.snapshot("made")
    assert report.created
    assert second.pins["derived"] == {"p0": first.pins["derived"]["p0"], "p1": 2}
    assert not build_snapshot(spec, ["p0", "p1"], store=store).created


def test_unknown_reject_makes_rows_of_an_open_category_invalid(store: ShardStore) -> None:
    spec = spec_of({"c": {"kind": "category", "minimum_count": 5, "unknown": "reject"}})
    snapshot = made(store, spec, {"all": {"c": ["a"] * 100 + ["b"]}})
    assert snapshot.metadata["invalid_rows"] == 1
    masked = spec_of({"c": {"kind": "category", "missing": "mask"}}, name="masked")
    missing = made(store, masked, {"all": {"c": ["a"] * 20 + [None]}})
    assert missing.column("c").read().tolist() == [1] * 20 + [0]
    assert missing.column("c__present").read().tolist() == [True] * 20 + [False]


def test_misaligned_partitions_are_refused(store: ShardStore) -> None:
    spec = spec_of({"x": {"kind": "number"}})
    publish(store, spec, {"x": [1.0]}, "p0")
    build_records(spec, "p0", store=store)
    publish(store, spec, {"x": [1.0, 2.0]}, "p0")
    publish(store, spec, {"x": [1.0]}, "p1")
    says = (
        r"made/records\[p0\] version 1 was made from documents version 1, the latest is 2; "
        r"made/records\[p1\] has no version; made/documents\[p2\] has no version. Materialize these first"
    )
    with pytest.raises(NotMaterialized, match=says):
        build_snapshot(spec, ["p0", "p1", "p2"], store=store)
    with pytest.raises(NotMaterialized, match="no partition"):
        build_snapshot(spec, [], store=store)


def test_adding_data_moves_no_row_between_splits(store: ShardStore) -> None:
    spec = spec_of({"x": {"kind": "id", "path": "_id"}})
    ids = object_ids(600)

    def splits_of(members: list[ObjectId]) -> dict[bytes, str]:
        publish(store, spec, {"x": [one.binary for one in members]}, ids=members)
        build_records(spec, "all", store=store)
        build_snapshot(spec, ["all"], store=store)
        snapshot = store.snapshot("made")
        values = snapshot.column("x").read()
        return {values[row].tobytes(): name for name in snapshot.splits for row in snapshot.index(name)}

    before = splits_of(ids[::2])
    after = splits_of(ids)
    assert {key: after[key] for key in before} == before


def test_groups_stay_together(store: ShardStore) -> None:
    spec = spec_of({"x": {"kind": "number", "dtype": "int32"}}, splits={"by": "hash", "group": "patient"})
    patients = [number % 97 for number in range(2_000)]
    snapshot = made(store, spec, {"all": {"x": patients, "_split": patients}})
    values = snapshot.column("x").read()
    members = [set(values[snapshot.index(name)].tolist()) for name in snapshot.splits]
    assert sum(map(len, members)) == 97
    assert all(members)


def test_duplicates_by_fields_keep_the_first(store: ShardStore) -> None:
    spec = spec_of({"x": {"kind": "number"}}, dedup={"fields": ["a", "b"]})
    values = {"x": [0.0, 1.0, 2.0, 3.0], "_dedup_0": [1, 1.0, 2, None], "_dedup_1": ["u", "u", "u", None]}
    later = {"x": [4.0, 5.0], "_dedup_0": [2, None], "_dedup_1": ["u", "u"]}
    for name, part, first in (("p0", values, 0), ("p1", later, 4)):
        publish(store, spec, part, name, ids=[first + row for row in range(len(part["x"]))])
        build_records(spec, name, store=store)
    build_snapshot(spec, ["p0", "p1"], store=store)
    snapshot = store.snapshot("made")
    rows = sorted(int(row) for name in snapshot.splits for row in snapshot.index(name))
    assert rows == [0, 2, 3, 5]
    assert snapshot.metadata["duplicates"] == {"rows": 2, "listed": [["1", "0"], ["4", "2"]]}


def test_duplicates_by_content_and_leaks(store: ShardStore) -> None:
    columns = {
        "t": {"kind": "text"},
        "v": {"kind": "vector", "length": 40},
        "i": {"kind": "id", "path": "_id"},
    }
    texts = [f"text {number % 150}" for number in range(300)]
    vectors = [[float(number % 150)] * 40 for number in range(300)]
    ids = object_ids(300)
    documents = {"t": texts, "v": vectors, "i": [one.binary for one in ids]}
    leaky = made(store, spec_of(columns), {"all": documents}, ids=ids)
    leaks: Any = leaky.metadata["leaks"]
    splits = {row: name for name in leaky.splits for row in leaky.index(name).tolist()}
    expected = [row for row in range(150) if splits[row] != splits[row + 150]]
    assert leaks["contents"] == len(expected) > 0
    assert leaks["rows"] == 2 * len(expected)
    assert sum(leaks["pairs"].values()) == len(expected)
    clean = made(
        store, spec_of(columns, dedup={"content": ["t", "v"]}, name="clean"), {"all": documents}, ids=ids
    )
    assert clean.metadata["duplicates"]["rows"] == 150  # type: ignore[index,call-overload]
    assert clean.metadata["leaks"]["contents"] == 0  # type: ignore[index,call-overload]
    assert sum(len(clean.index(name)) for name in clean.splits) == 150


def subset_values(store: ShardStore, subset: dict[str, Any], name: str) -> list[float]:
    spec = spec_of(
        {
            "x": {"kind": "number", "missing": "mask"},
            "c": {"kind": "category"},
            "d": {"kind": "category", "values": ["low", "high"], "path": "d"},
            "t": {"kind": "text"},
            "at": {"kind": "datetime"},
            "l": {"kind": "list", "element": "int32"},
            "b": {"kind": "bool"},
        },
        splits={"by": "hash", "fractions": {"train": 1.0}},
        subsets={"chosen": subset},
        name=name,
    )
    partitions = {}
    for part in range(2):
        rows = list(range(part * 50, part * 50 + 50))
        partitions[f"p{part}"] = {
            "x": [None if row % 10 == 9 else float(row) for row in rows],
            "c": [["red", "green", "blue", "red"][row % 4] for row in rows],
            "d": ["high" if row >= 80 else "low" for row in rows],
            "t": [f"text {row}" for row in rows],
            "at": [row * 86_400_000 for row in rows],
            "l": [[1] * (row % 3) for row in rows],
            "b": [row % 2 == 0 for row in rows],
        }
    snapshot = made(store, spec, partitions)
    return snapshot.subset_index("chosen").tolist()


@pytest.mark.parametrize(
    ("where", "wanted"),
    [
        ("x >= 10 and x < 13", lambda row: row in (10, 11, 12)),
        ("10 <= x <= 12", lambda row: row in (10, 11, 12)),
        ("x is None", lambda row: row % 10 == 9),
        ("x is not None and not b", lambda row: row % 10 != 9 and row % 2),
        ('c in ["red", "blue"]', lambda row: row % 4 != 1),
        ('c not in ["red"]', lambda row: row % 4 in (1, 2)),
        ('d == "high" or t == "text 3"', lambda row: row >= 80 or row == 3),
        ('at >= date("1970-04-01")', lambda row: row >= 90),
        ("len(l) == 2 and len(t) == 6", lambda row: row % 3 == 2 and row < 10),
        ('startswith(t, "text 1") and contains(t, "5")', lambda row: row == 15),
        ("abs(x - 50) * 2 < 3", lambda row: row in (50, 51)),
        ("x / 4 == 12.5", lambda row: row == 50),
        ("-x > -2", lambda row: row in (0, 1)),
        ("b", lambda row: row % 2 == 0),
        ("x != x", lambda row: False),
    ],
)
def test_filter_expressions(store: ShardStore, where: str, wanted: Any) -> None:
    assert subset_values(store, {"where": where}, "made") == [row for row in range(100) if wanted(row)]


@pytest.mark.parametrize(
    ("where", "says"),
    [
        ('x > "a"', "cannot be evaluated"),
        ("len(x) > 1", "cannot be evaluated"),
    ],
)
def test_wrong_expressions_are_named(store: ShardStore, where: str, says: str) -> None:
    with pytest.raises(ExpressionError, match=says):
        subset_values(store, {"where": where}, "made")


@pytest.mark.parametrize(
    "where",
    [
        "__import__('os').system('true')",
        "x.real > 1",
        "[y for y in x]",
        "lambda: 1",
        "x if x else 1",
        "f'{x}' == 'a'",
        "x[0] > 1",
        "x ** 99 > 1",
        "x := 3",
        "x = 3",
        "len(x, x)",
        "open('a')",
        "x in t",
        "x == [1]",
        "x is 1",
        "b'a' == x",
        "x > 1" + " and x > 1" * 500,
        "(" * 300 + "x" + ")" * 300,
        "",
        "1 < 2",
        "absent > 1",
    ],
)
def test_expressions_outside_the_language_are_refused(where: str) -> None:
    with pytest.raises(ValueError, match=r"where|expression"):
        spec_of({"x": {"kind": "number"}}, subsets={"s": {"where": where}})


def test_limits_and_balance_are_stable_samples(store: ShardStore) -> None:
    few = subset_values(store, {"limit": 10}, "few")
    assert len(few) == 10
    largest = subset_values(store, {"balance": "c"}, "largest")
    assert len(largest) == 150
    counts = np.bincount([[0, 1, 2, 0][row % 4] for row in largest])
    assert counts.tolist() == [50, 50, 50]
    smallest = subset_values(
        store, {"balance": "d", "balance_to": "smallest", "where": "x >= 70"}, "smallest"
    )
    assert sum(row >= 80 for row in smallest) == sum(row < 80 for row in smallest) == 9
    limited = subset_values(store, {"balance": "c", "limit": 30}, "limited")
    assert len(limited) == len(set(limited)) == 30


def test_stratified_shares_are_reported(store: ShardStore) -> None:
    spec = spec_of({"c": {"kind": "category", "values": ["a", "b"]}}, splits={"by": "hash", "stratify": "c"})
    snapshot = made(store, spec, {"all": {"c": ["a", "a", "a", "b"] * 500}})
    shares: Any = snapshot.metadata["stratified"]
    assert set(shares) == {"train", "validation", "test"}
    assert all(abs(share["a"] - 0.75) < 0.12 for share in shares.values())


def test_empty_partitions_are_no_obstacle(store: ShardStore) -> None:
    spec = spec_of(
        {"x": {"kind": "number", "transform": ["standardize"]}, "c": {"kind": "category"}},
        dedup={"content": ["x"]},
    )
    snapshot = made(store, spec, {"p0": {"x": [], "c": []}, "p1": {"x": [1.0, 2.0], "c": ["a", "b"]}})
    assert snapshot.num_rows == 2
    nothing = made(store, spec_of({"x": {"kind": "number"}}, name="none"), {"all": {"x": []}})
    assert nothing.num_rows == 0
    assert nothing.metadata["leaks"]["contents"] == 0  # type: ignore[index,call-overload]


def test_pictures_alone_are_split_fitted_and_compared(store: ShardStore) -> None:
    columns = {"image": {"kind": "image", "size": [2, 2], "transform": ["standardize"], "path": "i"}}
    spec = spec_of(columns, dedup={"content": ["image"]})
    schema = pa.schema([pa.field("_id", pa.large_binary())])
    with store.begin("made", "documents") as attempt:
        attempt.table("documents", schema).append(pa.record_batch([raws(list(range(6)))], schema=schema))
        attempt.commit()
    pixels = np.zeros((6, 2, 2, 3), np.uint8)
    sources = np.array([[1, 1], [2, 2], [1, 1], [0, 0], [0, 0], [3, 3]], "<u8")
    sums: dict[str, Any] = {"num_pixels": 10, "sum": [10, 20, 30], "sum_squares": [20, 40, 90]}
    with store.begin("made", "images") as attempt:
        attempt.column(Column("image", "npy", "|u1", (2, 2, 3), kind="image")).append(pixels)
        attempt.column(Column("image__source", "npy", "<u8", (2,), kind="hash")).append(sources)
        of_rows = np.tile(np.array([10, 10, 20, 30, 20, 40, 90], "<u8"), (6, 1))
        attempt.column(Column("image__sums", "npy", "<u8", (7,), kind="vector")).append(of_rows)
        attempt.validity(np.array([True, True, True, False, True, True]))
        attempt.commit(inputs={"documents": 1}, statistics={"image": {"train": sums}})
    build_snapshot(spec, ["all"], store=store)
    snapshot = store.snapshot("made")
    rows = sorted(int(row) for name in snapshot.splits for row in snapshot.index(name))
    assert rows == [0, 1, 4, 5]
    assert snapshot.metadata["duplicates"]["listed"] == [["2", "0"]]  # type: ignore[index,call-overload]
    (step,) = snapshot.transforms["image"]
    assert (step["mean"], step["std"], step["axis"]) == ([1.0, 2.0, 3.0], [1.0, 1.0, 1.0], -1)
