"""Checks of `records`: few rejects and gaps, values in range, distributions where they were."""

from __future__ import annotations

from collections.abc import Iterator

from assets.quality.columns import drifts, null_shares, value_ranges
from assets.quality.findings import Finding, at_most
from assets.quality.summaries import summaries
from assets.report import Report
from assets.spec import DatasetSpec
from shards import ShardStore, Version


def record_findings(
    spec: DatasetSpec, report: Report, version: Version, previous: Version | None, store: ShardStore
) -> Iterator[Finding]:
    """Yield what was measured of one partition's records."""
    share = sum(report.rejects.values()) / max(report.rows, 1)
    yield at_most("reject_share", report.partition, "rows", share, float(spec.checks.max_reject_share))
    found = summaries(version.statistics)
    yield from null_shares(spec, report.partition, found)
    yield from value_ranges(spec, report.partition, found)
    snapshot = store.latest(spec.name, "snapshot")
    if snapshot is not None:
        yield from drifts(spec, report.partition, found, summaries(snapshot.statistics))
