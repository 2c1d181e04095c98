"""A loader over an object store: right batches, fetched once and ahead, whatever happens in between."""

from __future__ import annotations

import math
import multiprocessing
import os
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from loaders import ShardDataset
from loaders.errors import CacheFull, InvalidOption
from shards import Column, DamagedFile, ShardStore
from shards.remote.storage import ObjectStorage
from tests.integration.remote.conftest import LIMITS
from tests.integration.remote.proxy import Faults, Rule

NUM_ROWS = 2_000
ROW_BYTES = 1024
IMAGES = np.random.default_rng(0).integers(0, 256, (NUM_ROWS, ROW_BYTES), dtype=np.uint8)
TEXTS = [f"text {row}" for row in range(NUM_ROWS)]


@pytest.fixture
def dataset_url(url: str, faults: Faults) -> str:
    """Twenty shards of 100 KB and two of texts."""
    store = ShardStore(url, storage=ObjectStorage(url, LIMITS))
    with store.begin("data", "records", shard_bytes=100 * ROW_BYTES) as attempt:
        attempt.column(Column("image", "npy", "|u1", (ROW_BYTES,))).append(IMAGES)
        attempt.column(Column("text", "arrow", arrow_type="large_string", kind="text")).append(
            pa.array(TEXTS, pa.large_string())
        )
        attempt.commit()
    with store.begin_snapshot("data") as attempt:
        attempt.pin(store.latest("data", "records"))
        attempt.index("train", np.arange(NUM_ROWS, dtype="<u4"))
        attempt.commit()
    faults.seen.clear()
    return f"{url}/data"


def rows_of(batch) -> np.ndarray:
    rows = np.array([int(text.split()[1]) for text in batch["text"]])
    assert np.array_equal(np.asarray(batch["image"]), IMAGES[rows])
    return rows


@pytest.mark.parametrize("shuffle", [False, "block", "full"])
def test_batches_are_those_of_the_store_and_each_shard_comes_once(dataset_url, tmp_path, faults, shuffle):
    dataset = ShardDataset(dataset_url, cache=tmp_path, cache_bytes=100 << 20, lease_seconds=None)
    before = faults.count("GET")
    for _ in range(2):
        loader = dataset.loader(batch_size=64, shuffle=shuffle, seed=1)
        seen = np.concatenate([rows_of(batch) for batch in loader])
        assert np.array_equal(np.sort(seen), np.arange(NUM_ROWS))
    assert faults.count("GET .*npy") == 20 + 1  # the index of the split was mapped at open
    assert faults.count("GET") - before <= 22
    again = ShardDataset(dataset_url, cache=tmp_path, cache_bytes=100 << 20, lease_seconds=None)
    before = faults.count("GET .*(npy|arrow)")
    assert np.array_equal(rows_of(again.batch([5, 1999, 0])), [5, 1999, 0])
    assert faults.count("GET .*(npy|arrow)") == before


def test_the_first_batch_fetches_only_what_it_needs(dataset_url, tmp_path, faults):
    dataset = ShardDataset(dataset_url, columns=["image"], cache=tmp_path, lease_seconds=None)
    before = faults.count("GET .*npy")
    dataset.batch(np.arange(64))
    assert faults.count("GET .*npy") == before + 1


