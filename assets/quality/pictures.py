"""Checks of `images` that warn: few blank or repeated pictures; from what the build counted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from assets.quality.findings import Finding, at_most
from assets.report import Built
from assets.spec import DatasetSpec
from shards import ShardStore


def picture_findings(spec: DatasetSpec, built: Built, store: ShardStore) -> Iterator[Finding]:
    """Yield what was measured of one partition's pictures."""
    limits, version = spec.checks, built.version
    for name, found in version.statistics.items():
        if not isinstance(found, Mapping) or "num_present" not in found:
            continue
        present = max(_number(found["num_present"]), 1)
        blank, repeated = _number(found["num_blank"]), _number(found["num_duplicates"])
        yield at_most(
            "blank_share", version.partition, name, blank / present, float(limits.max_blank_image_share)
        )
        yield at_most(
            "duplicate_share", version.partition, name, repeated / present, float(limits.max_duplicate_share)
        )


def _number(value: Any) -> int:
    return int(value)
