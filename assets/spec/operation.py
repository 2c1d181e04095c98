"""How a dataset is checked, refreshed and kept."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from assets.spec.base import Bool, Int, Model, Name, Number, Str

Share = Annotated[Number, Field(ge=0, le=1)]


class Checks(Model):
    """Thresholds of the asset checks."""

    max_reject_share: Share = 0.05
    max_null_share: Share = 1.0
    max_broken_image_share: Share = 0.05
    max_blank_image_share: Share = 1.0
    max_duplicate_share: Share = 1.0
    max_split_leaks: Int = 0
    drift_psi: Number = Field(0.25, gt=0)
    ranges: dict[Name, tuple[Number, Number]] = Field(default_factory=dict)
    fresh_within_hours: Number | None = Field(None, gt=0)


class Refresh(Model):
    """How the dataset follows its collection."""

    schedule: Str | None = Field(None, description="Cron expression: the last window and the look-back.")
    look_back: Int = Field(0, ge=0, description="Windows before the last one that a schedule reads again.")
    automation: Bool = Field(False, description="Declarative automation on the observed source.")
    watch: Bool = Field(False, description="A change-stream sensor.")
    debounce_seconds: Number = Field(30, ge=0)
    timezone: Str = "UTC"


class Storage(Model):
    """How shards are written and how long versions are kept."""

    shard_mb: Int = Field(256, ge=1, le=4096, description="Upper bound of a shard, MiB.")
    keep_versions: Int = Field(3, ge=1)
    verify: Literal["full", "sizes"] = "full"
