"""Checks that guard a snapshot: no picture in two splits, and every file that it names is there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt

from assets.quality.findings import Finding, at_most
from assets.spec import DatasetSpec
from shards import DamagedFile, Version

ALL = "all"


def damaged(error: DamagedFile) -> Finding:
    """Return the finding that a version to be pinned could not be opened."""
    return Finding("integrity", ALL, "files", str(error), "as their manifests say", False)


def snapshot_findings(
    spec: DatasetSpec,
    splits: Mapping[str, npt.NDArray[np.int64]],
    versions: Sequence[Sequence[Version]],
) -> Iterator[Finding]:
    """Yield what was measured of a snapshot that is to be.

    Parameters
    ----------
    spec
        The dataset.
    splits
        Rows of every split, numbered over all partitions.
    versions
        Versions of every partition, whose files were found as their manifests say when they were opened.
    """
    num_files = sum(version.num_files for group in versions for version in group)
    yield Finding("integrity", ALL, "files", num_files, "as their manifests say", True)
    limit = spec.checks.max_split_leaks
    for name in spec.image_columns:
        hashes = _hashes(f"{name}__source", versions)
        if hashes is None:
            continue
        for first, second in combinations(splits, 2):
            shared = np.intersect1d(hashes[splits[first]], hashes[splits[second]])
            shared = shared[shared != np.zeros(1, shared.dtype)]  # rows without a picture
            yield at_most("split_leakage", ALL, f"{name}s in {first} and {second}", len(shared), limit)


def _hashes(column: str, versions: Sequence[Sequence[Version]]) -> npt.NDArray[np.void] | None:
    """Return the hash of the bytes behind every row's picture, zeros where there is none."""
    holders = [version for group in versions for version in group if column in version.columns]
    if len(holders) < len(versions):
        return None
    values = np.concatenate([np.asarray(version.column(column).read()) for version in holders])
    return np.ascontiguousarray(values).view(f"V{values[:1].nbytes or 1}").reshape(-1)
