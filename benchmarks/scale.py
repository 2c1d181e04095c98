"""A dataset of 10^9 rows in 10^5 shards: opening a snapshot, planning an epoch, resuming in its middle.

Manifests and the index of the split are real, files of rows are sparse: they have their sizes and headers and
take no room. Each figure is taken in a process of its own, after its imports, with the index taken out of the
page cache. What is measured does not depend on how long a row is.

The first batch of a full shuffle maps a file for nearly each of its rows, and those after it go on with that:
how long the first `MANY_BATCHES` take is printed, too. Beside opening, memory and manifests stand the numbers
of the cost model in docs/scale.md.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from benchmarks.harness import Suite, evict
from shards import Column, names, npy
from shards.manifest import ColumnEntry, IndexEntry, Manifest, Pin, Shard, SnapshotEntry, dump, hash_content

COLUMN = Column("label", "npy", "|u1")
DATASET, ASSET = "scale", "records"
CREATED = datetime(2026, 1, 1, tzinfo=timezone.utc)
BATCH = 256
ROWS_AT_ONCE = 10_000_000
MANY_BATCHES = 64
ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Cost:
    """What docs/scale.md says that something costs: in all, for each manifest and for each shard."""

    base: float
    manifest: float
    shard: float

    def of(self, num_manifests: int, num_shards: int) -> float:
        """Add it up."""
        return self.base + self.manifest * num_manifests + self.shard * num_shards


MANIFESTS = Cost(0, 700, 107)  # bytes
OPENING = Cost(0.04, 270e-6, 3.2e-6)  # seconds; the first is for looking at 10,000 files
MEMORY = Cost(0, 1700, 390)  # bytes of a snapshot that was opened


def make(root: Path, num_partitions: int, shards_a_partition: int, rows_a_shard: int) -> None:
    """Write the store, unless it stands: headers, sizes, manifests, one snapshot with one split."""
    done = root / f"made-whole-{num_partitions}-{shards_a_partition}-{rows_a_shard}"
    if done.exists():
        return
    head = npy.header(COLUMN.dtype, rows_a_shard, ())
    size_bytes = len(head) + rows_a_shard
    rows = shards_a_partition * rows_a_shard
    pins, partitions = {}, []
    for number in range(num_partitions):
        key = f"p{number:06d}"
        attempt = f"20260101t000000-{number:016x}"
        directory = root / names.data_directory(DATASET, ASSET, key) / attempt
        directory.mkdir(parents=True, exist_ok=True)
        shards = []
        for position in range(shards_a_partition):
            name = names.file_name("column", COLUMN.name, position, "npy")
            sparse(directory / name, head, size_bytes)
            digest = xxhash.xxh3_128_hexdigest(f"{key}/{name}".encode())  # no byte is verified
            shards.append(Shard(name, rows_a_shard, size_bytes, digest))
        manifest = Manifest(
            DATASET, ASSET, key, 1, CREATED, attempt, rows, columns=(ColumnEntry(COLUMN, tuple(shards)),)
        )
        pins[key] = Pin(1, publish(root, manifest))
        partitions.append((key, rows))
    publish(root, snapshot(root, pins, partitions))
    done.touch()


def snapshot(root: Path, pins: dict[str, Pin], partitions: list[tuple[str, int]]) -> Manifest:
    """Write the index of a split of all rows but five, and describe the snapshot."""
    num_rows = sum(rows for _, rows in partitions)
    attempt = f"20260101t000000-{'f' * 16}"
    directory = root / names.data_directory(DATASET, names.SNAPSHOT, "all") / attempt
    directory.mkdir(parents=True, exist_ok=True)
    name = names.file_name("index", "train", 0, "npy")
    head = npy.header("<u4", num_rows - 5, ())
    size_bytes = len(head) + 4 * (num_rows - 5)
    with (directory / name).open("wb") as file:
        file.write(head)
        for start in range(0, num_rows, ROWS_AT_ONCE):
            rows = np.arange(start, min(start + ROWS_AT_ONCE, num_rows), dtype="<u4")
            file.write(rows[(rows < num_rows // 2) | (rows >= num_rows // 2 + 5)].tobytes())
    entry = SnapshotEntry(
        pins={ASSET: pins},
        partitions=tuple(partitions),
        splits=(IndexEntry("train", "<u4", (Shard(name, num_rows - 5, size_bytes, "0" * 32),)),),
        subsets=(),
        vocabularies=(),
        transforms={},
    )
    return Manifest(DATASET, names.SNAPSHOT, "all", 1, CREATED, attempt, num_rows, snapshot=entry)


def sparse(path: Path, head: bytes, size_bytes: int) -> None:
    """Write a file that has a head and a size and nothing behind."""
    with path.open("wb") as file:
        file.write(head)
        file.truncate(size_bytes)


def publish(root: Path, manifest: Manifest) -> str:
    """Write a manifest; the hash of its content."""
    manifest = replace(manifest, content_hash=hash_content(manifest))
    directory = root / names.manifest_directory(manifest.dataset, manifest.asset, manifest.partition)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / names.manifest_name(manifest.number)).write_bytes(dump(manifest))
    return manifest.content_hash


def anonymous_bytes() -> int:
    """Memory of this process that is its own: pages of mapped files belong to the system's cache."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon")) * 1024


