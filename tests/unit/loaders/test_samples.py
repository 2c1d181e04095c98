"""Numbers of samples, and samples that were gathered together."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from loaders import InvalidOption, ShardDataset
from loaders.testing import equal

Everything = tuple[Path, dict[str, Any]]


def keep(batch: dict[str, Any]) -> dict[str, Any]:
    """Change nothing."""
    return batch


@pytest.mark.parametrize("number", [3, np.int32(3), np.uint64(3), np.array(3), torch.tensor(3), -77])
def test_one_number(everything: Everything, number: Any) -> None:
    test = ShardDataset(everything[0], "test", columns=["moment"])
    assert len(test) == 80 + 20
    assert int(test[number]["moment"]) == 15_000 + 5000 * (20 if number == -77 else 0)


@pytest.mark.parametrize(
    "number", [2.7, 3.0, "3", True, np.True_, torch.tensor(True), None, [1, 2], np.array([1]), 1 << 80]
)
def test_what_is_no_number(everything: Everything, number: Any) -> None:
    with pytest.raises(InvalidOption, match="allowed: an integer or a slice; next: batch"):
        ShardDataset(everything[0], "test", columns=["moment"])[number]


def moments(dataset: ShardDataset, samples: Any) -> list[list[int]]:
    """Ask for samples in every way that takes several."""
    return [
        dataset.batch(samples)["moment"].tolist(),
        dataset.__getitems__(samples).collated()["moment"].tolist(),
        dataset.to_numpy(samples)["moment"].tolist(),
        dataset.to_arrow(samples)["moment"].cast("int64").to_pylist(),
    ]


def test_many_numbers(everything: Everything) -> None:
    test = ShardDataset(everything[0], "test", columns=["moment"])
    mask = np.zeros(len(test), np.bool_)
    mask[[7, 5]] = True
    for samples, found in (
        ([7, 5, 7], [7, 5, 7]),
        (range(4), range(4)),
        (np.array([5, 2], np.uint8), [5, 2]),
        (torch.tensor([9, 0]), [9, 0]),
        ([torch.tensor(9), np.int64(0)], [9, 0]),
        ([], []),
        (mask, [5, 7]),
        (mask.tolist(), [5, 7]),
        (torch.from_numpy(mask), [5, 7]),
    ):
        assert moments(test, samples) == [[5000 * number for number in found]] * 4


@pytest.mark.parametrize(
    "samples", [[0.7, 1.9], 5, "5", ["5"], [[1, 2]], [True, False], np.zeros(0, np.bool_), None]
)
def test_what_are_no_numbers(everything: Everything, samples: Any) -> None:
    test = ShardDataset(everything[0], "test", columns=["moment"])
    wanting = [test.batch, test.__getitems__]
    if samples is not None:  # all of them
        wanting += [test.to_numpy, test.to_arrow]
    for want in wanting:
        with pytest.raises(
            InvalidOption, match=r"allowed: one list of integers, or a mask of shape \(100,\)"
        ):
            want(samples)


@pytest.mark.parametrize("samples", [[-1], [0, 100], np.array([1 << 63], np.uint64)])
def test_numbers_of_no_sample(everything: Everything, samples: Any) -> None:
    test = ShardDataset(everything[0], "test", columns=["moment"])
    for want in (test.batch, test.__getitems__, test.to_numpy, test.to_arrow):
        with pytest.raises(IndexError, match="allowed: 0 to 99"):
            want(samples)


@pytest.mark.parametrize("transform", [None, keep])
def test_samples_travel(everything: Everything, transform: Any) -> None:
    """A collate function may hand them on from a worker, which pickles them."""
    dataset = ShardDataset(everything[0], "test", columns=["image", "text"], transform=transform)
    samples = dataset.__getitems__([3, 1])
    for other in (pickle.loads(pickle.dumps(samples)), copy.deepcopy(samples)):
        assert equal(other, [dataset[3], dataset[1]])


def test_a_single_sample_that_went_through_a_transform(everything: Everything) -> None:
    path, values = everything
    for ragged in ("padded", "nested", "flat"):
        test = ShardDataset(path, "test", columns=["tokens"], ragged=ragged, transform=keep)  # type: ignore[arg-type]
        for number in range(20):
            assert test[number]["tokens"].tolist() == values["tokens"][values["test"][number]]
    assert list(test[0]) == ["tokens"]


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        (lambda batch: (batch["label"], batch["age"]), "gave a tuple; allowed: a dict of values whose first"),
        (lambda batch: None, "gave a NoneType; allowed: a dict"),
        (
            lambda batch: batch | {"share": 0.5},
            "gave 'share', a float that has no first row; allowed",
        ),
        (lambda batch: {"a": {"b": torch.tensor(1.0)}}, r"gave 'a\.b', a Tensor that has no first row"),
    ],
)
def test_transforms_that_leave_no_sample(everything: Everything, transform: Any, message: str) -> None:
    test = ShardDataset(everything[0], "test", columns=["label", "age"], transform=transform)
    with pytest.raises(InvalidOption, match=message):
        test[0]


def test_draws(everything: Everything) -> None:
    test = ShardDataset(everything[0], "test", columns=["moment"])
    assert equal(test.sample(np.int64(3), seed=2), test.sample(3, seed=2))  # type: ignore[arg-type]
    for wrong, message in ((2.5, r"num_samples=2\.5; allowed: an integer"), (-1, "allowed: 0 or more")):
        with pytest.raises(InvalidOption, match=message):
            test.sample(wrong)  # type: ignore[arg-type]
