"""How rows are divided into splits, subsets and balanced sets."""

from __future__ import annotations

import math
from datetime import date, datetime, timezone
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from assets.spec.base import Int, Model, Name, Number, Path, Str
from assets.spec.expression import parse_where


class HashSplits(Model):
    """By a keyed hash of `_id` or of a group field: a row never moves as data are added."""

    by: Literal["hash"] = "hash"
    fractions: dict[Name, Number] = Field(
        default_factory=lambda: {"train": 0.8, "validation": 0.1, "test": 0.1},
        min_length=1,
        max_length=64,
        description="Share of each split; together at most 1, the rest is in no split.",
    )
    group: Path | None = Field(None, description="Rows with the same value of this field share a split.")
    key: Str = Field("0", description="Key of the hash; another key gives another division.")
    stratify: Name | None = Field(None, description="Category column whose shares are reported per split.")

    @model_validator(mode="after")
    def _whole(self) -> HashSplits:
        if any(share <= 0 for share in self.fractions.values()):
            raise ValueError(f"every fraction must be above 0, got {self.fractions}")
        total = math.fsum(self.fractions.values())
        if total > 1 + 1e-9:
            raise ValueError(f"fractions overlap: they add up to {total:g}, at most 1 is allowed")
        return self


class TimeSplits(Model):
    """By a date: each split ends where the next begins."""

    by: Literal["time"]
    field: Path = Field(description="A date of the document.")
    until: dict[Name, date | datetime | None] = Field(
        min_length=1, max_length=64, description="Exclusive end of each split; the last is null."
    )
    stratify: Name | None = Field(None, description="Category column whose shares are reported per split.")

    @model_validator(mode="after")
    def _increasing(self) -> TimeSplits:
        ends = list(self.until.items())
        if ends[-1][1] is not None:
            raise ValueError(f"until of the last split, {ends[-1][0]}, must be null: it has no end")
        previous = None
        for name, end in ends[:-1]:
            if end is None:
                raise ValueError(f"until of {name} is null, only the last split has no end")
            moment = utc(end)
            if previous is not None and moment <= previous:
                raise ValueError(f"until of {name}, {end}, is not after the split before it")
            previous = moment
        return self


class FieldSplits(Model):
    """By a field that names the split; a document with another value is in no split."""

    by: Literal["field"]
    field: Path = Field(description="The field that names the split.")
    values: dict[Name, list[Str | Int]] = Field(
        min_length=1, max_length=64, description="Values of the field that make each split."
    )
    stratify: Name | None = Field(None, description="Category column whose shares are reported per split.")

    @model_validator(mode="after")
    def _disjoint(self) -> FieldSplits:
        seen: dict[str | int, str] = {}
        for name, values in self.values.items():
            for value in values:
                if value in seen:
                    raise ValueError(f"splits overlap: {value!r} is in {seen[value]} and in {name}")
                seen[value] = name
        return self


Splits = Annotated[HashSplits | TimeSplits | FieldSplits, Field(discriminator="by")]


def utc(moment: date | datetime) -> datetime:
    """Give a date its first instant in UTC; a datetime without an offset is taken as UTC."""
    if not isinstance(moment, datetime):
        moment = datetime(moment.year, moment.month, moment.day)
    return moment.replace(tzinfo=timezone.utc) if moment.tzinfo is None else moment.astimezone(timezone.utc)


def _parsable(where: str) -> str:
    parse_where(where)
    return where


class Subset(Model):
    """Rows of a split that satisfy an expression over columns, optionally balanced by a category."""

    split: Name = Field("train", description="The split that rows are taken from.")
    where: Annotated[Str, AfterValidator(_parsable)] | None = Field(
        None, description='An expression over columns, such as `age >= 18 and color in ["red", "blue"]`.'
    )
    balance: Name | None = Field(None, description="Column whose values get the same number of rows.")
    balance_to: Literal["largest", "smallest"] = Field(
        "largest", description="Repeat rows of rare values, or leave out rows of common ones."
    )
    limit: Int | None = Field(None, ge=1, description="At most so many rows, chosen by hash of `_id`.")


class Dedup(Model):
    """What makes two rows duplicates; the first in order is kept."""

    fields: list[Path] | None = Field(
        None, min_length=1, description="Paths of documents whose values are compared."
    )
    content: list[Name] | None = Field(
        None, min_length=1, description="Columns whose stored values are compared."
    )

    @model_validator(mode="after")
    def _one_form(self) -> Dedup:
        if (self.fields is None) == (self.content is None):
            raise ValueError("dedup takes either fields (paths of documents) or content (columns)")
        return self
