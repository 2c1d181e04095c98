"""Every byte of a small dataset flipped, every length of truncation: all is noticed, nothing crashes."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from shards import ShardError, ShardStore
from tests.hostile.shards.dataset import DATASET, build, files, read_everything


def _asset(path: Path, root: Path) -> str | None:
    name = path.relative_to(root / DATASET).parts[0]
    return None if name.startswith("_") else name


def _detected(store: ShardStore, path: Path, root: Path) -> bool:
    return bool(store.verify(DATASET, _asset(path, root), full=True).damages)


def test_every_flipped_byte_is_detected(tmp_path: Path) -> None:
    store = build(tmp_path, keys=("2024-01",))
    assert not store.verify(full=True).damages
    num_flipped, missed = 0, []
    for path in files(tmp_path):
        content = path.read_bytes()
        for position in range(len(content)):
            flipped = bytearray(content)
            flipped[position] ^= 1 << (position % 8)
            path.write_bytes(flipped)
            num_flipped += 1
            if not _detected(store, path, tmp_path):
                missed.append((path.name, position))
            if path.suffix == ".arrow":  # without its hash, too, a reader must not crash
                with contextlib.suppress(ShardError):
                    read_everything(store)
        path.write_bytes(content)
    assert not store.verify(full=True).damages
    print(f"{num_flipped} bytes flipped, {num_flipped - len(missed)} detected")
    assert not missed
    assert num_flipped > 4000


def test_every_truncation_and_growth_is_detected(tmp_path: Path) -> None:
    store = build(tmp_path, keys=("2024-01",))
    num_cut, missed = 0, []
    for path in files(tmp_path):
        content = path.read_bytes()
        for length in [*range(len(content)), len(content) + 1]:
            path.write_bytes(content[:length].ljust(length, b"\0"))
            num_cut += 1
            if not _detected(store, path, tmp_path):
                missed.append((path.name, length))
        path.write_bytes(content)
    print(f"{num_cut} lengths tried, {num_cut - len(missed)} detected")
    assert not missed


def test_an_untouched_reader_refuses_each_wrong_size(tmp_path: Path) -> None:
    store = build(tmp_path)
    for path in files(tmp_path):
        if path.suffix in (".npy", ".arrow"):
            content = path.read_bytes()
            for wrong in (content[:-1], content + b"\0", b""):
                path.write_bytes(wrong)
                with pytest.raises(ShardError, match=path.name):
                    store.snapshot(DATASET)
            path.write_bytes(content)


def test_swapped_files_are_detected(tmp_path: Path) -> None:
    store = build(tmp_path)
    first, second = sorted(tmp_path.glob("*/records/data/*/*/column.x.000000.npy"))
    one, other = first.read_bytes(), second.read_bytes()
    first.write_bytes(other)
    second.write_bytes(one)
    assert len(store.verify(full=True).damages) == 2
    with pytest.raises(ShardError, match="xxh3_128"):
        ShardStore(tmp_path, verify="full").snapshot(DATASET).column("x").read()


def test_links_and_directories_are_refused(tmp_path: Path) -> None:
    root = tmp_path / "root"
    store = build(root)
    path = next(root.glob("*/records/data/*/*/column.x.000000.npy"))
    moved = tmp_path / "outside.npy"
    path.rename(moved)
    path.symlink_to(moved)
    with pytest.raises(ShardError, match="not a regular file"):
        store.snapshot(DATASET)
    path.unlink()
    path.mkdir()
    with pytest.raises(ShardError, match="not a regular file"):
        store.snapshot(DATASET)


def test_an_attempt_that_links_out_of_the_root_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "root"
    store = build(root)
    attempt = next(root.glob("*/records/data/*/*"))
    moved = tmp_path / "outside"
    attempt.rename(moved)
    attempt.symlink_to(moved)
    with pytest.raises(ShardError, match="link"):
        store.snapshot(DATASET)
