"""Many worker processes of torch's own DataLoader: what they cost in memory."""

from __future__ import annotations

import multiprocessing
import re
import subprocess
import sys
import time
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


KILLED = """
import multiprocessing, os, signal, sys, threading, time
from torch.utils.data import DataLoader
from loaders import ShardDataset

train = ShardDataset(sys.argv[1], "train")
batches = iter(DataLoader(train, 10, num_workers=1, multiprocessing_context="fork"))
next(batches)
worker = multiprocessing.active_children()[0]
print(worker.pid, flush=True)
os.kill(worker.pid, signal.SIGKILL)
for batch in batches:
    time.sleep(0.01)
print("all batches")
"""


def test_a_killed_worker_ends_the_epoch_of_a_plain_loader(tmp_path: Path) -> None:
    column = Column("x", "npy", "<f4", (16,), kind="vector")
    values = np.zeros((10_000, 16), np.float32)
    path = datasets.write(tmp_path, {"x": (column, values)}, {"train": np.arange(10_000)})
    # in a process of its own: torch raises in whatever line the main thread is when the system tells it
    command = [sys.executable, "-c", KILLED, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        began = time.monotonic()
        output, errors = process.communicate(timeout=120)
    assert time.monotonic() - began < 60  # torch looks every 5 s; the rest is for slow machines
    assert process.returncode == 1
    assert "all batches" not in output
    # killed while it hands a batch over, the worker is missed by the connection first
    assert f"{pid}" in errors or "ConnectionResetError" in errors or "EOFError" in errors
