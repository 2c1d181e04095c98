"""ShardLoader and its relatives: every sample once, exact resume at every step, stock loaders around them."""

from __future__ import annotations

import gc
import multiprocessing
import os
import pickle
import threading
import time
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from loaders import (
    DoesNotFit,
    InvalidOption,
    MixedDataset,
    ShardDataset,
    ShardIterableDataset,
    StateMismatch,
    cache,
)
from loaders.testing import check_resume, check_world_sizes, equal
from shards import Column
from tests.unit.loaders import datasets


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of 300 rows in many shards, 240 of them for training."""
    return datasets.mixed(tmp_path_factory.mktemp("loader"), 300, num_partitions=2, shard_bytes=3000)[0]


def moments(batch: dict[str, Any]) -> list[int]:
    """Name the samples of a batch."""
    found: list[int] = batch["moment"].tolist()
    return found


@pytest.mark.parametrize("shuffle", [False, True, "full", "block"])
@pytest.mark.parametrize("num_threads", [0, 1, 3])
def test_every_sample_once(path: Path, shuffle: Any, num_threads: int) -> None:
    train = ShardDataset(path, "train")
    loader = train.loader(32, shuffle=shuffle, num_threads=num_threads, block_samples=16)
    epochs = [[row for batch in loader for row in moments(batch)] for _ in range(2)]
    assert len(loader) == 8
    assert sorted(epochs[0]) == sorted(epochs[1]) == moments(train[:])
    assert (epochs[0] == epochs[1]) == (shuffle is False)
    same = train.loader(32, shuffle=shuffle, num_threads=2, block_samples=16)
    assert [row for batch in same for row in moments(batch)] == epochs[0]


@pytest.mark.parametrize(
    "options",
    [
        {"shuffle": False},
        {"shuffle": True},
        {"shuffle": "block", "block_samples": 16},
        {"weights": np.arange(240)},
        {"balance": "label", "num_samples": 100},
        {"shuffle": True, "drop_last": True},
        {"shuffle": True, "rank": 1, "world_size": 3},
    ],
    ids=lambda options: " ".join(options),
)
def test_resumes_at_every_step(path: Path, options: dict[str, Any]) -> None:
    train = ShardDataset(path, "train")
    checked = check_resume(
        lambda: train.loader(17, seed=3, num_threads=2, **options),
        other=lambda: train.loader(17, seed=3, num_threads=0, prefetch=1, **options),
    )
    assert checked == len(train.loader(17, **options))


def test_a_first_batch_maps_few_shards(tmp_path: Path) -> None:
    """Also of narrow columns, gathered for many batches, and of wide ones, whose pages are asked for."""
    columns = {
        "wide": (Column("wide", "npy", "|u1", (5000,)), np.zeros((120, 5000), np.uint8)),
        "narrow": (Column("narrow", "npy", "|u1"), np.arange(120, dtype=np.uint8)),
    }
    path = datasets.write(tmp_path, columns, {"train": range(120)}, num_partitions=30)
    train = ShardDataset(path, "train", lease_seconds=None)
    batches = iter(train.loader(2, shuffle=True, num_threads=0))
    assert next(batches)["narrow"].shape == (2,)
    mapped = {name: len(column._open.arrays) for name, column in train.opened.columns.items()}
    assert 0 < mapped["narrow"] <= 4  # pages of one batch more were asked for
    assert 0 < mapped["wide"] <= 4
    assert sorted(row for batch in train.loader(2, shuffle=True) for row in batch["narrow"].tolist()) == list(
        range(120)
    )


def test_resumes_across_epochs(path: Path) -> None:
    train = ShardDataset(path, "train", columns=["moment"])
    make = lambda: train.loader(50, shuffle=True, infinite=True)  # noqa: E731
    assert check_resume(make, num_steps=13, follow=7) == 13
    with pytest.raises(TypeError, match="no length"):
        len(make())
    loader = train.loader(50, shuffle=True)
    first, second = list(loader), list(loader)
    for number, _batch in enumerate(loader):  # left in the middle of the third epoch
        if number == 2:
            break
    state = loader.state_dict()
    assert (state["epoch"], state["position"]) == (2, 150)
    assert not equal(first, second)
    loader.set_epoch(1)
    assert equal(list(loader), second)
    assert loader.epoch == 2


@pytest.mark.parametrize("shuffle", [False, True, "block"])
def test_one_order_for_any_world(path: Path, shuffle: Any) -> None:
    train = ShardDataset(path, "train", columns=["moment"])
    order = check_world_sizes(
        lambda rank, world_size: train.loader(
            16, shuffle=shuffle, block_samples=16, rank=rank, world_size=world_size, num_threads=1
        ),
        [1, 2, 3, 5],
        moments,
    )
    assert sorted(order) == moments(train[:])


def test_resumes_with_another_world_size_and_batch_size(path: Path) -> None:
    train = ShardDataset(path, "train", columns=["moment"])
    whole = [row for batch in train.loader(240, shuffle=True) for row in moments(batch)]
    ranks = [train.loader(16, shuffle=True, rank=rank, world_size=4) for rank in range(4)]
    pairs = [zip(range(2), rank, strict=False) for rank in ranks]
    seen = [moments(batch) for rank in pairs for _, batch in rank]
    states = [rank.state_dict() for rank in ranks]
    assert all(state == states[0] for state in states)
    after = [train.loader(10, shuffle=True, rank=rank, world_size=3) for rank in range(3)]
    for loader in after:
        loader.load_state_dict(states[0])
    rest = [[moments(batch) for batch in loader] for loader in after]
    left = [row for step in zip(*rest, strict=True) for batch in step for row in batch]
    assert sorted(row for batch in seen for row in batch) == sorted(whole[:128])
    assert left == whole[128:]


def test_states_of_others_are_refused(path: Path) -> None:
    train = ShardDataset(path, "train", columns=["moment"])
    state = train.loader(16, shuffle=True, seed=1).state_dict()
    for other in (
        train.loader(16, shuffle=True, seed=2),
        train.loader(16),
        ShardDataset(path, "test", columns=["moment"]).loader(16, shuffle=True, seed=1),
    ):
        with pytest.raises(StateMismatch, match="the state was saved with"):
            other.load_state_dict(state)
    with pytest.raises(StateMismatch, match="version 7; allowed: 1"):
        train.loader(16).load_state_dict({"version": 7})


def test_wrong_options(path: Path) -> None:
    train = ShardDataset(path, "train")
    for options, message in (
        ({"batch_size": 0}, "batch_size=0"),
        ({"batch_size": 2.0}, r"batch_size=2\.0; allowed: an integer"),
        ({"batch_size": True}, "batch_size=True; allowed: an integer"),
        ({"seed": "a"}, "seed='a'; allowed: an integer"),
        ({"balance": "label", "num_samples": 1.5}, r"num_samples=1\.5; allowed: an integer"),
        ({"shuffle": "block", "block_samples": 2.5}, r"block_samples=2\.5; allowed: an integer"),
        ({"shuffle": "some"}, "allowed: True, False, 'full', 'block'"),
        ({"num_threads": -1}, "num_threads=-1"),
        ({"prefetch": 0}, "prefetch=0"),
        ({"rank": 2, "world_size": 2}, "allowed: 0 <= rank < world_size"),
        ({"rank": 0}, "allowed: both or neither"),
        ({"weights": [1.0]}, r"allowed: \(240,\), one for every sample"),
        ({"weights": [1.0] * 240, "balance": "label"}, "allowed: one of them"),
        ({"weights": 1.0}, r"shape \(\); allowed: \(240,\), one for every sample"),
        ({"balance": "age"}, "a column of <f4; allowed: one integer a row"),
        ({"balance": "text"}, "a column of large_string; allowed: one integer a row"),
        ({"num_samples": 5}, "without weights or balance"),
        ({"layout": "nchw"}, "allowed: stored, chw"),
        ({"device": "meta"}, "allowed: cpu, cuda"),
    ):
        with pytest.raises(InvalidOption, match=message):
            train.loader(**({"batch_size": 4} | options))


def test_layouts_and_casts(path: Path) -> None:
    train = ShardDataset(path, "train", columns=["image", "label"])
    stored = next(iter(train.loader(8)))
    turned = next(iter(train.loader(8, layout="chw", dtypes={"image": torch.float16, "label": torch.int32})))
    assert stored["image"].shape == (8, 8, 8, 3)
    assert stored["image"].dtype == torch.uint8
    assert turned["image"].dtype == torch.float16
    assert turned["label"].dtype == torch.int32
    assert torch.equal(turned["image"], stored["image"].permute(0, 3, 1, 2).half())
    assert turned["image"].is_contiguous(memory_format=torch.channels_last)
    dense = next(iter(train.loader(8, layout="chw", memory_format=torch.contiguous_format)))
    assert dense["image"].is_contiguous()
    done = next(iter(train.loader(8, transform=lambda batch: {"n": batch["label"] + 1})))
    assert torch.equal(done["n"], stored["label"] + 1)


def test_cache_gives_the_same(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train = ShardDataset(path, "train")
    plain = train.loader(32, shuffle=True, drop_last=True)
    held = train.loader(32, shuffle=True, drop_last=True, device_cache=True)
    assert equal(list(plain), list(held))
    monkeypatch.setattr(cache, "free_bytes", lambda device: 1000)
    with pytest.raises(DoesNotFit, match="choose fewer columns"):
        train.loader(32, device_cache=True)


def test_stats(path: Path) -> None:
    loader = ShardDataset(path, "train", columns=["image", "label"]).loader(32, num_threads=1)
    list(loader)
    stats = loader.stats(reset=True)
    assert (stats.num_batches, stats.num_samples, stats.num_bytes) == (8, 240, 240 * 200)
    assert 0 < stats.wait_seconds <= stats.seconds
    assert stats.gather_seconds > 0
    assert "8 batches" in str(stats)
    assert loader.stats().num_batches == 0


def test_errors_arrive_and_threads_end(path: Path) -> None:
    def fail(batch: dict[str, Any]) -> dict[str, Any]:
        raise ArithmeticError("in the transform")

    before = threading.active_count()
    train = ShardDataset(path, "train", lease_seconds=None)
    with pytest.raises(ArithmeticError, match="in the transform"):
        list(train.loader(4, num_threads=2, transform=fail))
    iterator = iter(train.loader(4, num_threads=3, shuffle=True))
    next(iterator)
    del iterator
    gc.collect()
    broken = train.loader(4, num_threads=2)
    column = train.opened.columns["moment"]
    column.gather = fail  # type: ignore[assignment, method-assign]
    with pytest.raises(ArithmeticError):
        list(broken)
    deadline = time.monotonic() + 20
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.001)  # whoever is not closed ends when its job is done
    assert threading.active_count() <= before


@pytest.mark.parametrize("num_threads", [0, 2])
def test_an_ended_loader_is_freed_at_once(path: Path, num_threads: int) -> None:
    train = ShardDataset(path, "train", lease_seconds=None)
    gc.collect()
    gc.disable()  # what it holds, tens of megabytes, must not wait for the collector
    try:
        loader = train.loader(32, shuffle=True, num_threads=num_threads)
        held = [weakref.ref(loader), weakref.ref(loader._feed)]
        for _ in range(2):
            for _batch in loader:
                pass
        assert loader.state_dict()["epoch"] == 2
        del loader, _batch
        assert [reference() for reference in held] == [None, None]
    finally:
        gc.enable()


def test_mixtures(path: Path) -> None:
    parts = {split: ShardDataset(path, split, columns=["moment", "label"][1:]) for split in ("train", "test")}
    mixed = MixedDataset(parts, weights=[3, 1])
    assert check_resume(lambda: mixed.loader(32, num_threads=1)) == 10
    sources = torch.cat([batch["source"] for batch in mixed.loader(32, num_samples=1280)])
    assert torch.bincount(sources).tolist() == [960, 320]
    whole = MixedDataset(
        [ShardDataset(path, "train"), ShardDataset(path, "test", columns=["text", "label"])], mix="batch"
    )
    assert check_resume(lambda: whole.loader(16)) == 18
    assert {len(batch) for batch in whole.loader(16)} > {3}
    assert "train 75.0% of 240" in repr(mixed)
    with pytest.raises(InvalidOption, match="columns without one shape"):
        MixedDataset([ShardDataset(path, "train")])
    with pytest.raises(InvalidOption, match="other columns"):
        MixedDataset([parts["train"], ShardDataset(path, "test", columns=["vector"])])
    with pytest.raises(InvalidOption, match="one positive number"):
        MixedDataset(parts, weights=[1, 0])
    for options, message in (
        ({"batch_size": 0}, "batch_size=0; allowed: an integer of 1 or more"),
        ({"num_samples": 0}, "num_samples=0; allowed: 1 or more"),
        ({"num_samples": -5}, "num_samples=-5; allowed: 1 or more"),
    ):
        for each in (mixed, whole):
            with pytest.raises(InvalidOption, match=message):
                each.loader(**({"batch_size": 4} | options))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_stock_loader(path: Path, num_workers: int) -> None:
    train = ShardDataset(path, "train")
    loader = DataLoader(train, batch_size=32, shuffle=True, num_workers=num_workers)
    rows = [row for batch in loader for row in moments(batch)]
    assert sorted(rows) == moments(train[:])
    ordered = DataLoader(train, batch_size=32, num_workers=num_workers)
    assert equal(list(ordered), list(train.loader(32)))
    seen = DataLoader(train, batch_size=3, collate_fn=lambda samples: [s["text"] for s in samples])
    assert next(iter(seen)) == train[:3]["text"]
    one = DataLoader(train, batch_size=None, sampler=[5, 6])
    assert [sample["text"] for sample in one] == train[5:7]["text"]
    single = DataLoader([train[0], train[1]], batch_size=2)  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="equal size"):
        next(iter(single))  # samples of a list of its own are stacked as torch always does


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_start_methods(path: Path, method: str) -> None:
    train = ShardDataset(path, "train", columns=["moment", "text"])
    train[0]
    loader = DataLoader(train, batch_size=60, num_workers=1, multiprocessing_context=method)
    assert equal(list(loader), list(train.loader(60)))


def test_iterable_style(path: Path) -> None:
    train = ShardDataset(path, "train", columns=["moment", "label"])
    stream = ShardIterableDataset(train, 16, shuffle=True)
    for num_workers in (0, 2):
        rows = [r for b in DataLoader(stream, batch_size=None, num_workers=num_workers) for r in moments(b)]
        assert sorted(rows) == moments(train[:])
    assert len(stream) == 15
    assert check_resume(lambda: ShardIterableDataset(train, 16, shuffle=True)) == 15
    assert len(pickle.dumps(stream)) < 2000


@pytest.mark.filterwarnings("ignore:'set_vital' is deprecated:UserWarning")
@pytest.mark.parametrize("num_workers", [0, 2])
def test_torchdata(path: Path, num_workers: int) -> None:
    from torchdata.stateful_dataloader import StatefulDataLoader

    train = ShardDataset(path, "train", columns=["moment", "label"])
    checked = check_resume(
        lambda: StatefulDataLoader(
            ShardIterableDataset(train, 32, shuffle=True), batch_size=None, num_workers=num_workers
        ),
        follow=2,
        num_steps=4,
    )
    assert checked == 4


def _resume_in_child(path: Path, state: dict[str, Any], queue: Any) -> None:
    loader = ShardDataset(path, "train", columns=["moment"]).loader(16, shuffle=True, num_threads=1)
    loader.load_state_dict(state)
    queue.put([moments(batch) for batch in loader])
    queue.close()
    queue.join_thread()
    os._exit(0)


def _take_in_child(iterator: Any, queue: Any) -> None:
    try:
        found = repr(moments(next(iterator)))
    except Exception as error:
        found = f"{type(error).__name__}: {error}"
    queue.put(found)
    queue.close()
    queue.join_thread()
    os._exit(0)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded, use of fork:DeprecationWarning")
def test_iterators_with_threads_are_refused_after_a_fork(path: Path) -> None:
    train = ShardDataset(path, "train", columns=["moment"])
    context = multiprocessing.get_context("fork")
    taken = {}
    for num_threads in (0, 1):
        iterator = iter(train.loader(16, num_threads=num_threads))
        first = moments(next(iterator))
        queue = context.Queue()
        child = context.Process(target=_take_in_child, args=(iterator, queue))
        child.start()
        taken[num_threads] = queue.get(timeout=120)
        child.join()
        rest = [row for batch in iterator for row in moments(batch)]
        assert first + rest == moments(train[:])  # whoever made it goes on
    assert taken[0] == repr(moments(train[16:32]))
    assert taken[1].startswith("ForeignIterator: ")


def test_states_travel(path: Path) -> None:
    loader = ShardDataset(path, "train", columns=["moment"]).loader(16, shuffle=True, num_threads=1)
    iterator = iter(loader)
    batches = [moments(next(iterator)) for _ in range(3)]
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    child = context.Process(target=_resume_in_child, args=(path, loader.state_dict(), queue))
    child.start()
    rest = queue.get(timeout=600)
    child.join()
    assert len(batches) + len(rest) == 15
    assert rest == [moments(batch) for batch in iterator]