def measure(root: str) -> dict[str, float]:
    """Do in turn what is measured; seconds of each, and megabytes of memory above the imports."""
    from loaders import ShardDataset

    before = anonymous_bytes()
    found: dict[str, float] = {}

    def took(name: str, start: float) -> None:
        found[name] = time.perf_counter() - start
        found["memory"] = max(found.get("memory", 0.0), (anonymous_bytes() - before) / 1e6)

    start = time.perf_counter()
    dataset = ShardDataset(f"{root}/{DATASET}", lease_seconds=None)
    took("open", start)
    found["memory open"] = found["memory"]
    for shuffle in ("full", "block"):
        start = time.perf_counter()
        loader = dataset.loader(BATCH, shuffle=shuffle, num_threads=1, prefetch=1)
        batches = iter(loader)
        next(batches)
        took(f"plan {shuffle}", start)
        batches.close()
        state: dict[str, Any] = loader.state_dict()
        state["position"] = len(dataset) // 2
        start = time.perf_counter()
        loader = dataset.loader(BATCH, shuffle=shuffle, num_threads=1, prefetch=1)
        loader.load_state_dict(state)
        batches = iter(loader)
        next(batches)
        took(f"resume {shuffle}", start)
        batches.close()
    loader = dataset.loader(BATCH, shuffle="full", seed=1, num_threads=1)
    start = time.perf_counter()
    batches = iter(loader)
    for _ in range(MANY_BATCHES):
        next(batches)
    took("many full", start)
    batches.close()
    return found


def alone(root: Path) -> dict[str, float]:
    """Measure in a process of its own, with a cold index."""
    evict((root / names.data_directory(DATASET, names.SNAPSHOT, "all")).rglob("index.*"))
    code = f"import json; from benchmarks.scale import measure; print(json.dumps(measure({str(root)!r})))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def manifest_bytes(root: Path) -> int:
    """Bytes of the manifests of all partitions."""
    directory = root / DATASET / ASSET / "manifests"
    return sum(path.stat().st_size for path in directory.rglob("*.json"))


def main() -> int:
    """Run the benchmark."""
    suite = Suite.from_command_line("scale", __doc__)
    num_partitions, shards_a_partition, rows_a_shard = (
        (100, 100, 10_000) if suite.quick else (1000, 100, 10_000)
    )
    root = suite.directory / f"store-{num_partitions}"
    make(root, num_partitions, shards_a_partition, rows_a_shard)
    alone(root)  # once unmeasured, so that the manifests are in the page cache
    runs = [alone(root) for _ in range(ROUNDS)]

    scale = f"{num_partitions * shards_a_partition * rows_a_shard:.0e} rows"
    for name, title, unit, goal in (
        ("open", "open", "s", "<= 1"),
        ("plan full", "plan full", "s", "<= 1"),
        ("plan block", "plan block", "s", "<= 1"),
        ("resume full", "resume full", "s", "<= 1"),
        ("resume block", "resume block", "s", "<= 1"),
        ("many full", f"the first {MANY_BATCHES} batches of a full shuffle", "s", None),
        ("memory", "memory above that of the imports, peak", "MB", "<= 500"),
    ):
        told = iter([found[name] for found in runs])
        suite.leg(
            f"{scale}: {title}",
            unit=unit,
            ours=lambda told=told: next(told),  # type: ignore[misc]
            goals={"ours": goal} if goal else None,
            better="lower",
            rounds=ROUNDS,
            warm_up=False,
        )
    sizes = num_partitions, num_partitions * shards_a_partition
    for title, unit, ours, model in (
        ("opening", "s", [found["open"] for found in runs], OPENING.of(*sizes)),
        ("memory when opened", "MB", [found["memory open"] for found in runs], MEMORY.of(*sizes) / 1e6),
        ("manifests", "MB", [manifest_bytes(root) / 1e6], MANIFESTS.of(*sizes) / 1e6),
    ):
        told = iter(ours)
        suite.leg(
            f"{scale}: {title}; the limit is the cost model's",
            unit=unit,
            ours=lambda told=told: next(told),  # type: ignore[misc]
            limit=lambda model=model: model,  # type: ignore[misc]
            goals={"vs_limit": "<= 1.25"},
            better="lower",
            rounds=len(ours),
            warm_up=False,
        )
    return suite.finish()


if __name__ == "__main__":
    sys.exit(main())
