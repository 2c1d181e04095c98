"""Indices on an object store: what is fetched of them before rows are read, and whether it is right."""

from __future__ import annotations

import multiprocessing
import pickle
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from loaders import ShardDataset
from loaders.index_pieces import PiecewiseRows
from shards import Column, DamagedFile
from shards.errors import StorageError
from shards.index import PIECE_BYTES
from shards.remote.storage import ObjectStorage
from tests.integration.remote.conftest import LIMITS
from tests.integration.remote.proxy import Rule
from tests.unit.loaders import datasets

SMALL, LARGE = 3_000_000, 6_000_000  # samples; files of 11.4 and 22.9 pieces
ROOMY_BYTES, TIGHT_BYTES = 1 << 30, 4 << 20  # of caches
TRAIN = "GET .*/index.train.000000.npy"


@pytest.fixture(scope="module")
def local(tmp_path_factory) -> dict[int, Path]:
    """By samples, a dataset of a byte a row, where a fifth of the rows is in no split."""
    random = np.random.default_rng(0)
    found = {}
    for num_samples in (SMALL, LARGE):
        num_rows = num_samples * 5 // 4
        train = np.sort(random.permutation(num_rows)[:num_samples])
        found[num_samples] = datasets.write(
            tmp_path_factory.mktemp(f"rows_{num_samples}"),
            {"x": (Column("x", "npy", "|i1"), random.integers(-128, 128, num_rows, np.int8))},
            {"train": train, "run": np.arange(1000, 1000 + num_samples)},
            subsets={"some": ("train", random.choice(train, num_samples))},
            shard_bytes=1 << 20,
        )
    return found


def upload(path: Path, root: str) -> str:
    """Copy a dataset to an address below which it is the only one; give the dataset's address."""
    storage = ObjectStorage(root, LIMITS)
    for file in path.rglob("*"):
        if file.is_file() and "documents/data" not in str(file):
            overwrite(storage, str(file.relative_to(path.parent)), file.read_bytes())
    return f"{root}/{path.name}"


@pytest.fixture(scope="module")
def uploaded() -> dict[int, str]:
    """Addresses of what is on the server, which all tests share."""
    return {}


@pytest.fixture
def remote(local, uploaded, url) -> dict[int, str]:
    """Addresses of the same datasets; nobody may write there."""
    for num_samples, path in local.items():
        if num_samples not in uploaded:
            uploaded[num_samples] = upload(path, f"{url}/{num_samples}")
    return uploaded


def overwrite(storage: ObjectStorage, path: str, data: bytes) -> None:
    storage.client.call(path, lambda library, store: library.put(store, path, data))


def opened(address: str, cache: Path, cache_bytes: int = ROOMY_BYTES, **options: Any) -> ShardDataset:
    options = {"split": "train", "lease_seconds": None} | options
    return ShardDataset(address, cache=cache, cache_bytes=cache_bytes, **options)


