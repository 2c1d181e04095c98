"""Fits and statistics are those of the rows that a snapshot keeps, whatever was dropped."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from assets.columns.build import build_records
from assets.columns.pins import pin_latest
from assets.columns.recount import statistics_of
from assets.columns.snapshot import build_snapshot
from assets.columns.stats.histogram import Histogram
from assets.columns.stats.summary import Summary
from assets.spec import DatasetSpec
from shards import Column, ShardStore, Snapshot
from tests.unit.columns.made import publish, spec_of

COLUMNS = {
    "x": {"kind": "number", "dtype": "float64", "transform": ["standardize"]},
    "y": {"kind": "number", "missing": "mask", "transform": ["impute", "log1p", "min_max"]},
    "v": {"kind": "vector", "length": 3, "transform": ["standardize"], "bake": True},
    "c": {"kind": "category", "minimum_count": 3},
    "d": {"kind": "category", "values": ["low", "high"]},
    "picture": {"kind": "image", "size": [2, 2], "transform": ["standardize"]},
}
NUM_ROWS = 3_000


def made(store: ShardStore, num_partitions: int, seed: int) -> Snapshot:
    """Make a snapshot of rows of which a tenth repeat others, are rejected, or have a broken picture."""
    spec = spec_of(COLUMNS, dedup={"fields": ["key"]}, name=f"in_{num_partitions}")
    rng = np.random.default_rng(seed)
    broken = rng.random(NUM_ROWS) < 0.1
    pixels = rng.integers(0, 256, (NUM_ROWS, 2, 2, 3), np.uint8)
    values: dict[str, list[Any]] = {
        "x": rng.normal(1e6, 1, NUM_ROWS).tolist(),
        "y": [None if row % 11 == 0 else float(row % 97) for row in range(NUM_ROWS)],
        "v": rng.normal(5, 2, (NUM_ROWS, 3)).tolist(),
        "c": [f"value {int(number)}" for number in rng.exponential(4, NUM_ROWS)],
        "d": np.where(rng.random(NUM_ROWS) < 0.1, "neither", "low").tolist(),
        "_dedup_0": rng.integers(0, 9 * NUM_ROWS, NUM_ROWS).tolist(),
    }
    # What is dropped lies far outside, so that one row too many in a fit would show.
    values["x"] = np.where(broken, 1e9, values["x"]).tolist()
    names = [f"p{number:02}" for number in range(num_partitions)]
    for name, rows in zip(names, np.array_split(np.arange(NUM_ROWS), num_partitions), strict=True):
        part = {field: [column[row] for row in rows] for field, column in values.items()}
        publish(store, spec, part, name, ids=[f"row {row}" for row in rows], batch_rows=200)
        build_records(spec, name, store=store)
        publish_pictures(store, spec, name, pixels[rows], ~broken[rows])
    build_snapshot(spec, names, store=store)
    return store.snapshot(spec.name)


def publish_pictures(
    store: ShardStore, spec: DatasetSpec, partition: str, pixels: npt.NDArray[np.uint8], usable: Any
) -> None:
    """Publish pictures as the `images` asset does: with sums, and statistics over usable train rows."""
    documents = store.latest(spec.name, "documents", partition)
    records = store.latest(spec.name, "records", partition)
    assert documents is not None
    assert records is not None
    wide = pixels.reshape(len(pixels), 4, 3).astype(np.uint64)
    sums = np.concatenate([np.full((len(wide), 1), 4), wide.sum(axis=1), (wide**2).sum(axis=1)], axis=1)
    train = usable & (records.table("rows").read()["split"].to_numpy() == 0)
    totals = sums[train].sum(axis=0).tolist()
    with store.begin(spec.name, "images", partition) as attempt:
        attempt.column(Column("picture", "npy", dtype="|u1", shape=(2, 2, 3), kind="image")).append(pixels)
        column = Column("picture__sums", "npy", dtype="<u8", shape=(7,), kind="vector")
        attempt.column(column).append(sums.astype("<u8"))
        attempt.validity(usable)
        attempt.commit(
            inputs={"documents": documents.number},
            statistics={
                "picture": {"train": {"num_pixels": totals[0], "sum": totals[1:4], "sum_squares": totals[4:]}}
            },
        )


def train_summary(snapshot: Snapshot, name: str) -> Summary:
    statistics: Any = snapshot.statistics
    return Summary.from_json(statistics[name]["train"])


@pytest.mark.parametrize("num_partitions", [1, 7])
def test_fits_are_those_of_the_train_rows_of_the_snapshot(store: ShardStore, num_partitions: int) -> None:
    snapshot = made(store, num_partitions, seed=num_partitions)
    train = snapshot.index("train")
    kept = np.concatenate([snapshot.index(name) for name in snapshot.splits])
    metadata: Any = snapshot.metadata
    assert metadata["duplicates"]["rows"] > 50
    assert metadata["invalid_rows"] > 300
    assert len(kept) + metadata["duplicates"]["rows"] + metadata["invalid_rows"] == NUM_ROWS

    x = np.longdouble(snapshot.column("x").read()[train])
    step = snapshot.transforms["x"][0]
    assert abs(step["mean"] / float(x.mean()) - 1) <= 1e-12
    assert abs(step["std"] / float(x.std()) - 1) <= 1e-12
    summary = train_summary(snapshot, "x")
    assert summary.rows == len(train)
    assert summary.values is not None
    assert summary.values.histogram is not None
    whole = Histogram.of_sorted(np.sort(x.astype(np.float64)))
    assert summary.values.histogram.to_json() == whole.to_json()
    assert summary.values.moments.maximum[0] < 2e6

    present = snapshot.column("y__present").read()[train]
    y = snapshot.column("y").read()[train][present].astype(np.float64)
    impute, _, scale = snapshot.transforms["y"]
    assert abs(impute["value"] / y.mean() - 1) <= 1e-12
    assert (scale["low"], scale["high"]) == (np.log1p(y.min()), np.log1p(y.max()))
    assert train_summary(snapshot, "y").missing == np.count_nonzero(~present)

    baked = snapshot.column("v").read()[train].astype(np.float64)
    assert np.abs(baked.mean(axis=0)).max() < 1e-6
    assert np.abs(baked.std(axis=0) - 1).max() < 1e-6

    vocabulary = snapshot.vocabulary("c").to_pylist()
    codes = snapshot.column("c").read()[train]
    counts = train_summary(snapshot, "c").counts
    assert counts is not None
    for code, value in enumerate(vocabulary[1:], 1):
        assert counts.counts[value] == np.count_nonzero(codes == code) >= 3
    assert all(count < 3 for value, count in counts.counts.items() if value not in vocabulary)
    declared = train_summary(snapshot, "d").counts
    assert declared is not None
    assert declared.counts == {"low": len(train)}

    pixels = snapshot.column("picture").read()[train].astype(np.float64)
    channels = snapshot.transforms["picture"][0]
    np.testing.assert_allclose(channels["mean"], pixels.mean(axis=(0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(channels["std"], pixels.std(axis=(0, 1, 2)), rtol=1e-12)
    rest = np.setdiff1d(kept, train)
    statistics: Any = snapshot.statistics
    assert Summary.from_json(statistics["x"]["rest"]).rows == len(rest)


def test_the_fit_does_not_depend_on_partitions(store: ShardStore) -> None:
    once, often = made(store, 1, seed=5), made(store, 9, seed=5)
    assert once.index("train").tolist() == often.index("train").tolist()
    assert once.vocabulary("c").equals(often.vocabulary("c"))
    for name, steps in once.transforms.items():
        for first, second in zip(steps, often.transforms[name], strict=True):
            assert first.keys() == second.keys()
            for key in first.keys() - {"op"}:
                np.testing.assert_allclose(first[key], second[key], rtol=1e-12)


def test_statistics_stand_where_nothing_counted_is_dropped(store: ShardStore) -> None:
    spec = spec_of({"x": {"kind": "number", "transform": ["standardize"]}}, dedup={"fields": ["key"]})
    publish(store, spec, {"x": [1.0, 2.0, 4.0], "_dedup_0": [1, 2, 3]}, ids=[1, 2, 3])
    build_records(spec, "all", store=store)
    (one,) = pin_latest(spec, ["all"], store)
    assert one.records is not None
    everything, nothing = np.ones(3, np.bool_), np.zeros(3, np.bool_)
    assert statistics_of(spec, one, everything, nothing) is one.records.statistics
    fewer: Any = statistics_of(spec, one, np.array([True, False, True]), nothing)
    assert fewer["x"]["train"]["values"]["mean"] == [2.5]
    assert fewer["x"]["rest"]["rows"] == 0


def test_a_row_that_repeats_only_what_is_rejected_is_kept(store: ShardStore) -> None:
    spec = spec_of(
        {
            "c": {"kind": "category", "minimum_count": 5, "unknown": "reject"},
            "x": {"kind": "number", "dtype": "float64", "transform": ["min_max"]},
        },
        dedup={"fields": ["key"]},
        splits={"by": "hash", "fractions": {"train": 1.0}},
    )
    values = {
        "c": ["rare", *["often"] * 10],
        "x": [-100.0, *map(float, range(10))],
        "_dedup_0": [0, *range(10)],
    }
    publish(store, spec, values, ids=list(range(11)))
    build_records(spec, "all", store=store)
    build_snapshot(spec, ["all"], store=store)
    snapshot = store.snapshot("made")
    assert snapshot.index("train").tolist() == list(range(1, 11))
    assert snapshot.transforms["x"][0] == {"op": "min_max", "low": 0.0, "high": 9.0}
    assert snapshot.metadata["invalid_rows"] == 1
    assert snapshot.metadata["duplicates"]["rows"] == 0  # type: ignore[index,call-overload]
