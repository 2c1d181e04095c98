"""How a dataset is cut into partitions; keys are Dagster partition keys."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import Field

from assets.spec.base import Int, Model, Path, Str


class NoPartitions(Model):
    """One partition, with the key `all`."""

    by: Literal["none"] = "none"


class TimePartitions(Model):
    """Windows of a date field, or of the time inside the ObjectId when `field` is `_id`."""

    by: Literal["time"]
    field: Path = Field(description="A date of the document, or `_id`.")
    every: Literal["hour", "day", "week", "month"] = Field(
        description="Length of a window; weeks begin on Monday."
    )
    start: date | datetime = Field(description="Begin of the first window.")
    end: date | datetime | None = Field(None, description="Exclusive; open when absent.")
    timezone: Str = Field("UTC", description="Time zone in which windows begin.")


class StaticPartitions(Model):
    """Declared values of a field."""

    by: Literal["static"]
    field: Path = Field(description="The field whose value names the partition.")
    values: list[Str | Int] = Field(min_length=1, description="Its values, one partition each.")


class DynamicPartitions(Model):
    """Values of a field, found in the collection and added as they appear."""

    by: Literal["dynamic"]
    field: Path = Field(description="The field whose value names the partition.")


class HashPartitions(Model):
    """Buckets of a hash of `_id`; keys are `0` to `buckets - 1`."""

    by: Literal["hash"]
    buckets: Int = Field(ge=1, le=4096, description="Number of partitions.")


Partitions = Annotated[
    NoPartitions | TimePartitions | StaticPartitions | DynamicPartitions | HashPartitions,
    Field(discriminator="by"),
]
