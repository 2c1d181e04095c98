"""Fits are what their formulas say, and the torch module computes what the snapshot means."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from assets.columns.build import build_records
from assets.columns.snapshot import build_snapshot
from assets.columns.stats.summary import NumberSummary, Summary
from assets.columns.steps import apply_fitted, apply_fixed, fit_steps, space_name, spaces_of
from assets.spec.columns import NumberColumn
from loaders import ShardDataset
from loaders.errors import InvalidOption
from loaders.transforms import Transforms
from shards import Column, ShardStore
from tests.unit.columns.made import publish, spec_of

TRANSFORMS: list[list[Any]] = [
    ["standardize"],
    ["min_max"],
    ["robust"],
    ["log1p", "standardize"],
    [{"clip": [1, 50]}, "log1p", "robust"],
    ["impute", "standardize"],
    [{"impute": "median"}, {"clip": [0, 60]}, "min_max"],
    [{"impute": -1.5}],
    ["standardize", "min_max"],
    ["robust", "impute", "standardize"][:1],
]


def declared(transform: list[Any]) -> list[Any]:
    return NumberColumn(kind="number", path="x", transform=transform).transform


def by_hand(transform: list[Any], values: np.ndarray) -> np.ndarray:
    """Fit and apply each step on the values as they are when it is reached."""
    for step in declared(transform):
        known = values[~np.isnan(values)]
        if step == "standardize":
            values = (values - known.mean()) / known.std()
        elif step == "min_max":
            values = (values - known.min()) / (known.max() - known.min())
        elif step == "robust":
            low, middle, high = np.quantile(known, [0.25, 0.5, 0.75])
            values = (values - middle) / (high - low)
        elif step == "log1p" or hasattr(step, "clip"):
            values = apply_fixed([step], values)
        else:
            kind = "mean" if step == "impute" else step.impute
            fill = known.mean() if kind == "mean" else np.median(known) if kind == "median" else kind
            values = np.where(np.isnan(values), fill, values)
    return values


def summary_of(transform: list[Any], parts: list[np.ndarray]) -> Summary:
    total = Summary()
    for part in parts:
        known = part[~np.isnan(part)]
        spaces = {
            name: NumberSummary.of(apply_fixed(steps, known), True)
            for name, steps in spaces_of(declared(transform)).items()
        }
        total = total.merge(Summary(len(part), 0, 0, NumberSummary.of(known, True), spaces))
    return total


@pytest.mark.parametrize("transform", TRANSFORMS, ids=str)
def test_merged_fit_equals_the_fit_over_all_rows(transform: list[Any]) -> None:
    rng = np.random.default_rng(3)
    values = rng.gamma(2.0, 10.0, 20_000)
    if "impute" in str(transform[0]):
        values[rng.random(20_000) < 0.1] = np.nan
    parts = np.array_split(values, 13)
    steps = fit_steps(declared(transform), summary_of(transform, parts), scalar=True)
    once = fit_steps(declared(transform), summary_of(transform, [values]), scalar=True)
    quantiles = "robust" in transform or "median" in str(transform)
    first, second = apply_fitted(steps, values), apply_fitted(once, values)
    tolerance = 0.02 if quantiles else 1e-12
    assert np.allclose(first, second, rtol=tolerance, atol=tolerance * 10)
    imputes_first = "impute" in str(transform[0]) and len(transform) > 1
    expected = by_hand(transform, values)
    if imputes_first and "standardize" in transform:
        # missing values are left out of the fit of every step, so the scale is that of the known ones
        known = values[~np.isnan(values)]
        expected = (np.where(np.isnan(values), known.mean(), values) - known.mean()) / known.std()
    assert np.allclose(first, expected, rtol=tolerance, atol=max(tolerance, 1e-9))


def test_scale_of_a_constant_is_one() -> None:
    summary = Summary(3, 0, 0, NumberSummary.of(np.full(3, 7.0), True))
    for step in ("standardize", "min_max", "robust"):
        assert apply_fitted(fit_steps([step], summary, scalar=True), np.array([7.0, 8.0])).tolist() == [
            0.0,
            1.0,
        ]


def test_fit_of_no_train_rows_changes_nothing() -> None:
    summary = Summary(0, 0, 0, NumberSummary.empty(None, True))
    fitted = fit_steps(["impute", "standardize"], summary, scalar=True)
    assert apply_fitted(fitted, np.array([2.0, np.nan])).tolist() == [2.0, 0.0]


@pytest.mark.parametrize(
    ("transform", "says"),
    [
        (["standardize", "log1p"], "log1p must come before"),
        (["robust", {"clip": [0, 1]}], "clip must come before"),
        ([{"clip": [1, 1]}], "low < high"),
        (["log1p", "log1p"], "once"),
    ],
)
def test_wrong_transforms_are_refused(transform: list[Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        declared(transform)


def test_names_of_spaces_are_the_fixed_steps_before_a_fit() -> None:
    steps = declared([{"clip": [0, 10]}, "log1p", "standardize", "robust"])
    assert list(spaces_of(steps)) == ["clip(0,10) log1p"]
    assert space_name(steps[:1]) == "clip(0,10)"


def test_log1p_rejects_what_has_no_logarithm(store: ShardStore) -> None:
    spec = spec_of({"x": {"kind": "number", "transform": ["log1p", "standardize"]}})
    publish(store, spec, {"x": [0.5, -1.0, -2.0, 3.0]}, ids=[0, 1, 2, 3])
    build_records(spec, "all", store=store)
    version = store.latest("made", "records")
    assert version is not None
    rows = version.table("rejects").read().to_pylist()
    assert [(row["_id"], row["reason"]) for row in rows] == [("1", "out of range"), ("2", "out of range")]


def column(dtype: str, shape: tuple[int, ...] = (), **more: Any) -> Column:
    return Column("x", "npy", dtype=dtype, shape=shape, **more)


@pytest.mark.parametrize("transform", TRANSFORMS, ids=str)
@pytest.mark.parametrize("dtype", ["<f4", "<f8"])
def test_module_equals_the_fitted_steps(transform: list[Any], dtype: str) -> None:
    rng = np.random.default_rng(4)
    values = rng.gamma(2.0, 10.0, 500).astype(dtype)
    values[::7] = np.nan
    steps = fit_steps(declared(transform), summary_of(transform, [values.astype(np.float64)]), scalar=True)
    module = Transforms({"x": column(dtype)}, {"x": steps})
    batch = {"x": torch.from_numpy(values), "other": torch.arange(500)}
    done = module(batch)
    assert done["x"].dtype == torch.float32
    assert torch.equal(done["other"], batch["other"])
    assert np.allclose(
        done["x"].numpy(),
        apply_fitted(steps, values.astype(np.float64)),
        rtol=2e-5,
        atol=2e-5,
        equal_nan=True,
    )
    exported = torch.export.export(module, (batch,)).module()
    torch.testing.assert_close(exported(batch)["x"], done["x"], equal_nan=True, rtol=0, atol=0)


def test_module_one_hot_and_masks() -> None:
    steps = [{"op": "one_hot", "num_codes": 3}]
    module = Transforms({"x": column("<i4", kind="category", mask="x__present")}, {"x": steps})
    batch = {
        "x": torch.tensor([0, 2, -1, 1], dtype=torch.int32),
        "x__present": torch.tensor([True, True, True, False]),
    }
    assert module(batch)["x"].tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 0], [0, 0, 0]]
    impute = [{"op": "impute", "value": [9.0, 8.0]}]
    masked = Transforms({"x": column("<f4", (2,), mask="x__present")}, {"x": impute})
    rows = {"x": torch.tensor([[1.0, 2.0], [0.0, 0.0]]), "x__present": torch.tensor([True, False])}
    assert masked(rows)["x"].tolist() == [[1.0, 2.0], [9.0, 8.0]]
    stacked = column("<f4", (2,), mask="x__present", attributes={"element_mask": "x__elements"})
    rows["x__elements"] = torch.tensor([[True, True], [False, True]])
    assert Transforms({"x": stacked}, {"x": impute})(rows)["x"].tolist() == [[1.0, 2.0], [9.0, 0.0]]


@pytest.mark.parametrize(("shape", "axis"), [((3, 4, 5), 1), ((4, 5, 3), -1)])
def test_module_standardizes_channels(shape: tuple[int, ...], axis: int) -> None:
    pixels = torch.randint(0, 256, (2, *shape), dtype=torch.uint8)
    mean, std = [100.0, 110.0, 120.0], [10.0, 20.0, 30.0]
    steps = [{"op": "standardize", "mean": mean, "std": std, "axis": axis}]
    module = Transforms({"x": column("|u1", shape, kind="image")}, {"x": steps})
    view = [1, 3, 1, 1] if axis == 1 else [3]
    expected = (pixels.float() - torch.tensor(mean).view(view)) / torch.tensor(std).view(view)
    assert torch.equal(module({"x": pixels})["x"], expected)


def test_module_keeps_large_integers_apart() -> None:
    steps = [{"op": "standardize", "mean": 1.7e12, "std": 1000.0}]
    module = Transforms({"x": column("<i8")}, {"x": steps})
    done = module({"x": torch.tensor([1_700_000_000_000, 1_700_000_001_000])})
    assert done["x"].tolist() == [0.0, 1.0]


def test_module_refuses_unknown_steps_and_saves_its_fit() -> None:
    with pytest.raises(InvalidOption, match="'whiten' is not known"):
        Transforms({"x": column("<f4")}, {"x": [{"op": "whiten"}]})
    module = Transforms({"x": column("<f4")}, {"x": [{"op": "standardize", "mean": 1.0, "std": 2.0}]})
    other = Transforms({"x": column("<f4")}, {"x": [{"op": "standardize", "mean": 0.0, "std": 1.0}]})
    other.load_state_dict(module.state_dict())
    assert other({"x": torch.tensor([3.0])})["x"].tolist() == [1.0]


def test_baked_values_equal_what_the_module_gives(store: ShardStore) -> None:
    transform = ["impute", "log1p", "standardize"]
    spec = spec_of(
        {
            "baked": {"kind": "number", "path": "v", "missing": "mask", "transform": transform, "bake": True},
            "live": {"kind": "number", "path": "v", "missing": "mask", "transform": transform},
            "pair": {"kind": "vector", "path": "w", "length": 2, "transform": ["robust"], "bake": True},
            "wide": {
                "kind": "vector",
                "paths": ["v", "u"],
                "missing": "mask",
                "transform": ["standardize"],
                "bake": True,
            },
        }
    )
    values = [None if row % 5 == 0 else float(row) for row in range(400)]
    pairs = [[float(row), 3.0] for row in range(400)]
    documents = {"baked": values, "live": values, "pair": pairs, "wide__0": values, "wide__1": values[::-1]}
    publish(store, spec, documents)
    build_records(spec, "all", store=store)
    build_snapshot(spec, ["all"], store=store)
    snapshot = store.snapshot("made")
    module = Transforms.from_snapshot(snapshot)
    names = ("live", "live__present")
    live = module({name: torch.from_numpy(np.array(snapshot.column(name).read())) for name in names})["live"]
    assert snapshot.columns["baked"].attributes["baked"] is True
    assert np.allclose(snapshot.column("baked").read(), live.numpy(), atol=1e-6)
    assert snapshot.column("baked__present").read().tolist() == [value is not None for value in values]
    assert "baked" not in snapshot.transforms
    assert snapshot.column("wide__elements").read().shape == (400, 2)
    assert snapshot.column("wide").read()[0, 0] == 0.0
    assert abs(float(np.median(snapshot.column("pair").read()[:, 0]))) < 0.2


def test_loader_module_and_export_agree_on_every_fit(store: ShardStore, tmp_path: Path) -> None:
    """What a training batch holds, what a server computes, and what was exported are the same numbers."""
    columns: dict[str, Any] = {
        f"n{number}": {"kind": "number", "path": "n", "missing": "nan", "transform": transform}
        for number, transform in enumerate(TRANSFORMS)
    }
    columns["v"] = {"kind": "vector", "path": "v", "length": 2, "transform": ["robust", "min_max"]}
    columns["i"] = {
        "kind": "number",
        "path": "n",
        "missing": "mask",
        "transform": [{"impute": "median"}, "standardize"],
    }
    columns["c"] = {"kind": "category", "path": "c", "transform": ["one_hot"]}
    spec = spec_of(columns)
    rng = np.random.default_rng(6)
    values = rng.gamma(2.0, 10.0, 400)
    numbers = [None if row % 9 == 0 else value for row, value in enumerate(values.tolist())]
    documents: dict[str, Any] = {name: numbers for name in columns if name not in ("v", "c")}
    documents["v"] = rng.normal(3, 2, (400, 2)).tolist()
    documents["c"] = [f"class {row % 4}" for row in range(400)]
    publish(store, spec, documents)
    build_records(spec, "all", store=store)
    build_snapshot(spec, ["all"], store=store)
    snapshot = store.snapshot("made")
    train = snapshot.index("train")
    (batch,) = ShardDataset(tmp_path / "shards" / "made", "train").loader(
        len(train), shuffle=False, drop_last=False, device="cpu"
    )
    module = Transforms.from_snapshot(snapshot)
    stored = {
        name: torch.from_numpy(np.array(snapshot.column(name).read()[train])) for name in snapshot.columns
    }
    served = module(stored)
    exported = torch.export.export(module, (stored,)).module()(stored)
    assert set(module.names) == set(columns)
    for name in columns:
        torch.testing.assert_close(batch[name], served[name], rtol=0, atol=0, equal_nan=True)
        torch.testing.assert_close(exported[name], served[name], rtol=0, atol=0, equal_nan=True)
        if name not in ("i", "c"):
            steps: Any = snapshot.transforms[name]
            by_hand = apply_fitted(steps, stored[name].numpy().astype(np.float64))
            np.testing.assert_allclose(served[name].numpy(), by_hand, rtol=2e-5, atol=2e-5)
    assert served["c"].sum(dim=1).eq(1).all()
    assert not served["i"].isnan().any()
