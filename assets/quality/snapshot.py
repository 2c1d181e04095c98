"""Checks of a snapshot: no content in two splits, and every file that it names is there."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np
import numpy.typing as npt

from assets.quality.findings import Finding, at_most
from assets.report import Report
from assets.spec import DatasetSpec
from shards import ShardError, ShardStore, Snapshot, Version


def snapshot_findings(
    spec: DatasetSpec, report: Report, version: Version, previous: Version | None, store: ShardStore
) -> Iterator[Finding]:
    """Yield what was measured of a snapshot."""
    try:
        snapshot = store.snapshot(spec.name, version.number)
    except ShardError as error:
        yield Finding("integrity", report.partition, "files", str(error), "as their manifests say", False)
        return
    files = [file for made in snapshot.versions.values() for one in made for file in one.files()]
    yield Finding("integrity", report.partition, "files", len(files), "as their manifests say", True)
    yield from _leaks(spec, report.partition, snapshot)


def _leaks(spec: DatasetSpec, partition: str, snapshot: Snapshot) -> Iterator[Finding]:
    limit = spec.checks.max_split_leaks
    rows = {split: np.asarray(snapshot.index(split)).astype(np.int64) for split in snapshot.splits}
    for first, second in combinations(rows, 2):
        shared = len(np.intersect1d(rows[first], rows[second], assume_unique=True))
        yield at_most("split_leakage", partition, f"rows in {first} and {second}", shared, limit)
    for name in spec.image_columns:
        if f"{name}__source" not in snapshot.columns:
            continue
        pictures = _hashes(snapshot, f"{name}__source")
        for first, second in combinations(rows, 2):
            shared = len(np.intersect1d(pictures[rows[first]], pictures[rows[second]]))
            yield at_most("split_leakage", partition, f"{name}s in {first} and {second}", shared, limit)


def _hashes(snapshot: Snapshot, column: str) -> npt.NDArray[np.void]:
    values = np.ascontiguousarray(snapshot.column(column).read())
    return values.view(f"V{values.shape[1]}").reshape(-1)
