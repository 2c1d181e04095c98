"""Epochs through a cache on a disk that is smaller than the data, whatever the cache was told."""

from __future__ import annotations

import numpy as np
import pytest

from loaders import ShardDataset
from shards import Column, ShardStore
from shards.remote.storage import ObjectStorage
from tests.disks import small_disk
from tests.integration.remote.conftest import LIMITS

NUM_ROWS, ROW_BYTES = 6_144, 8_192
SHARD_BYTES = 64 * ROW_BYTES


@pytest.fixture
def dataset_url(url: str) -> str:
    """Numbered rows, twice as many bytes as the disk of the test has."""
    store = ShardStore(url, storage=ObjectStorage(url, LIMITS))
    rows = np.repeat(np.arange(NUM_ROWS, dtype="<u4")[:, None], ROW_BYTES // 4, axis=1)
    with store.begin("data", "records", shard_bytes=SHARD_BYTES) as attempt:
        attempt.column(Column("row", "npy", "<u4", (ROW_BYTES // 4,))).append(rows)
        attempt.commit()
    with store.begin_snapshot("data") as attempt:
        attempt.pin(store.latest("data", "records"))
        attempt.index("train", np.arange(NUM_ROWS, dtype="<u4"))
        attempt.commit()
    return f"{url}/data"


@pytest.mark.parametrize("order", [{"shuffle": False}, {"shuffle": "block", "block_samples": 64}], ids=str)
@pytest.mark.parametrize("cache_bytes", [None, 1 << 30])
def test_an_epoch_ends(dataset_url, tmp_path, capfd, cache_bytes, order):
    seen: list[int] = []
    with small_disk(tmp_path / "disk", "size=24m") as disk:
        dataset = ShardDataset(dataset_url, cache=disk / "cache", cache_bytes=cache_bytes, lease_seconds=None)
        for batch in dataset.loader(64, **order):
            rows = np.asarray(batch["row"])
            assert (rows == rows[:, :1]).all()
            seen += rows[:, 0].tolist()
    assert sorted(seen) == list(range(NUM_ROWS))
    assert capfd.readouterr().err == ""
