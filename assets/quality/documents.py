"""Checks of `documents` that warn: the same fields, and the same rejects, as before."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from assets.quality.findings import Finding, at_most
from assets.report import Built
from assets.spec import DatasetSpec
from shards import ShardStore, Version

MAX_GROWTH = 0.01
"""Share by which rejects of one reason may grow from one version to the next without being named."""


def document_findings(spec: DatasetSpec, built: Built, store: ShardStore) -> Iterator[Finding]:
    """Yield how one partition's documents differ from the version before."""
    version, previous = built.version, built.previous
    if previous is not None and previous.number != version.number:
        yield from _drift(version, previous)


def _drift(version: Version, previous: Version) -> Iterator[Finding]:
    new, old = _fields(version), _fields(previous)
    for name in [*old, *(name for name in new if name not in old)]:
        before, after = old.get(name, "absent"), new.get(name, "absent")
        yield Finding("schema_drift", version.partition, name, after, before, before == after)
    before_shares, after_shares = _reject_shares(previous), _reject_shares(version)
    for reason, share in after_shares.items():
        allowed = before_shares.get(reason, 0.0) + MAX_GROWTH
        yield at_most("schema_drift", version.partition, f"rejects: {reason}", share, round(allowed, 6))


def _fields(version: Version) -> dict[str, str]:
    schema: pa.Schema = version.table("documents").schema
    return {field.name: str(field.type) for field in schema}


def _reject_shares(version: Version) -> dict[str, float]:
    table = version.table("rejects").read()
    counts = table.column("reason").value_counts().to_pylist()
    total = max(version.num_rows + table.num_rows, 1)
    return {str(entry["values"]): entry["counts"] / total for entry in counts}
