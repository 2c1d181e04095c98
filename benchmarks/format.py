"""The shard format against plain files: writing, opening many shards, verifying, committing little."""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from benchmarks.harness import Suite
from shards import Column, ShardStore
from shards.limits import MAX_MANIFEST_BYTES
from shards.parse import parse
from shards.storage import LocalFile, LocalStorage

ROW_BYTES = 64 * 64 * 3
NUM_SHARDS = 10_000
READ_BYTES = 1 << 20


class _UnsyncedFile(LocalFile):
    def sync(self) -> None:
        """Leave it to the kernel; for data that only a benchmark reads."""


class _UnsyncedStorage(LocalStorage):
    def create(self, path: str) -> LocalFile:
        file = super().create(path)
        file.__class__ = _UnsyncedFile
        return file

    def sync_directory(self, path: str) -> None:
        """Leave it to the kernel."""


def _clear(directory: Path) -> Path:
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    return directory


def _write_leg(suite: Suite) -> None:
    num_rows = (64 << 20 if suite.quick else 512 << 20) // ROW_BYTES
    rows = np.random.default_rng(0).integers(0, 256, (num_rows, 64, 64, 3), np.uint8)
    ours, theirs = suite.directory / "write-ours", suite.directory / "write-theirs"
    shard_rows = (256 << 20) // ROW_BYTES

    def write_shards() -> float:
        store = ShardStore(_clear(ours))
        began = time.perf_counter()
        with store.begin("bench", "images") as attempt:
            writer = attempt.column(Column("image", "npy", "|u1", (64, 64, 3), kind="image"))
            for start in range(0, num_rows, 1024):
                writer.append(rows[start : start + 1024])
            attempt.commit()
        return rows.nbytes / (time.perf_counter() - began) / 1e6

    def save_plain() -> float:
        _clear(theirs)
        began = time.perf_counter()
        for position, start in enumerate(range(0, num_rows, shard_rows)):
            with (theirs / f"{position}.npy").open("wb") as file:
                np.save(file, rows[start : start + shard_rows])
                file.flush()
                os.fsync(file.fileno())
        return rows.nbytes / (time.perf_counter() - began) / 1e6

    suite.leg(
        "write one dense column, synced and verified",
        unit="MB/s",
        ours=write_shards,
        limit=save_plain,
        goals={"vs_limit": ">= 0.8"},
    )


def _open_leg(suite: Suite) -> None:
    root = _clear(suite.directory / "open")
    store = ShardStore(root, storage=_UnsyncedStorage(root))
    with store.begin("bench", "images", shard_bytes=8) as attempt:
        attempt.column(Column("x", "npy", "<f8")).append(np.zeros(NUM_SHARDS))
        attempt.commit()
    [path] = root.glob("bench/images/manifests/all/*.json")
    relative = str(path.relative_to(root))
    plain = ShardStore(root)

    def beyond_the_manifest() -> float:
        began = time.perf_counter()
        parse(relative, plain.storage.read(relative, MAX_MANIFEST_BYTES))
        read = time.perf_counter()
        version = plain.version("bench", "images", "all", 1)
        version.column("x")
        opened = time.perf_counter()
        return ((opened - read) - (read - began)) * 1e3

    def manifest_alone() -> float:
        began = time.perf_counter()
        parse(relative, plain.storage.read(relative, MAX_MANIFEST_BYTES))
        return (time.perf_counter() - began) * 1e3

    suite.leg(
        f"open {NUM_SHARDS:,} shards, beyond reading the manifest",
        unit="ms",
        ours=beyond_the_manifest,
        peers={"reading the manifest": manifest_alone},
        goals={"ours": "<= 50"},
        better="lower",
    )


def _verify_leg(suite: Suite) -> None:
    root = _clear(suite.directory / "verify")
    store = ShardStore(root, storage=_UnsyncedStorage(root))
    num_rows = (256 << 20 if suite.quick else 1 << 30) // ROW_BYTES
    batch: npt.NDArray[Any] = np.random.default_rng(1).integers(0, 256, (1024, 64, 64, 3), np.uint8)
    with store.begin("bench", "images", shard_bytes=64 << 20) as attempt:
        writer = attempt.column(Column("image", "npy", "|u1", (64, 64, 3), kind="image"))
        for _ in range(num_rows // 1024):
            writer.append(batch)
        attempt.commit()
    plain = ShardStore(root)
    files = sorted(root.glob("bench/images/data/all/*/*.npy"))
    size = sum(path.stat().st_size for path in files)

    def verify() -> float:
        began = time.perf_counter()
        assert not plain.verify(full=True).damages
        return size / (time.perf_counter() - began) / 1e6

    def read_and_hash() -> float:
        began = time.perf_counter()
        buffer = memoryview(bytearray(READ_BYTES))
        for path in files:
            state = xxhash.xxh3_128()
            with path.open("rb", buffering=0) as file:
                while count := file.readinto(buffer):
                    state.update(buffer[:count])
        return size / (time.perf_counter() - began) / 1e6

    suite.leg(
        "verify in full, warm",
        unit="MB/s",
        ours=verify,
        limit=read_and_hash,
        goals={"vs_limit": ">= 0.7"},
    )


def _small_commit_leg(suite: Suite) -> None:
    root = _clear(suite.directory / "small")
    store = ShardStore(root)
    seeds = iter(range(1 << 30))
    num_commits = 5 if suite.quick else 20

    def commits() -> None:
        for _ in range(num_commits):
            seed = next(seeds)
            with store.begin("bench", "records") as attempt:
                for name in ("a", "b", "c"):
                    attempt.column(Column(name, "npy", "<f4")).append(np.full(1000, seed, "<f4"))
                words = attempt.column(Column("t", "arrow", arrow_type="large_string", kind="text"))
                words.append(pa.array([str(seed)] * 1000, pa.large_string()))
                attempt.commit()

    def bare_fsyncs() -> float:
        place = _clear(suite.directory / "bare")
        began = time.perf_counter()
        for position in range(num_commits):
            for name in ("a", "b", "c", "t", "manifest"):
                with (place / f"{position}-{name}").open("wb") as file:
                    file.write(bytes(4000))
                    file.flush()
                    os.fsync(file.fileno())
        return num_commits / (time.perf_counter() - began)

    suite.leg(
        "commit four small columns", unit="commits/s", amount=num_commits, ours=commits, limit=bare_fsyncs
    )


def main() -> int:
    """Measure and print."""
    suite = Suite.from_command_line("format", __doc__)
    _write_leg(suite)
    _open_leg(suite)
    _verify_leg(suite)
    _small_commit_leg(suite)
    for name in ("write-ours", "write-theirs", "open", "verify", "small", "bare"):
        shutil.rmtree(suite.directory / name, ignore_errors=True)
    return suite.finish()


if __name__ == "__main__":
    sys.exit(main())
