"""Epochs over files that are not in memory: what is read for them, and that batches are right."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.harness import evict
from loaders import ShardDataset, pages, readahead, work
from shards import Column
from tests.unit.loaders.datasets import pictures, write

NUM_ROWS = 1600  # 75 MiB
ROW_BYTES = 128 * 128 * 3

pytestmark = pytest.mark.skipif(not pages.HAS_HUGE, reason="no huge pages of 2 MiB")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    values = pictures(NUM_ROWS, 128)
    columns = {
        "image": (Column("image", "npy", "|u1", (128, 128, 3)), values),
        "number": (Column("number", "npy", "<i8"), np.arange(NUM_ROWS)),
    }
    return write(
        tmp_path_factory.mktemp("cold"), columns, {"train": np.arange(NUM_ROWS)}, shard_bytes=32 << 20
    ), values


@pytest.fixture
def path(made: tuple[Path, np.ndarray]) -> Path:
    """The dataset, whose pictures are not in the page cache."""
    gc.collect()  # what is mapped stays
    files = list(made[0].rglob("column.image.*.npy"))
    assert len(files) > 2
    evict(files)
    for file in files:
        mapped = np.memmap(file, np.uint8, "r")
        if not pages.is_absent(pages.extent(mapped)[0] + mapped.nbytes // 2):
            pytest.skip("this file system keeps its files in memory")
    return made[0]


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How many bytes are read by huge pages, and asked for otherwise."""
    found = {"read": 0, "ask": 0}

    def counted(name: str) -> Any:
        call = getattr(pages, name)

        def count(start: int, stop: int) -> None:
            found[name] += stop - start
            call(start, stop)

        return count

    for name in found:
        monkeypatch.setattr(pages, name, counted(name))
    return found


@pytest.mark.parametrize("num_threads", [0, 1, 2])
@pytest.mark.parametrize(
    ("options", "whole_bytes", "advised_bytes", "num_read", "num_asked"),
    [
        ({"shuffle": "block"}, 0, work.ADVISED_BYTES, (0.4, 1.15), (0.0, 0.4)),
        ({"shuffle": False}, 0, work.ADVISED_BYTES, (0.5, 1.1), (0.0, 0.1)),
        ({"shuffle": True}, 0, 1 << 20, (0.0, 0.0), (0.9, 1.3)),
        ({"shuffle": True}, 1 << 30, 1 << 20, (0.5, 1.1), (0.0, 1.1)),  # again, after faults, in vain
    ],
)
def test_each_byte_is_read_once_or_met_by_who_copies_it(
    made: tuple[Path, np.ndarray],
    path: Path,
    read: dict[str, int],
    monkeypatch: pytest.MonkeyPatch,
    num_threads: int,
    options: dict[str, Any],
    whole_bytes: int,
    advised_bytes: int,
    num_read: tuple[float, float],
    num_asked: tuple[float, float],
) -> None:
    monkeypatch.setattr(readahead, "WHOLE_BYTES", whole_bytes)
    monkeypatch.setattr(readahead, "FAST", 0)
    monkeypatch.setattr(work, "ADVISED_BYTES", advised_bytes)
    train = ShardDataset(path, "train", lease_seconds=None)
    seen = []
    for batch in train.loader(64, num_threads=num_threads, seed=3, **options):
        numbers = batch["number"].numpy()
        assert (batch["image"].numpy() == made[1][numbers]).all()
        seen += numbers.tolist()
    assert sorted(seen) == list(range(NUM_ROWS))
    shares = [read[name] / (NUM_ROWS * ROW_BYTES) for name in ("read", "ask")]
    assert num_read[0] <= shares[0] <= num_read[1]
    assert num_asked[0] <= shares[1] <= num_asked[1]
