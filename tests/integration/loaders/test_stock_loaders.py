"""What torch has around a map-style dataset: the rows that come are those that were asked for."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.data import ConcatDataset, DataLoader, Subset, WeightedRandomSampler, random_split

from loaders import ShardDataset
from tests.unit.loaders import datasets

Made = tuple[Any, dict[str, Any], list[int]]
"""A dataset, options of a DataLoader, the rows that come."""


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> tuple[ShardDataset, ShardDataset, dict[str, Any]]:
    """Two splits of 60 rows in many shards, and their values."""
    path, values = datasets.mixed(tmp_path_factory.mktemp("stock"), 60, num_partitions=2, shard_bytes=1000)
    columns = ["image", "moment", "text"]
    train, test = (ShardDataset(path, split, columns=columns) for split in ("train", "test"))
    return train, test, values


def seeded() -> torch.Generator:
    """Draw alike in a sampler and in the test."""
    return torch.Generator().manual_seed(0)


def as_they_are(samples: Any) -> Any:
    """Collate nothing."""
    return samples


def pinned(train: ShardDataset, test: ShardDataset, values: dict[str, Any]) -> Made:
    return train, {"pin_memory": True}, values["train"].tolist()


def subset(train: ShardDataset, test: ShardDataset, values: dict[str, Any]) -> Made:
    chosen = [5, 40, 3, 3, 17]
    return Subset(train, chosen), {}, values["train"][chosen].tolist()


def half(train: ShardDataset, test: ShardDataset, values: dict[str, Any]) -> Made:
    part, _ = random_split(train, [0.5, 0.5], generator=seeded())  # type: ignore[arg-type]
    assert len(part) == 24
    return part, {}, values["train"][list(part.indices)].tolist()


def concatenated(train: ShardDataset, test: ShardDataset, values: dict[str, Any]) -> Made:
    return ConcatDataset([test, train]), {}, [*values["test"].tolist(), *values["train"].tolist()]


def weighted(train: ShardDataset, test: ShardDataset, values: dict[str, Any]) -> Made:
    weights = [float(number % 3 == 0) for number in range(len(train))]
    draw = lambda: WeightedRandomSampler(weights, 30, generator=seeded())  # noqa: E731
    drawn = list(draw())
    assert {number % 3 for number in drawn} == {0}
    return train, {"sampler": draw()}, values["train"][drawn].tolist()


def collated(train: ShardDataset, test: ShardDataset, values: dict[str, Any]) -> Made:
    return train, {"collate_fn": as_they_are}, values["train"].tolist()


def single(train: ShardDataset, test: ShardDataset, values: dict[str, Any]) -> Made:
    return train, {"batch_size": None, "sampler": [4, 2]}, values["train"][[4, 2]].tolist()


@pytest.mark.filterwarnings("ignore:'pin_memory' argument is set as true but no accelerator:UserWarning")
@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("make", [pinned, subset, half, concatenated, weighted, collated, single])
def test_rows_come_as_asked(parts: Any, make: Any, num_workers: int) -> None:
    dataset, options, wanted = make(*parts)
    values = parts[2]
    options = {"batch_size": 7, "timeout": 120 if num_workers else 0, **options}
    rows: list[int] = []
    for batch in DataLoader(dataset, num_workers=num_workers, **options):
        for image, moment, text in samples(batch):
            rows.append(int(moment) // 1000)
            assert text == values["text"][rows[-1]]
            assert image.tolist() == values["image"][rows[-1]].tolist()
    assert rows == wanted


def samples(batch: Any) -> list[Any]:
    """Give the values of each sample: of a batch, of a list of samples, of a single one."""
    if isinstance(batch, dict):
        return list(zip(*batch.values(), strict=True)) if batch["moment"].dim() else [batch.values()]
    return [sample.values() for sample in batch]
