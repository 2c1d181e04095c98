"""A page that cannot be read ends a copy under a guard by an exception, and anything else as before."""

from __future__ import annotations

import mmap
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from loaders import ShardChanged, ShardDataset
from loaders.guard import Guard
from tests.unit.loaders import datasets

PAGES = 16


@pytest.fixture
def mapped(tmp_path: Path) -> tuple[Path, np.ndarray]:
    """A file of ones, and its mapping."""
    path = tmp_path / "ones"
    path.write_bytes(b"\x01" * (PAGES * mmap.PAGESIZE))
    return path, np.memmap(path, np.uint8, "r")


def test_a_copy_goes_on_and_its_lost_pages_are_counted(mapped: tuple[Path, np.ndarray]) -> None:
    path, array = mapped
    os.truncate(path, 3 * mmap.PAGESIZE)
    with Guard() as guard:
        copy = np.array(array)
    assert guard.num_lost == PAGES - 3
    assert copy.sum() == 3 * mmap.PAGESIZE


def test_guards_nest_and_belong_to_one_thread(mapped: tuple[Path, np.ndarray]) -> None:
    path, array = mapped
    os.truncate(path, 0)
    found: list[int] = []

    def other() -> None:
        with Guard() as guard:
            np.array(array[: mmap.PAGESIZE])
        found.append(guard.num_lost)

    with Guard() as outer:
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        with Guard() as inner:
            np.array(array[mmap.PAGESIZE : 3 * mmap.PAGESIZE])
    assert (found, inner.num_lost, outer.num_lost) == ([1], 2, 0)


UNGUARDED = """
import mmap, os, sys
import numpy as np
from loaders.guard import Guard
open(sys.argv[1], "wb").write(b"1" * 8192)
array = np.memmap(sys.argv[1], np.uint8, "r")
with Guard():
    pass
os.truncate(sys.argv[1], 0)
np.array(array)
"""


def test_outside_a_guard_the_signal_is_what_it_was(tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", UNGUARDED, str(tmp_path / "file")], check=False)
    assert ended.returncode == -signal.SIGBUS


@pytest.mark.parametrize("name", ["image", "text", "tokens"])
@pytest.mark.parametrize("size", [0, 100, 5000])
def test_truncated_at_any_moment_under_threads(tmp_path: Path, name: str, size: int) -> None:
    """Nothing is looked at before the first copy from the shortened file."""
    path = datasets.mixed(tmp_path, 300)[0]
    train = ShardDataset(path, "train", columns=[name])
    column = train.opened.columns[name]
    loader = train.loader(16, num_threads=2, infinite=True)
    iterator = iter(loader)
    next(iterator)
    file = path.parent / column._reader.path(0)
    if file.stat().st_size <= size:
        size = file.stat().st_size - 1
    file.chmod(0o644)
    os.truncate(file, size)
    with pytest.raises(ShardChanged, match="changed its size"):
        for _ in iterator:
            pass
    with pytest.raises(ShardChanged, match="changed its size"):
        train[0]
    with pytest.raises(ShardChanged, match="changed its size"):
        train.to_arrow()
