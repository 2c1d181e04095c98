"""Many worker processes of torch's own DataLoader: what they cost in memory."""

from __future__ import annotations

import multiprocessing
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from loaders import ShardDataset
from shards import Column
from tests.unit.loaders import datasets


def private_bytes(pids: list[int]) -> int:
    """Memory that these processes share with nobody."""
    texts = [Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in pids]
    return sum(int(size) for text in texts for size in re.findall(r"Private_(?:Clean|Dirty): +(\d+)", text))


@pytest.mark.filterwarnings("ignore:This DataLoader will create 8 worker processes")
def test_private_memory_stays_over_ten_epochs_of_eight_workers(tmp_path: Path) -> None:
    size = 40_000
    column = Column("x", "npy", "<f4", (16,), kind="vector")
    values = np.arange(size * 16, dtype=np.float32).reshape(size, 16)
    path = datasets.write(tmp_path, {"x": (column, values)}, {"train": np.arange(size)}, shard_bytes=1 << 18)
    loader: DataLoader[torch.Tensor] = DataLoader(
        ShardDataset(path, "train"),  # type: ignore[arg-type]
        batch_size=256,
        shuffle=True,
        num_workers=8,
        persistent_workers=True,
        multiprocessing_context="spawn",
    )
    used = []
    for _ in range(11):
        assert sum(len(batch["x"]) for batch in loader) == size  # type: ignore[call-overload]
        used.append(private_bytes([worker.pid for worker in multiprocessing.active_children() if worker.pid]))
    assert max(used) < 1.01 * used[0]
