"""What an iterator does when it is interrupted, replaced, closed, or has nothing to give."""

from __future__ import annotations

import itertools
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loaders import MixedDataset, ShardDataset, ShardLoader
from loaders.errors import InvalidOption, IteratorReplaced, StateMismatch
from shards import Column
from tests.unit.loaders import datasets

NUM_ROWS = 100


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("iterators")
    values = np.arange(NUM_ROWS)
    classes = {"odd": values % 2, "late": values // (NUM_ROWS // 2)}
    columns = {"x": (Column("x", "npy", "<i8"), values)}
    columns |= {name: (Column(name, "npy", "<i8"), found) for name, found in classes.items()}
    splits = {"train": range(NUM_ROWS), "low": range(10), "high": range(10, 20), "none": range(0)}
    return datasets.write(root, columns, splits)


def one_by_one(path: Path, gather: Callable[[Callable[[], Any]], Any], **options: Any) -> ShardLoader:
    """Make a loader whose batches are gathered one at a time, by `gather` around what really does."""
    dataset = ShardDataset(path, "train", columns=["x"])
    column = dataset.opened.columns["x"]
    really: Callable[..., Any] = column.gather
    column.gather = lambda rows, pool: gather(lambda: really(rows, pool))  # type: ignore[method-assign, assignment]
    loader = dataset.loader(20, **options)
    loader._feed.row_bytes = lambda: 1 << 40  # type: ignore[method-assign]
    return loader


def firsts(iterator: Iterator[Any], times: int) -> list[Any]:
    """The first sample of each batch, or what was raised instead."""
    found: list[Any] = []
    for _ in range(times):
        try:
            found.append(int(next(iterator)["x"][0]))
        except BaseException as error:
            found.append(type(error).__name__)
    return found


class Interrupted:
    """Gathers so that Ctrl-C comes in the middle of some jobs, while the loop waits for a batch."""

    def __init__(self, *jobs: int) -> None:
        self._jobs, self._numbers = jobs, itertools.count()
        self._is_waiting, self._came = False, threading.Event()

    def __call__(self, really: Callable[[], Any]) -> Any:
        if next(self._numbers) in self._jobs:
            if threading.current_thread() is threading.main_thread():
                raise KeyboardInterrupt
            self._came.clear()
            while not self._came.wait(0.02):
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGALRM)
        return really()

    def _handle(self, *_: Any) -> None:
        if self._is_waiting:
            self._came.set()
            raise KeyboardInterrupt

    def firsts(self, iterator: Iterator[Any]) -> list[Any]:
        """Go to the end, whatever is raised."""
        found: list[Any] = []
        before = signal.signal(signal.SIGALRM, self._handle)
        try:
            while found[-1:] != ["StopIteration"]:
                self._is_waiting = True
                found += firsts(iterator, 1)
                self._is_waiting = False
        finally:
            signal.signal(signal.SIGALRM, before)
        return found


@pytest.mark.parametrize("helped", [False, True])
@pytest.mark.parametrize(("num_threads", "prefetch"), [(0, 1), (1, 1), (1, 2), (3, 2)])
def test_what_interrupts_loses_no_batch(path, num_threads, prefetch, helped):
    gather = Interrupted(1, 4, 5)
    loader = one_by_one(path, gather, num_threads=num_threads, prefetch=prefetch)
    loader._feed.is_copying = helped
    found = gather.firsts(iter(loader))
    assert [each for each in found if each != "KeyboardInterrupt"] == [0, 20, 40, 60, 80, "StopIteration"]
    assert "KeyboardInterrupt" in found
    assert loader.place == (1, 0)


@pytest.mark.parametrize("num_threads", [0, 1])
def test_an_error_that_passes_skips_no_sample(path, num_threads):
    calls = itertools.count()

    def gather(really: Callable[[], Any]) -> Any:
        if next(calls) == 2:
            raise OSError("the disk is away")
        return really()

    iterator = iter(one_by_one(path, gather, num_threads=num_threads, infinite=True))
    found = firsts(iterator, 8)
    assert found.count("OSError") == 1
    assert [each for each in found if each != "OSError"] == [0, 20, 40, 60, 80, 0, 20]


def test_who_asks_a_replaced_iterator_is_told(path):
    loader = ShardDataset(path, "train").loader(10)
    with pytest.raises(IteratorReplaced, match="loader of its own"):
        list(zip(loader, loader, strict=True))
    outer = iter(loader)
    next(outer)
    loader.set_epoch(7)
    with pytest.raises(IteratorReplaced):
        next(outer)
    assert firsts(iter(loader), 1) == [0]
    assert loader.epoch == 7


