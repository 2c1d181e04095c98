"""What one asset did with one partition: the value that every build function returns and Dagster displays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from assets.quality.findings import Finding
from shards import Version


@dataclass(frozen=True, slots=True)
class Report:
    """Outcome of building one asset of one partition.

    Parameters
    ----------
    dataset, asset, partition
        What was built.
    version
        Number of the version that now holds the content.
    created
        False when equal content gave an existing version back.
    content_hash
        Hash of the content, hexadecimal; Dagster's data version.
    rows
        Rows in the version, invalid ones counted in.
    rejects
        Documents or rows that could not be used, by reason.
    size_bytes
        Bytes of all files of the version.
    seconds
        Wall time of the build.
    metadata
        Anything else worth showing, by name (numbers, strings, small JSON); no secrets.
    findings
        What was measured before it was published, every limit kept.
    """

    dataset: str
    asset: str
    partition: str
    version: int
    created: bool
    content_hash: str
    rows: int
    rejects: Mapping[str, int]
    size_bytes: int
    seconds: float
    metadata: Mapping[str, Any] = field(default_factory=dict)
    findings: Sequence[Finding] = ()


@dataclass(frozen=True, slots=True)
class Built:
    """One partition that was built: its report, the version it now has, and the one before."""

    report: Report
    version: Version
    previous: Version | None
