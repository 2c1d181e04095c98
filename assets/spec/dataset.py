"""The dataset specification: what one `defs.yaml` says."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from assets.spec.base import Model, Name, Str
from assets.spec.columns import (
    BinaryColumn,
    BoolColumn,
    CategoryColumn,
    DatetimeColumn,
    EmbeddingColumn,
    IdColumn,
    ListColumn,
    MultilabelColumn,
    NumberColumn,
    RecordColumn,
    TextColumn,
    VectorColumn,
)
from assets.spec.images import BoxesColumn, ImageColumn, MaskImageColumn, PointsColumn
from assets.spec.operation import Checks, Refresh, Storage
from assets.spec.partitions import NoPartitions, Partitions
from assets.spec.source import Source
from assets.spec.splits import Dedup, HashSplits, Splits, Subset

Column = Annotated[
    ImageColumn
    | BoxesColumn
    | PointsColumn
    | MaskImageColumn
    | NumberColumn
    | VectorColumn
    | CategoryColumn
    | MultilabelColumn
    | BoolColumn
    | DatetimeColumn
    | TextColumn
    | ListColumn
    | RecordColumn
    | IdColumn
    | BinaryColumn
    | EmbeddingColumn,
    Field(discriminator="kind"),
]

IMAGE_KINDS = (ImageColumn, BoxesColumn, PointsColumn, MaskImageColumn)


class DatasetSpec(Model):
    """One dataset: a collection, how it is cut, the columns it becomes and how it is kept fresh."""

    name: Name
    description: Str = ""
    owners: list[Str] = Field(default_factory=list)
    tags: dict[Str, Str] = Field(default_factory=dict)
    source: Source
    partitions: Partitions = Field(default_factory=NoPartitions)
    columns: dict[Name, Column] = Field(min_length=1)
    splits: Splits = Field(default_factory=HashSplits)
    subsets: dict[Name, Subset] = Field(default_factory=dict)
    dedup: Dedup | None = None
    checks: Checks = Field(default_factory=Checks)
    refresh: Refresh = Field(default_factory=Refresh)
    storage: Storage = Field(default_factory=Storage)

    @property
    def image_columns(self) -> dict[str, Column]:
        """Columns that the `images` asset makes."""
        return {name: column for name, column in self.columns.items() if isinstance(column, IMAGE_KINDS)}

    @property
    def record_columns(self) -> dict[str, Column]:
        """Columns that the `records` asset makes."""
        return {name: column for name, column in self.columns.items() if not isinstance(column, IMAGE_KINDS)}