def size_of(path: Path) -> int:
    """Bytes of a file; none when it was evicted meanwhile."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def test_a_cache_smaller_than_the_data_reads_all_within_its_bound(dataset_url, tmp_path):
    dataset = ShardDataset(dataset_url, cache=tmp_path, cache_bytes=700_000, lease_seconds=None)
    most = 0
    for _ in range(2):
        seen = []
        for batch in dataset.loader(batch_size=50, shuffle="block", block_samples=50, window_blocks=2):
            seen.append(rows_of(batch))
            most = max(most, sum(map(size_of, (*tmp_path.glob("files/*"), *tmp_path.glob("partial/*")))))
        assert np.array_equal(np.sort(np.concatenate(seen)), np.arange(NUM_ROWS))
    assert most <= 700_000
    mapped = dataset.opened.columns["image"]._open.arrays
    assert len(mapped) < 15


def test_faults_on_the_way_change_nothing(dataset_url, tmp_path, faults):
    faults.rules += [
        Rule("GET .*image", ["cut_body", "500", "refuse", "503", "cut_reply", "delay"] * 3, delay_seconds=0.1)
    ]
    dataset = ShardDataset(dataset_url, cache=tmp_path, lease_seconds=None)
    seen = np.concatenate([rows_of(batch) for batch in dataset.loader(batch_size=64, shuffle=True)])
    assert np.array_equal(np.sort(seen), np.arange(NUM_ROWS))
    assert faults.rules[-1].hits >= 10


def test_a_shard_that_was_changed_in_the_store_is_not_served(dataset_url, url, tmp_path):
    storage = ObjectStorage(url, LIMITS)
    dataset = ShardDataset(dataset_url, columns=["image"], cache=tmp_path, lease_seconds=None)
    file = dataset.opened.snapshot.column("image").file(0)
    data = bytearray(storage.read(file.path, 1 << 20))
    data[-1] ^= 1
    spool = storage.create(file.path)
    spool.write(data)
    spool.sync()
    spool.close()
    with pytest.raises(DamagedFile, match="xxh3_128"):
        dataset.batch([0])
    assert np.array_equal(np.asarray(dataset.batch([1999])["image"])[0], IMAGES[1999])


def test_resume_is_exact(dataset_url, tmp_path):
    dataset = ShardDataset(dataset_url, cache=tmp_path, lease_seconds=None)
    whole = [rows_of(batch) for batch in dataset.loader(batch_size=64, shuffle="block", seed=3)]
    loader = dataset.loader(batch_size=64, shuffle="block", seed=3)
    batches = iter(loader)
    for _ in range(7):
        next(batches)
    state = loader.state_dict()
    again = dataset.loader(batch_size=64, shuffle="block", seed=3)
    again.load_state_dict(state)
    assert all(np.array_equal(mine, rows_of(theirs)) for mine, theirs in zip(whole[7:], again, strict=True))


def test_credentials_that_may_only_read_train_without_a_lease(dataset_url, tmp_path, faults):
    faults.rules.append(Rule("^(PUT|POST|DELETE) ", ["403"] * 1000))
    with pytest.warns(RuntimeWarning, match="no lease can be written.*credentials"):
        dataset = ShardDataset(dataset_url, cache=tmp_path)
    assert np.array_equal(rows_of(dataset.batch([5, 1999, 0])), [5, 1999, 0])


def test_a_cache_that_is_removed_while_it_is_used_is_made_again(dataset_url, tmp_path):
    """Only names go: what is mapped or under way is read all the same."""
    cache = tmp_path / "cache"
    dataset = ShardDataset(dataset_url, cache=cache, cache_bytes=700_000, lease_seconds=None)
    seen = []
    for number, batch in enumerate(dataset.loader(batch_size=50, shuffle="block", block_samples=50)):
        seen.append(rows_of(batch))
        if number in (2, 7, 12):
            shutil.rmtree(cache, ignore_errors=True)  # some of it is made again meanwhile
    assert np.array_equal(np.sort(np.concatenate(seen)), np.arange(NUM_ROWS))
    assert list((cache / "files").iterdir())


@pytest.mark.parametrize("cache", [None, "", "s3://bucket/cache", Path("gs://bucket/cache")])
def test_a_cache_is_a_directory(dataset_url, tmp_path, monkeypatch, cache):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidOption, match="cache='DIRECTORY'"):
        ShardDataset(dataset_url, cache=cache)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("cache_bytes", ["10 GB", True, 0, -1, 1e9, math.nan, math.inf])
def test_bounds_that_make_no_sense_are_refused(dataset_url, tmp_path, cache_bytes):
    with pytest.raises(InvalidOption, match=r"cache_bytes=.*an int of 1 or more"):
        ShardDataset(dataset_url, cache=tmp_path, cache_bytes=cache_bytes)


def test_a_shard_larger_than_the_bound_is_refused(dataset_url, tmp_path):
    with pytest.raises(CacheFull, match="cache_bytes=1000"):
        ShardDataset(dataset_url, cache=tmp_path, cache_bytes=1000, lease_seconds=None)


def read_all(dataset_url: str, cache: str, seed: int) -> None:
    dataset = ShardDataset(dataset_url, cache=cache, cache_bytes=100 << 20, lease_seconds=None)
    seen = np.concatenate(
        [rows_of(batch) for batch in dataset.loader(batch_size=64, shuffle=True, seed=seed)]
    )
    assert np.array_equal(np.sort(seen), np.arange(NUM_ROWS))


def test_processes_share_the_cache_and_one_that_is_killed_harms_none(dataset_url, tmp_path, faults):
    faults.rules.append(Rule("GET .*image", ["delay"] * 20, delay_seconds=0.15))
    context = multiprocessing.get_context("spawn")
    readers = [context.Process(target=read_all, args=(dataset_url, str(tmp_path), seed)) for seed in range(3)]
    for reader in readers:
        reader.start()
    while not faults.count("GET .*image"):
        time.sleep(0.01)
    os.kill(readers[0].pid, signal.SIGKILL)
    for reader in readers:
        reader.join(600)
    assert [reader.exitcode for reader in readers] == [-signal.SIGKILL, 0, 0]
    assert faults.count("GET .*image") <= 20 + 8  # what the dead had under way came again, nothing else
    read_all(dataset_url, str(tmp_path), 9)
