"""How rows are divided into splits, subsets and balanced sets."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import Field

from assets.spec.base import Int, Model, Name, Number, Path, Str


class HashSplits(Model):
    """By a keyed hash of `_id` or of a group field: a row never moves as data are added."""

    by: Literal["hash"] = "hash"
    fractions: dict[Name, Number] = Field(
        default_factory=lambda: {"train": 0.8, "validation": 0.1, "test": 0.1}
    )
    group: Path | None = Field(None, description="Rows with the same value of this field share a split.")
    key: Str = Field("0", description="Key of the hash; another key gives another division.")
    stratify: Name | None = Field(None, description="Category column whose shares are reported per split.")


class TimeSplits(Model):
    """By a date: each split ends where the next begins."""

    by: Literal["time"]
    field: Path
    until: dict[Name, date | datetime | None] = Field(
        description="Exclusive end of each split; the last is null."
    )


class FieldSplits(Model):
    """By a field that names the split."""

    by: Literal["field"]
    field: Path
    values: dict[Name, list[Str | Int]]


Splits = Annotated[HashSplits | TimeSplits | FieldSplits, Field(discriminator="by")]


class Subset(Model):
    """Rows of a split that satisfy an expression over columns, optionally balanced by a category."""

    split: Name = "train"
    where: Str | None = None
    balance: Name | None = None
    limit: Int | None = Field(None, ge=1)


class Dedup(Model):
    """What makes two rows duplicates; the first in order is kept."""

    fields: list[Path] | None = None
    content: list[Name] | None = Field(None, description="Columns whose stored bytes are compared.")
