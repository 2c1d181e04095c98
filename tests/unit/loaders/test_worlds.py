"""One order for any number of processes, also where samples are drawn or datasets mixed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from loaders import MixedDataset, ShardDataset, ShardLoader
from loaders.testing import check_world_sizes
from shards import Column
from tests.unit.loaders import datasets

WORLDS = (1, 2, 3, 5)

Make = Callable[[int, int], ShardLoader]


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two datasets whose rows have numbers of their own."""
    found = []
    for number, size in enumerate((80, 47)):
        values = np.arange(size) + 1000 * number
        columns = {"x": (Column("x", "npy", "<i8"), values)}
        columns["odd"] = (Column("odd", "npy", "<i8"), values % 2)
        root = tmp_path_factory.mktemp(f"worlds{number}")
        found.append(datasets.write(root, columns, {"train": range(size)}))
    return found


@pytest.fixture(params=["full", "block", "weights", "balance", "sample", "batch"])
def make(request: pytest.FixtureRequest, paths: list[Path]) -> Make:
    train = ShardDataset(paths[0])
    mixed = MixedDataset(
        [train, ShardDataset(paths[1])], mix="batch" if request.param == "batch" else "sample"
    )
    loaders: dict[str, Make] = {
        "full": lambda rank, world: train.loader(4, shuffle=True, rank=rank, world_size=world),
        "block": lambda rank, world: train.loader(
            4, shuffle="block", block_samples=8, rank=rank, world_size=world
        ),
        "weights": lambda rank, world: train.loader(
            4, weights=np.arange(80), num_samples=111, rank=rank, world_size=world
        ),
        "balance": lambda rank, world: train.loader(
            4, balance="odd", num_samples=111, rank=rank, world_size=world
        ),
    }
    return loaders.get(
        request.param,
        lambda rank, world: mixed.loader(10, num_samples=170, rank=rank, world_size=world),
    )


def rows(batch: dict) -> list[int]:  # type: ignore[type-arg]
    return batch["x"].tolist()  # type: ignore[no-any-return]


def test_the_order_is_that_of_one_process(make):
    order = check_world_sizes(make, WORLDS, rows)
    for world in WORLDS:
        ranks = [list(make(rank, world)) for rank in range(world)]
        found = [row for step in zip(*ranks, strict=True) for batch in step for row in rows(batch)]
        assert found[: len(order)] == order  # what is left over may be given twice
        assert set(found) == set(order)


def test_a_state_goes_on_in_a_world_of_another_size(make):
    whole = [row for batch in make(0, 1) for row in rows(batch)]
    saved = [make(rank, 2) for rank in range(2)]
    given = [row for batch in _steps(saved, 3) for row in rows(batch)]
    assert saved[0].state_dict() == saved[1].state_dict()
    for world in WORLDS:
        restored = [make(rank, world) for rank in range(world)]
        for loader in restored:
            loader.load_state_dict(saved[0].state_dict())
        rest = [row for step in zip(*restored, strict=True) for batch in step for row in rows(batch)]
        assert (given + rest)[: len(whole)] == whole


def _steps(loaders: list[ShardLoader], num_steps: int) -> list[dict]:  # type: ignore[type-arg]
    iterators = [iter(loader) for loader in loaders]
    return [next(iterator) for _ in range(num_steps) for iterator in iterators]
