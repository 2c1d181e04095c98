"""The iterable style: the same batches with any number of worker processes, epoch after epoch."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch.utils.data import DataLoader
from torchdata.stateful_dataloader import StatefulDataLoader

from loaders import ShardDataset, ShardIterableDataset
from shards import Column
from tests.unit.loaders import datasets

NUM_ROWS = 95

pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory) -> ShardDataset:
    columns = {"x": (Column("x", "npy", "<i8"), np.arange(NUM_ROWS))}
    path: Path = datasets.write(tmp_path_factory.mktemp("iterable"), columns, {"train": range(NUM_ROWS)})
    return ShardDataset(path)


def rows(batches: Any) -> list[list[int]]:
    return [batch["x"].tolist() for batch in batches]


def expected(train: ShardDataset, epoch: int, **options: Any) -> list[list[int]]:
    loader = train.loader(10, shuffle=True, seed=1, **options)
    loader.set_epoch(epoch)
    return rows(loader)


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("num_workers", [0, 2, 7])
def test_workers_give_what_one_process_gives(train, num_workers, drop_last):
    for rank in range(2):
        options = {"drop_last": drop_last, "rank": rank, "world_size": 2}
        found = ShardIterableDataset(train, 10, shuffle=True, seed=1, **options)
        loader = DataLoader(found, batch_size=None, num_workers=num_workers)
        assert rows(loader) == expected(train, 0, **options)
        assert len(loader) == len(found) == (4 if drop_last else 5)


def test_an_epoch_is_chosen_for_new_workers_and_for_those_that_stay(train):
    for stay in (False, True):
        found = ShardIterableDataset(train, 10, shuffle=True, seed=1)
        loader = DataLoader(found, batch_size=None, num_workers=2, persistent_workers=stay)
        for epoch in (0, 5, 3):
            found.set_epoch(epoch)
            assert rows(loader) == expected(train, epoch)
        if stay:
            assert rows(loader) == expected(train, 4)


def test_new_workers_that_begin_the_same_epoch_again_say_so(train, capfd):
    found = ShardIterableDataset(train, 10, shuffle=True, seed=1)
    loader = DataLoader(found, batch_size=None, num_workers=2, worker_init_fn=_show_warnings)
    in_order = DataLoader(
        ShardIterableDataset(train, 10), batch_size=None, num_workers=2, worker_init_fn=_show_warnings
    )
    assert rows(loader) == expected(train, 0)
    assert rows(in_order) == rows(in_order)
    assert capfd.readouterr().err == ""
    assert rows(loader) == expected(train, 0)
    assert capfd.readouterr().err.count("begin epoch 0 once more, in the same order; call set_epoch") == 1
    found.set_epoch(1)
    assert rows(loader) == expected(train, 1)
    assert capfd.readouterr().err == ""


def _show_warnings(_: int) -> None:
    warnings.simplefilter("always")
    warnings.showwarning = lambda message, *_, **__: _say(f"{message}")


def _say(text: str) -> None:
    os.write(2, text.encode())


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_loaded_place_is_where_workers_begin(train, num_workers):
    saved = train.loader(10, shuffle=True, seed=1)
    saved.set_epoch(2)
    iterator = iter(saved)
    for _ in range(4):
        next(iterator)
    found = ShardIterableDataset(train, 10, shuffle=True, seed=1)
    found.load_state_dict(saved.state_dict())
    assert rows(DataLoader(found, batch_size=None, num_workers=num_workers)) == expected(train, 2)[4:]


@pytest.mark.filterwarnings("ignore:'set_vital' is deprecated:UserWarning")
@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_stateful_loader_resumes_at_every_batch(train, num_workers):
    def make() -> StatefulDataLoader:
        found = ShardIterableDataset(train, 10, shuffle=True, seed=1)
        return StatefulDataLoader(found, batch_size=None, num_workers=num_workers)

    whole, saved = expected(train, 0), make()
    iterator = iter(saved)
    for step in range(0, len(whole), 3):
        state, restored = saved.state_dict(), make()
        restored.load_state_dict(state)
        assert rows(restored) == whole[step:]
        assert rows(next(iterator) for _ in range(min(3, len(whole) - step))) == whole[step : step + 3]
