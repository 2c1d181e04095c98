"""What others do to files and processes arrives as an exception in the training process."""

from __future__ import annotations

import multiprocessing
import os
import re
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from loaders import DecodeFailed, LoaderError, ShardChanged, ShardDataset, WorkerKilled
from loaders.pictures import decode
from shards import Column, DamagedFile, ShardStore
from tests.unit.loaders import datasets


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A dataset of 300 rows."""
    return datasets.mixed(tmp_path, 300)[0]


def shard_of(path: Path, name: str) -> Path:
    """Find the file of a column."""
    column = ShardDataset(path, "train", columns=[name], lease_seconds=None).opened.columns[name]
    return path.parent / column._reader.path(0)


def _truncate(file: Path) -> None:
    os.truncate(file, 100)


def _replace(file: Path) -> None:
    copy = file.with_suffix(".copy")
    shutil.copy(file, copy)
    copy.replace(file)


def _write(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-1] ^= 255
    file.write_bytes(data)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (_truncate, "changed its size from"),
        (_replace, "was replaced by another file"),
        (_write, "was written to|changed its size"),
    ],
)
@pytest.mark.parametrize("name", ["image", "text"])
@pytest.mark.parametrize("num_threads", [0, 2])
def test_files_changed_under_a_running_job(
    path: Path, harm: Any, message: str, name: str, num_threads: int
) -> None:
    train = ShardDataset(path, "train", columns=[name])
    iterator = iter(train.loader(1, num_threads=num_threads, infinite=True))
    next(iterator)
    file = shard_of(path, name)
    file.chmod(0o644)
    harm(file)
    with pytest.raises(ShardChanged, match=message) as failure:
        for _ in iterator:
            pass
    assert file.name in str(failure.value)
    with pytest.raises(ShardChanged):
        train[0]


def test_an_unlinked_file_stays_readable(path: Path) -> None:
    train = ShardDataset(path, "train", columns=["image"])
    before = train[:]["image"]
    shard_of(path, "image").unlink()
    assert torch.equal(train[:]["image"], before)
    with pytest.raises(DamagedFile, match="is missing"):
        ShardDataset(path, "train", columns=["image"])


def test_damage_before_opening(path: Path) -> None:
    file = shard_of(path, "text")
    file.chmod(0o644)
    os.truncate(file, 100)
    with pytest.raises(DamagedFile, match="has 100 bytes"):
        ShardDataset(path, "train")


class _Stuck:
    """Comes to a certain row and no further."""

    def __init__(self, row: int, arrived: Path) -> None:
        self.row, self.arrived = row, arrived

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        if 1000 * self.row in batch["moment"]:
            self.arrived.touch()
            time.sleep(600)
        return batch


def test_a_killed_worker_is_named_with_its_row_and_shard(tmp_path: Path) -> None:
    """The split lacks every fifth row: rows and samples have other numbers, and lie in other shards."""
    path = datasets.mixed(tmp_path, 300, shard_bytes=3000)[0]
    arrived = tmp_path / "arrived"
    stuck = _Stuck(103, arrived)
    train = ShardDataset(path, "train", columns=["image", "moment"], transform=stuck)
    loader: Any = train.dataloader(4, num_workers=2)
    iterator = iter(loader)
    next(iterator)
    pid = int(loader.board.lines()[0, 0])  # of the worker that makes every other batch; the 21st, too
    killed: list[float] = []

    def kill() -> None:  # while the other thread waits: torch raises wherever it is
        while not arrived.exists():
            time.sleep(0.01)
        os.kill(pid, signal.SIGKILL)
        killed.append(time.monotonic())

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    image = train.opened.columns["image"]
    file = image.path(int(image.locator.locate(np.array([101]))[0][0]))
    with pytest.raises(WorkerKilled, match=re.escape(f"worker {pid} read row 101 in {file}.")):
        list(iterator)
    killer.join()
    assert time.monotonic() - killed[0] < 60  # within 5 s where nothing else runs, which not every machine is


def test_a_worker_killed_while_it_hands_over_is_named_too(path: Path) -> None:
    train = ShardDataset(path, "train", columns=["image"])
    loader: Any = train.dataloader(4, num_workers=1)
    ended = multiprocessing.get_context("fork").Process(target=os._exit, args=(1,))
    ended.start()
    ended.join()
    loader.board.lines()[0] = ended.pid, 3

    def cut() -> Iterator[Any]:
        raise ConnectionResetError("Connection reset by peer")
        yield

    with pytest.raises(WorkerKilled, match=rf"worker {ended.pid} read row 3 in demo.*Connection reset"):
        list(loader._watched(cut()))


def test_a_lease_protects_what_is_mapped(path: Path) -> None:
    store = ShardStore(path.parent)
    train = ShardDataset(path, "train", lease_seconds=5)
    leases = [file for file in path.rglob("*") if file.is_file() and "lease" in str(file.relative_to(path))]
    assert len(leases) == 1
    with store.begin_snapshot("demo") as attempt:
        for versions in store.snapshot("demo").versions.values():
            for version in versions:
                attempt.pin(version)
        attempt.index("train", np.arange(7, dtype=np.uint32))
        attempt.commit(provenance=datasets.PROVENANCE)
    store.gc("demo", keep=1, dry_run=False, grace_seconds=0)
    assert 1 in store.versions("demo", "snapshot")
    assert len(ShardDataset(path, "train", version=1)) == len(train)
    del train
    assert not leases[0].exists()


def test_a_store_that_cannot_be_written(path: Path) -> None:
    """As somebody who may read and not write; root may always write, so it becomes nobody for a moment."""
    is_root = os.geteuid() == 0
    for folder in (path, *path.parents):
        if folder.stat().st_uid == os.getuid() and folder.stat().st_mode & 0o005 != 0o005:
            folder.chmod(0o755)
    path.chmod(0o555)
    if is_root:
        os.seteuid(65534)
    try:
        with pytest.warns(RuntimeWarning, match="no lease can be written"):
            train = ShardDataset(path, "train")
        assert len(train) == 240
    finally:
        if is_root:
            os.seteuid(0)
        path.chmod(0o755)


PICTURES = [b"no picture", b"\xff\xd8\xff" + b"x" * 50, b"\x89PNG\r\n\x1a\n" + b"0" * 40]


@pytest.mark.parametrize("data", PICTURES)
def test_pictures_that_cannot_be_decoded(data: bytes) -> None:
    with pytest.raises(DecodeFailed, match=f"column photo: {len(data)} bytes cannot be decoded"):
        decode(data, "rgb", "photo")
    assert issubclass(DecodeFailed, LoaderError)
    assert decode(b"", "gray").shape == (1, 1, 1)


def test_unknown_column_kinds(tmp_path: Path) -> None:
    column = Column("odd", "arrow", arrow_type="large_list<string>", kind="image")
    columns = {"odd": (column, pa.array([["a"]], column.pyarrow_type))}
    path = datasets.write(tmp_path, columns, {"train": [0]})
    with pytest.raises(LoaderError, match="cannot be loaded"):
        ShardDataset(path)[0]
