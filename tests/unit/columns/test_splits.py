"""Splits never move, keep groups together and follow fractions, dates and fields."""

from datetime import datetime, timezone

import numpy as np
import pyarrow as pa
import pytest
from bson.objectid import ObjectId

from assets.columns.hashing import hash_raw, hash_rows, hash_values, seed_of
from assets.columns.splits import assign_splits, split_names
from assets.spec import DatasetSpec
from tests.unit.columns.made import object_ids, raws


def spec_of(splits: dict[str, object]) -> DatasetSpec:
    return DatasetSpec.model_validate(
        {
            "name": "s",
            "source": {"database": "d", "collection": "c"},
            "columns": {"x": {"kind": "number", "path": "x"}},
            "splits": splits,
        }
    )


def test_hash_does_not_change_between_releases() -> None:
    hashes = hash_raw(raws([ObjectId("0123456789abcdef01234567"), "a", 7, b"x" * 300]), seed_of("0"))
    assert [int(value) for value in hashes] == [
        1465207315527771141,
        1924405397889647972,
        5860668307408332499,
        13919284325647454233,
    ]


def test_rows_never_move_and_fractions_hold() -> None:
    spec = spec_of({"by": "hash", "fractions": {"train": 0.8, "validation": 0.1, "test": 0.1}})
    ids = raws(object_ids(20_000))
    all_at_once = assign_splits(spec, pa.table({"_id": ids}))
    later = assign_splits(spec, pa.table({"_id": ids[5_000:9_000]}))
    assert np.array_equal(all_at_once[5_000:9_000], later)
    shares = np.bincount(all_at_once, minlength=3) / len(ids)
    assert np.allclose(shares, [0.8, 0.1, 0.1], atol=0.012)
    other = assign_splits(
        spec_of({"by": "hash", "fractions": {"train": 0.8, "validation": 0.1, "test": 0.1}, "key": "1"}),
        pa.table({"_id": ids}),
    )
    assert 0.25 < float(np.mean(other != all_at_once)) < 0.45


def test_rest_of_fractions_is_in_no_split() -> None:
    codes = assign_splits(
        spec_of({"by": "hash", "fractions": {"train": 0.5}}), pa.table({"_id": raws(list(range(4_000)))})
    )
    assert 0.45 < float(np.mean(codes == -1)) < 0.55


def test_equal_numbers_of_other_types_share_a_group() -> None:
    spec = spec_of({"by": "hash", "group": "patient"})
    numbers = [int(value) for value in np.random.default_rng(0).integers(0, 2**40, 500)]
    documents = pa.table(
        {"_id": raws(list(range(1_000))), "_split": raws([*numbers, *[float(value) for value in numbers]])}
    )
    codes = assign_splits(spec, documents)
    assert np.array_equal(codes[:500], codes[500:])
    assert len(np.unique(codes)) == 3


def test_hash_sees_every_byte_and_ignores_the_layout() -> None:
    values = [b"a" * length for length in range(0, 270)] + [b"a" * 20 + b"b", b"b" + b"a" * 20]
    array = pa.array(values, pa.large_binary())
    hashes = hash_values(array, seed_of("k"))
    assert len(set(hashes.tolist())) == len(values)
    small = hash_values(pa.array(values, pa.binary()), seed_of("k"))
    sliced = hash_values(pa.array([b"?", *values], pa.large_binary())[1:], seed_of("k"))
    assert np.array_equal(hashes, small)
    assert np.array_equal(hashes, sliced)
    matrix = np.arange(24, dtype=np.uint8).reshape(2, 12)
    fixed = pa.array([row.tobytes() for row in matrix], pa.binary(12))
    assert np.array_equal(hash_rows(matrix, seed_of("k")), hash_values(fixed, seed_of("k")))


def test_time_splits_end_where_the_next_begins() -> None:
    spec = spec_of(
        {"by": "time", "field": "at", "until": {"train": "2024-01-01", "test": "2024-02-01", "later": None}}
    )
    moments = [
        datetime(2023, 12, 31, 23, 59, 59, 999_000, timezone.utc),
        datetime(2024, 1, 1, tzinfo=timezone.utc),
        datetime(2024, 2, 1, tzinfo=timezone.utc),
        datetime(1969, 1, 1, tzinfo=timezone.utc),
    ]
    documents = pa.table(
        {"_id": raws([0, 1, 2, 3]), "_split": pa.array(moments, pa.timestamp("ms", tz="UTC"))}
    )
    assert assign_splits(spec, documents).tolist() == [0, 1, 2, 0]


def test_field_splits_name_the_split() -> None:
    spec = spec_of({"by": "field", "field": "fold", "values": {"train": [1, 2, "a"], "test": [3]}})
    documents = pa.table({"_id": raws(list(range(6))), "_split": raws([1, 2.0, "a", 3, "3", None])})
    assert assign_splits(spec, documents).tolist() == [0, 0, 0, 1, -1, -1]
    assert split_names(spec) == ("train", "test")


@pytest.mark.parametrize(
    ("splits", "says"),
    [
        ({"by": "hash", "fractions": {"a": 0.8, "b": 0.3}}, "fractions overlap: they add up to 1.1"),
        ({"by": "hash", "fractions": {"a": 0}}, "above 0"),
        ({"by": "time", "field": "t", "until": {"a": "2024-01-01"}}, "must be null"),
        (
            {"by": "time", "field": "t", "until": {"a": "2024-02-01", "b": "2024-01-01", "c": None}},
            "is not after",
        ),
        ({"by": "field", "field": "f", "values": {"a": [1], "b": [1]}}, "splits overlap"),
    ],
)
def test_wrong_splits_are_refused(splits: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        spec_of(splits)
