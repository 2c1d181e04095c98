"""Fit and transform of records, from documents on disk to training arrays on disk.

Three numbers standardized, one scaled by its extremes, two vocabularies, one hash, a vector of 32, the
split by hash. Ours builds the `records` and `snapshot` assets: what the peers do, and checks of every
value, statistics, duplicates and leaks, files hashed and read back. The limit is Arrow and NumPy written
for this very table, which asks the kernel to write at the end. The first leg leaves writing to the kernel,
as the peers do; the second one syncs and publishes.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

from assets.columns.build import build_records
from assets.columns.snapshot import build_snapshot
from benchmarks.harness import Suite, requires
from benchmarks.records_data import SPEC, publish
from benchmarks.records_peers import Peers
from shards import ShardStore
from shards.storage import LocalFile, LocalStorage

QUICK_ROWS, ROWS = 400_000, 1_000_000
DICT_ROWS = 20_000


class UnsyncedFile(LocalFile):
    """A file whose pages are written whenever the kernel likes."""

    def sync(self) -> None:
        """Leave it to the kernel."""


class UnsyncedStorage(LocalStorage):
    """Storage for data that only a benchmark reads."""

    def create(self, path: str) -> LocalFile:
        """Create a file that is never synced."""
        file = super().create(path)
        file.__class__ = UnsyncedFile
        return file

    def sync_directory(self, path: str) -> None:
        """Leave it to the kernel."""


def store_of(root: Path, num_rows: int, *, synced: bool) -> ShardStore:
    """Open a store that holds the documents and nothing made from them."""
    publish(ShardStore(root, storage=UnsyncedStorage(root)), num_rows)
    for asset in ("records", "derived", "snapshot"):
        shutil.rmtree(root / SPEC.name / asset, ignore_errors=True)
    return ShardStore(root) if synced else ShardStore(root, storage=UnsyncedStorage(root))


def build(root: Path, num_rows: int, *, synced: bool) -> float:
    """Build both assets; gives rows a second."""
    store = store_of(root, num_rows, synced=synced)
    began = time.perf_counter()
    build_records(SPEC, "all", store=store)
    build_snapshot(SPEC, ["all"], store=store)
    return num_rows / (time.perf_counter() - began)


def anonymous_mb() -> float:
    """Memory of this process that is not backed by files, MiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    return 0.0


def peak_mb(root: Path, num_rows: int, assets: str) -> float:
    """Peak of anonymous memory while building in a fresh process, beyond what imports took, MiB."""
    store_of(root, num_rows, synced=False)
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.records", "--peak", str(root), str(num_rows), assets],
        check=True,
        capture_output=True,
        text=True,
        timeout=600,
    )
    return float(done.stdout)


def print_peak(root: Path, num_rows: int, assets: str) -> None:
    """Build once and print the peak; the child of `peak_mb`."""
    build(root.with_name("warm"), 10_000, synced=False)
    before, peak, ended = anonymous_mb(), [0.0], threading.Event()

    def watch() -> None:
        while not ended.wait(0.01):
            peak[0] = max(peak[0], anonymous_mb())

    watcher = threading.Thread(target=watch)
    watcher.start()
    store = store_of(root, num_rows, synced=False)
    build_records(SPEC, "all", store=store)
    if assets == "both":
        build_snapshot(SPEC, ["all"], store=store)
    ended.set()
    watcher.join()
    print(peak[0] - before)


def main() -> int:
    """Run the benchmark."""
    if sys.argv[1:2] == ["--peak"]:
        print_peak(Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
        return 0
    suite = Suite.from_command_line("records", __doc__)
    num_rows = QUICK_ROWS if suite.quick else ROWS
    root, few, half = (suite.directory / name for name in ("documents", "few", "half"))
    documents = store_of(root, num_rows, synced=False).latest(SPEC.name, "documents")
    small = store_of(few, DICT_ROWS, synced=False).latest(SPEC.name, "documents")
    assert documents is not None
    assert small is not None
    peers = Peers(documents, suite.directory / "peers")
    dicts = Peers(small, suite.directory / "peers")

    def per_dict() -> float:
        began = time.perf_counter()
        dicts.per_dict()
        return DICT_ROWS / (time.perf_counter() - began)

    suite.leg(
        "fit and transform",
        unit="rows/s",
        amount=num_rows,
        ours=lambda: build(root, num_rows, synced=False),
        limit=peers.arrow_numpy,
        peers={
            "Hugging Face map on Arrow": requires("datasets", peers.hugging_face),
            "scikit-learn": requires("sklearn", peers.scikit_learn),
            "dict by dict": per_dict,
        },
        goals={"vs_best_peer": ">= 2.5", "ours": ">= 1200000"},
    )
    suite.leg(
        "fit, transform, sync and publish",
        unit="rows/s",
        ours=lambda: build(root, num_rows, synced=True),
        limit=lambda: build(root, num_rows, synced=False),
    )
    for assets, name in (("records", "records"), ("both", "records and snapshot")):
        suite.leg(
            f"peak memory, {name} (limit: half of the rows)",
            unit="MiB",
            better="lower",
            rounds=1 if suite.quick else 3,
            warm_up=False,
            ours=lambda assets=assets: peak_mb(root, num_rows, assets),  # type: ignore[misc]
            limit=lambda assets=assets: peak_mb(half, num_rows // 2, assets),  # type: ignore[misc]
            goals={"vs_limit": "<= 1.2"} if assets == "records" and not suite.quick else {},
        )
    return suite.finish()


if __name__ == "__main__":
    sys.exit(main())
