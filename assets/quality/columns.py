"""Checks of record columns, from the summaries that their partitions keep; no row is read again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from assets.columns.stats.summary import Summary
from assets.quality.drift import counts_psi, histogram_psi
from assets.quality.findings import Finding, at_most
from assets.spec import DatasetSpec

Summaries = Mapping[str, Summary]


def null_shares(spec: DatasetSpec, partition: str, summaries: Summaries) -> Iterator[Finding]:
    """Yield the share of absent values of every column."""
    for name, summary in summaries.items():
        share = summary.missing / max(summary.rows, 1)
        yield at_most("null_share", partition, name, share, float(spec.checks.max_null_share))


def value_ranges(spec: DatasetSpec, partition: str, summaries: Summaries) -> Iterator[Finding]:
    """Yield the extremes of every column that has a declared range."""
    for name, (low, high) in spec.checks.ranges.items():
        summary = summaries.get(name)
        if summary is None or summary.values is None or not summary.values.moments.count.any():
            continue
        least = float(np.min(summary.values.moments.minimum))
        most = float(np.max(summary.values.moments.maximum))
        yield Finding(
            "value_ranges",
            partition,
            name,
            f"{least:g} to {most:g}",
            f"{low:g} to {high:g}",
            low <= least and most <= high,
        )


def drifts(spec: DatasetSpec, partition: str, new: Summaries, old: Summaries) -> Iterator[Finding]:
    """Yield how far each column has moved from what `old` says of it.

    Left out is the column that tells partitions apart: one partition holds one part of it.
    """
    limit, cut_by = float(spec.checks.drift_psi), getattr(spec.partitions, "field", None)
    for name, summary in new.items():
        before = old.get(name)
        if before is None or cut_by in spec.paths_of(name):
            continue
        if summary.counts is not None and before.counts is not None:
            yield at_most("category_drift", partition, name, counts_psi(summary.counts, before.counts), limit)
        elif _histogram(summary) is not None and _histogram(before) is not None:
            moved = histogram_psi(_histogram(summary), _histogram(before))
            yield at_most("distribution_drift", partition, name, moved, limit)


def _histogram(summary: Summary) -> Any:
    return None if summary.values is None else summary.values.histogram
