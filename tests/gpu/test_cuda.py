"""The CUDA path gives what the CPU path gives; skipped where torch sees no CUDA device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from loaders import DoesNotFit, ShardDataset, cache
from loaders.testing import check_resume, equal
from tests.unit.loaders import datasets

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device here")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of 1,000 rows in many shards, with a fit."""
    transforms = {"vector": [{"op": "standardize", "mean": [1.0] * 5, "std": [2.0] * 5}]}
    root = tmp_path_factory.mktemp("cuda")
    return datasets.mixed(root, 1000, num_partitions=2, shard_bytes=9000, transforms=transforms)[0]


def to_host(value: Any) -> Any:
    """Copy every tensor of a batch back."""
    if isinstance(value, torch.Tensor):
        assert value.is_cuda
        return value.cpu()
    if isinstance(value, dict):
        return {name: to_host(member) for name, member in value.items()}
    return value


@pytest.mark.parametrize("num_threads", [0, 1, 3])
@pytest.mark.parametrize("device_cache", [False, True])
def test_same_as_cpu(path: Path, num_threads: int, device_cache: bool) -> None:
    train = ShardDataset(path, "train")
    options: dict[str, Any] = {"shuffle": True, "layout": "chw", "dtypes": {"image": torch.float32}}
    host = list(train.loader(64, **options))
    there = train.loader(64, device="cuda", num_threads=num_threads, device_cache=device_cache, **options)
    for _ in range(2):
        for batch, wanted in zip(there, host, strict=False):
            assert equal(to_host(batch), wanted)
        there.set_epoch(0)


def test_kept_batches_are_not_overwritten(path: Path) -> None:
    """Pinned blocks and device memory are used again only once nobody needs them."""
    train = ShardDataset(path, "train", columns=["image", "label"])
    wanted = list(train.loader(16, shuffle=True))
    kept = []
    for batch in train.loader(16, shuffle=True, device="cuda", num_threads=3, prefetch=4):
        torch.cuda._sleep(1_000_000)  # the training stream is behind the loader's streams
        kept.append({name: tensor + 0 for name, tensor in batch.items()})
    assert equal([to_host(batch) for batch in kept], wanted)


def test_resumes(path: Path) -> None:
    train = ShardDataset(path, "train", columns=["label"])
    make = lambda: train.loader(64, shuffle=True, device="cuda", num_threads=2)  # noqa: E731
    assert check_resume(make) == 13


def test_does_not_fit(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache.free_bytes(torch.device("cuda", 0)) > 0
    monkeypatch.setattr(cache, "free_bytes", lambda device: 1000)
    with pytest.raises(DoesNotFit, match="choose fewer columns"):
        ShardDataset(path, "train").loader(32, device="cuda", device_cache=True)
