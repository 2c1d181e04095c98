"""How a dataset is checked, refreshed, run and kept."""

from __future__ import annotations

import re
from typing import Annotated, Literal
from zoneinfo import available_timezones

from pydantic import AfterValidator, Field

from assets.spec.base import Bool, Int, Model, Name, Number, Str

_CRON_FIELDS = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of month", 1, 31, ()),
    ("month", 1, 12, ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")),
    ("day of week", 0, 7, ("sun", "mon", "tue", "wed", "thu", "fri", "sat")),
)
_CRON_PART = re.compile(r"^(\*|[0-9a-z]+(?:-[0-9a-z]+)?)(?:/([1-9][0-9]*))?$")


def check_cron(text: str) -> str:
    """Refuse a cron expression that is not five fields within their bounds."""
    parts = text.lower().split()
    if len(parts) != len(_CRON_FIELDS):
        raise ValueError(
            f"a cron expression has five fields (minute hour day month weekday), got {len(parts)} in {text!r}"
        )
    for part, (name, low, high, words) in zip(parts, _CRON_FIELDS, strict=True):
        for choice in part.split(","):
            match = _CRON_PART.match(choice)
            ends = [] if match is None or match[1] == "*" else match[1].split("-")
            numbers = [
                words.index(end) + low if end in words else int(end) for end in ends if _known(end, words)
            ]
            if match is None or len(numbers) < len(ends) or any(not low <= n <= high for n in numbers):
                raise ValueError(f"cron field {name}: got {choice!r}; allowed: * or {low} to {high}")
            if numbers != sorted(numbers):
                raise ValueError(f"cron field {name}: the range {choice!r} runs backwards")
    return text


def _known(end: str, words: tuple[str, ...]) -> bool:
    return end.isdigit() or end in words


ZONES_ALLOWED = "allowed: an IANA name such as UTC or Europe/Berlin"


def check_timezone(name: str) -> str:
    """Refuse a name that is not in the IANA time zone database."""
    if name not in available_timezones():
        raise ValueError(f"unknown time zone {name!r}; {ZONES_ALLOWED}")
    return name


Share = Annotated[Number, Field(ge=0, le=1)]
Cron = Annotated[Str, AfterValidator(check_cron)]
Timezone = Annotated[Str, AfterValidator(check_timezone)]


class Checks(Model):
    """Thresholds of the asset checks; a share is a number from 0 to 1."""

    max_reject_share: Share = Field(0.05, description="Documents or rows that may be rejected; blocking.")
    max_null_share: Share = Field(
        1.0, description="Rows in which any column may be absent, wholly or in part."
    )
    max_broken_image_share: Share = Field(0.05, description="Pictures that may be broken; blocking.")
    max_blank_image_share: Share = Field(1.0, description="Pictures of one colour.")
    max_duplicate_share: Share = Field(1.0, description="Pictures that repeat an earlier one's bytes.")
    max_near_duplicate_share: Share = Field(1.0, description="Pictures that look as an earlier one.")
    max_split_leaks: Int = Field(0, ge=0, description="Pictures that may be in two splits; blocking.")
    max_row_difference: Share = Field(
        0.0, description="Difference of rows and rejects from the server's count; blocking."
    )
    drift_psi: Number = Field(0.25, gt=0, description="Population stability index against the last snapshot.")
    ranges: dict[Name, tuple[Number, Number]] = Field(
        default_factory=dict, description="Lowest and highest value of a column; blocking."
    )
    fresh_within_hours: Number | None = Field(None, gt=0, description="Age that the snapshot may reach.")


class Refresh(Model):
    """How the dataset follows its collection."""

    schedule: Cron | None = Field(None, description="Cron expression: the last window and the look-back.")
    look_back: Int = Field(0, ge=0, description="Windows before the last one that a schedule reads again.")
    automation: Bool = Field(False, description="Declarative automation on the observed source.")
    watch: Bool = Field(False, description="A change-stream sensor.")
    debounce_seconds: Number = Field(30, ge=0, description="Quiet time before a watched change is read.")
    observe_seconds: Int = Field(
        300,
        ge=10,
        description="Interval at which the source is hashed in the server: by `automation`, and by `watch` "
        "where the server has no change stream.",
    )
    timezone: Timezone = Field("UTC", description="Time zone of `schedule` and of `storage.gc`.")


class Runs(Model):
    """How runs are cut and repeated."""

    partitions_per_run: Int = Field(12, ge=1, description="Partitions that one run of a backfill takes.")
    retries: Int = Field(2, ge=0, le=10, description="Repeats after an error that can pass.")
    retry_seconds: Number = Field(5, gt=0, description="Wait before the first repeat; doubles each time.")


class Storage(Model):
    """How shards are written and how long versions are kept."""

    shard_mb: Int = Field(256, ge=1, le=4096, description="Upper bound of a shard, MiB.")
    pictures_gb: Number | None = Field(
        None, gt=0, description="Disk for the pictures of `store: auto`, of one version of all rows, GiB."
    )
    expected_rows: Int | None = Field(
        None, ge=1, description="Rows that the dataset will have; `store: auto` is chosen for so many."
    )
    keep_versions: Int = Field(3, ge=1, description="Versions that gc keeps of every partition.")
    gc: Cron | None = Field(None, description="Cron expression: the gc job runs then; never by itself else.")
    verify: Literal["full", "sizes"] = Field("full", description="What the verify job compares.")