def pieces_of(ranges: list[str]) -> list[int]:
    """Numbers of the pieces that were asked for; fails if anything else was."""
    found = [re.fullmatch(r"bytes=(\d+)-(\d+)", asked) for asked in ranges]
    bounds = [(int(match[1]), int(match[2]) + 1) for match in found if match]
    assert len(bounds) == len(ranges)
    assert all(start % PIECE_BYTES == 0 and stop - start <= PIECE_BYTES for start, stop in bounds)
    return sorted(start // PIECE_BYTES for start, _ in bounds)


def wait_for_pieces(dataset: ShardDataset) -> None:
    """Wait until all pieces have come that were asked for."""
    for piece in list(dataset.opened.index._numbers._held.values()):
        piece.result(60)


def wait_for_file(dataset: ShardDataset) -> None:
    """Wait until the index is mapped as a whole."""
    deadline = time.monotonic() + 120
    while dataset.opened.index._numbers._whole is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("shuffle", [False, "block", "full"])
@pytest.mark.parametrize("part", [{"split": "train"}, {"subset": "some", "split": None}])
def test_batches_are_those_of_a_local_store(local, remote, tmp_path, shuffle, part):
    theirs = opened(remote[SMALL], tmp_path, **part)
    assert isinstance(theirs.opened.index._numbers, PiecewiseRows)
    ours = ShardDataset(local[SMALL], lease_seconds=None, **part)
    options = {"batch_size": 50_000, "shuffle": shuffle, "seed": 1}
    if shuffle == "block":
        options["block_samples"] = 10_000
    pairs = zip(ours.loader(**options), theirs.loader(**options), strict=True)
    assert sum(len(one["x"]) for one, other in pairs if torch.equal(one["x"], other["x"])) == SMALL
    wait_for_file(theirs)  # it would come into the directory of the next test


@pytest.mark.parametrize("read", ["sequential", "block", "batch"])
def test_the_first_batch_fetches_as_few_pieces_of_any_index(remote, tmp_path, faults, read):
    fetched = []
    for number, num_samples in enumerate((SMALL, LARGE)):
        before = len(faults.ranges_of(TRAIN))
        dataset = opened(remote[num_samples], tmp_path / str(number))
        assert pieces_of(faults.ranges_of(TRAIN)[before:]) == [0, (128 + 4 * num_samples) // PIECE_BYTES]
        if read == "batch":
            dataset.batch(np.arange(256))
        elif read == "sequential":
            next(iter(dataset.loader(256, num_threads=0)))
        else:
            order = {"shuffle": "block", "block_samples": 100_000, "window_blocks": 2}
            next(iter(dataset.loader(256, num_threads=0, **order)))
        wait_for_pieces(dataset)
        fetched.append(len(pieces_of(faults.ranges_of(TRAIN)[before:])))
    if read == "block":
        assert max(fetched) <= 6  # the ends, and two blocks wherever they lie
    else:
        assert fetched[0] == fetched[1] <= 3


def test_no_batch_waits_for_pieces_that_are_looked_for_ahead(remote, tmp_path, faults):
    dataset = opened(remote[SMALL], tmp_path)
    faults.rules.append(Rule(TRAIN, ["meet"] * 2))  # the next request waits for the one after it
    assert len(next(iter(dataset.loader(256, num_threads=0)))["x"]) == 256
    assert not dataset.opened.index._numbers._held[1].done()
    dataset.batch([SMALL // 2])
    wait_for_pieces(dataset)
    assert faults.rules[-1].hits == 2


def test_a_split_of_neighbouring_rows_fetches_its_ends_alone(local, remote, tmp_path, faults):
    dataset = opened(remote[SMALL], tmp_path, split="run")
    ours = ShardDataset(local[SMALL], "run", lease_seconds=None)
    assert dataset.opened.index.first == 1000
    for one, other in zip(ours.loader(100_000), dataset.loader(100_000), strict=True):
        assert torch.equal(one["x"], other["x"])
    assert len(pieces_of(faults.ranges_of("GET .*/index.run.000000.npy"))) == 2


def test_the_whole_file_comes_beside_and_is_used_then(local, remote, tmp_path, faults):
    dataset = opened(remote[SMALL], tmp_path)
    ours = ShardDataset(local[SMALL], "train", lease_seconds=None)
    dataset.batch(np.arange(0, SMALL, 10_000))
    wait_for_file(dataset)
    before = faults.count(TRAIN)
    for one, other in zip(
        ours.loader(100_000, shuffle=True), dataset.loader(100_000, shuffle=True), strict=True
    ):
        assert torch.equal(one["x"], other["x"])
    again = opened(remote[SMALL], tmp_path)
    assert torch.equal(again.batch([5, SMALL - 1])["x"], ours.batch([5, SMALL - 1])["x"])
    assert faults.count(TRAIN) == before


def test_pieces_serve_for_ever_where_the_cache_is_too_small(local, remote, tmp_path, faults, monkeypatch):
    monkeypatch.setattr("loaders.index_pieces.HELD_BYTES", PIECE_BYTES)
    dataset = opened(remote[LARGE], tmp_path, TIGHT_BYTES)
    ours = ShardDataset(local[LARGE], "train", lease_seconds=None)
    for start in (0, 77, 3):  # of all 23 pieces, of which 16 are held
        samples = np.arange(start, LARGE, 10_000)
        assert np.array_equal(dataset.opened.index(samples), ours.opened.index(samples))
        assert len(dataset.opened.index._numbers._held) == 16
    for one, other in zip(ours.loader(100_000), dataset.loader(100_000), strict=True):
        assert torch.equal(one["x"], other["x"])
    assert len(set(pieces_of(faults.ranges_of(TRAIN)))) == 23
    assert sum(file.stat().st_size for file in tmp_path.glob("files/*")) <= TIGHT_BYTES


def test_a_damaged_piece_is_refused_and_others_are_not(local, url, tmp_path):
    address = upload(local[SMALL], url)
    [file] = local[SMALL].rglob("index.train.*")
    data = bytearray(file.read_bytes())
    data[3 * PIECE_BYTES + 5] ^= 1
    overwrite(ObjectStorage(url, LIMITS), str(file.relative_to(local[SMALL].parent)), bytes(data))
    dataset = opened(address, tmp_path)
    ours = ShardDataset(local[SMALL], "train", lease_seconds=None)
    with pytest.raises(DamagedFile, match=rf"index.train.*bytes from {3 * PIECE_BYTES} on have xxh3_128"):
        dataset.batch([3 * PIECE_BYTES // 4 + 1000])
    assert torch.equal(dataset.batch([0, SMALL - 1])["x"], ours.batch([0, SMALL - 1])["x"])


def test_a_piece_that_is_damaged_on_its_way_comes_again(local, remote, tmp_path, faults):
    faults.rules += [Rule(TRAIN, ["flip", "500", "cut_body", "refuse", "cut_reply"])]
    dataset = opened(remote[SMALL], tmp_path)
    ours = ShardDataset(local[SMALL], "train", lease_seconds=None)
    samples = [0, 300_000, SMALL - 1]
    assert torch.equal(dataset.batch(samples)["x"], ours.batch(samples)["x"])
    assert faults.rules[-1].hits == 5


def test_a_dataset_that_was_pickled_reads_by_pieces(local, remote, tmp_path):
    dataset = pickle.loads(pickle.dumps(opened(remote[SMALL], tmp_path)))
    ours = ShardDataset(local[SMALL], "train", lease_seconds=None)
    assert torch.equal(dataset.batch([SMALL // 2])["x"], ours.batch([SMALL // 2])["x"])


def rows_or_error(dataset: ShardDataset, samples: np.ndarray, answer: Any) -> None:
    try:
        answer.send(dataset.opened.index(samples))
    except StorageError as error:
        answer.send(str(error))


def in_a_fork(dataset: ShardDataset, samples: np.ndarray) -> Any:
    context = multiprocessing.get_context("fork")
    answer, theirs = context.Pipe(duplex=False)
    child = context.Process(target=rows_or_error, args=(dataset, samples, theirs))
    child.start()
    assert answer.poll(60)
    found = answer.recv()
    child.join()
    return found


def test_a_forked_process_reads_the_file_of_the_cache_or_says_what_it_needs(local, remote, tmp_path):
    dataset = opened(remote[SMALL], tmp_path)
    samples = np.arange(0, SMALL, 10_000)
    assert "forkserver" in in_a_fork(dataset, samples)
    late = opened(remote[SMALL], tmp_path)
    dataset.opened.index(samples)
    wait_for_file(dataset)
    expected = ShardDataset(local[SMALL], "train", lease_seconds=None).opened.index(samples)
    assert np.array_equal(in_a_fork(dataset, samples), expected)
    assert np.array_equal(in_a_fork(late, samples), expected)


def test_an_index_without_hashes_comes_whole(local, remote, tmp_path, faults, monkeypatch):
    monkeypatch.setattr("shards.index.NOTE", "another")
    dataset = opened(remote[SMALL], tmp_path)
    ours = ShardDataset(local[SMALL], "train", lease_seconds=None)
    before = faults.count(TRAIN)
    assert before == 2  # ranges of 8 MiB
    assert torch.equal(dataset.batch([SMALL // 2])["x"], ours.batch([SMALL // 2])["x"])
    assert faults.count(TRAIN) == before
