"""What a run may be told in the launchpad."""

from __future__ import annotations

import dagster as dg
from pydantic import Field


class ReadConfig(dg.Config):
    """How `documents` and `images` of a run come about."""

    re_read: bool = Field(
        False,
        description="Read every document, decode every picture, even where nothing seems to have changed.",
    )


class TrialConfig(dg.Config):
    """A trial: read and build some partitions, show what came of it, publish nothing."""

    first_partition: str = Field("", description="First partition key; empty for the first there is.")
    last_partition: str = Field("", description="Last partition key; empty for the first one alone.")
    limit: int = Field(1000, ge=0, description="Documents read of each partition; 0 for all.")


class GcConfig(dg.Config):
    """Which versions the gc job removes."""

    keep_versions: int = Field(
        0, ge=0, description="Versions kept of every partition; 0 for storage.keep_versions."
    )
    grace_hours: float = Field(24.0, ge=0, description="Age below which nothing is removed.")
    dry_run: bool = Field(False, description="Say what would be removed, remove nothing.")


class VerifyConfig(dg.Config):
    """What the verify job compares."""

    full: bool | None = Field(None, description="Hashes as well as sizes; storage.verify when absent.")
