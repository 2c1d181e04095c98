"""Checks of `records` that warn: distributions are where they were in the last snapshot."""

from __future__ import annotations

from collections.abc import Iterator

from assets.quality.columns import drifts
from assets.quality.findings import Finding
from assets.quality.summaries import summaries
from assets.report import Built
from assets.spec import DatasetSpec
from shards import ShardStore


def record_findings(spec: DatasetSpec, built: Built, store: ShardStore) -> Iterator[Finding]:
    """Yield how far one partition's records have drifted."""
    snapshot = store.latest(spec.name, "snapshot")
    if snapshot is not None:
        found = summaries(built.version.statistics)
        yield from drifts(spec, built.version.partition, found, summaries(snapshot.statistics))
