"""Checks of `images`: few broken, blank or repeated pictures; from what the build counted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from assets.quality.findings import Finding, at_most
from assets.report import Report
from assets.spec import DatasetSpec
from shards import ShardStore, Version


def picture_findings(
    spec: DatasetSpec, report: Report, version: Version, previous: Version | None, store: ShardStore
) -> Iterator[Finding]:
    """Yield what was measured of one partition's pictures."""
    limits, broken = spec.checks, sum(report.rejects.values())
    yield at_most(
        "broken_share",
        report.partition,
        "pictures",
        broken / max(report.rows, 1),
        float(limits.max_broken_image_share),
    )
    for name, found in version.statistics.items():
        if not isinstance(found, Mapping) or "num_present" not in found:
            continue
        present = max(_number(found["num_present"]), 1)
        blank, repeated = _number(found["num_blank"]), _number(found["num_duplicates"])
        yield at_most(
            "blank_share", report.partition, name, blank / present, float(limits.max_blank_image_share)
        )
        yield at_most(
            "duplicate_share", report.partition, name, repeated / present, float(limits.max_duplicate_share)
        )


def _number(value: Any) -> int:
    return int(value)