@pytest.mark.parametrize("infinite", [False, True])
def test_a_closed_iterator_has_no_more_batches(path, infinite):
    loader = ShardDataset(path, "train").loader(10, infinite=infinite)
    iterator = iter(loader)
    next(iterator)
    iterator.close()
    assert firsts(iterator, 2) == ["StopIteration"] * 2
    assert firsts(iter(loader), 1) == [0]
    assert loader.epoch == 1
    assert firsts(iterator, 1) == ["StopIteration"]


def test_an_iterator_of_which_nothing_was_taken_uses_nothing_up(path):
    loader = ShardDataset(path, "train").loader(10)
    loader.load_state_dict(loader.state_dict() | {"epoch": 3, "position": 50})
    iter(loader)
    assert firsts(iter(loader), 1) == [50]
    assert loader.place == (3, 60)


@pytest.mark.parametrize("options", [{"split": "none"}, {"split": "low", "drop_last": True}])
def test_an_epoch_without_batches_counts(path, options):
    loader = ShardDataset(path, options["split"]).loader(16, drop_last=options.get("drop_last", False))
    for epoch in range(3):
        assert loader.epoch == epoch
        assert list(loader) == []
    assert list(ShardDataset(path, options["split"]).loader(16, drop_last=True, infinite=True)) == []


def test_an_infinite_loader_goes_on_where_too_little_is_left(path):
    train = ShardDataset(path, "train")
    saved = train.loader(5, drop_last=True, infinite=True)
    iterator = iter(saved)
    for _ in range(19):
        next(iterator)
    restored = train.loader(10, drop_last=True, infinite=True)
    restored.load_state_dict(saved.state_dict())
    assert firsts(iter(restored), 2) == [0, 10]
    assert restored.place == (1, 20)


@pytest.mark.parametrize("num_threads", [0, 1])
def test_stats_count_what_was_taken(path, num_threads):
    loader = ShardDataset(path, "train", columns=["x"]).loader(3, num_threads=num_threads)
    iterator = iter(loader)
    for taken in range(1, 21):
        next(iterator)
        stats = loader.stats()
        assert (stats.num_batches, stats.num_samples, stats.num_bytes) == (taken, 3 * taken, 24 * taken)
        assert (stats.epoch, stats.progress) == (0, 3 * taken / NUM_ROWS)
    assert str(stats).startswith("epoch 0 at 60 %, 20 batches")
    loader.stats(reset=True)
    assert loader.stats().num_batches == 0
    next(iterator)
    iterator.close()
    assert (loader.stats().num_batches, loader.stats().num_samples) == (1, 3)
    assert loader.stats().seconds == loader.stats().seconds > 0
    loader.stats(reset=True)
    assert sum(len(batch["x"]) for batch in loader) == NUM_ROWS == loader.stats().num_samples
    assert (loader.stats().epoch, loader.stats().progress) == (2, 0)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"weights": np.eye(NUM_ROWS)[0]}, {"weights": np.eye(NUM_ROWS)[2]}),
        ({"balance": "odd"}, {"balance": "late"}),
    ],
)
def test_a_state_of_another_draw_is_refused(path, one, other):
    train = ShardDataset(path, "train")
    state = train.loader(10, **one).state_dict()
    train.loader(10, **one).load_state_dict(state)
    with pytest.raises(StateMismatch):
        train.loader(10, **other).load_state_dict(state)


def test_a_state_of_another_split_is_refused(path):
    state = ShardDataset(path, "low").loader(5).state_dict()
    with pytest.raises(StateMismatch, match="part 'low' \\(here 'high'\\)"):
        ShardDataset(path, "high").loader(5).load_state_dict(state)


@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 2.5}, {"num_threads": 1.5}, {"num_threads": -1}, {"prefetch": 0},
        {"balance": "odd", "num_samples": 0}, {"weights": np.ones(NUM_ROWS), "num_samples": -3},
    ],
    ids=str,
)  # fmt: skip
def test_numbers_that_make_no_sense_are_refused(path, options):
    name, value = list(options.items())[-1]
    with pytest.raises(InvalidOption, match=f"{name}={value}; allowed: "):
        ShardDataset(path, "train").loader(**{"batch_size": 10} | options)


@pytest.mark.parametrize(("mix", "num_samples"), [("sample", 0), ("batch", 5)])
def test_a_mixture_has_a_batch_at_least(path, mix, num_samples):
    train = ShardDataset(path, "train")
    with pytest.raises(InvalidOption, match=f"num_samples={num_samples}; allowed: "):
        MixedDataset([train, train], mix=mix).loader(10, num_samples=num_samples)
