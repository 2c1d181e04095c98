"""Checks of pictures that warn: few blank or (nearly) repeated ones, and no more disk than was declared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from assets.quality.findings import Finding, at_most
from assets.report import Built
from assets.spec import DatasetSpec
from assets.spec.storing import GIB, automatic
from shards import ShardStore


def picture_findings(spec: DatasetSpec, built: Built, store: ShardStore) -> Iterator[Finding]:
    """Yield what was measured of one partition's pictures."""
    version = built.version
    limits = {
        "blank": spec.checks.max_blank_image_share,
        "duplicate": spec.checks.max_duplicate_share,
        "near_duplicate": spec.checks.max_near_duplicate_share,
    }
    counts = {"blank": "num_blank", "duplicate": "num_duplicates", "near_duplicate": "num_near_duplicates"}
    for name, found in version.statistics.items():
        if not isinstance(found, Mapping) or "num_present" not in found:
            continue
        present = max(_number(found["num_present"]), 1)
        for what, limit in limits.items():
            if counts[what] in found:  # near duplicates are counted where a perceptual hash is stored
                share = _number(found[counts[what]]) / present
                yield at_most(f"{what}_share", version.partition, name, share, float(limit))


def budget_findings(spec: DatasetSpec, built: Built, store: ShardStore) -> Iterator[Finding]:
    """Yield what the pictures of `store: auto` take on disk, over all partitions of a snapshot."""
    names = automatic(spec)
    if not names:
        return
    images = store.snapshot(spec.name, built.version.number).versions["images"]
    num_bytes = sum(shard.bytes for one in images for name in names for shard in one.column_shards(name))
    limit = float(spec.storage.pictures_gb or 0)
    yield at_most("picture_budget", "all", f"GiB of {', '.join(names)}", num_bytes / GIB, limit)


def _number(value: Any) -> int:
    return int(value)
