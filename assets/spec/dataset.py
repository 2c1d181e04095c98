"""The dataset specification: what one `defs.yaml` says."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

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
from assets.spec.operation import Checks, Refresh, Runs, Storage
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

_OWNER = re.compile(r"^(team:[A-Za-z0-9_.-]+|[^@\s]+@[^@\s]+\.[^@\s]+)$")


def _owner(text: str) -> str:
    if not _OWNER.match(text):
        raise ValueError(f"an owner is an e-mail address or team:NAME, got {text!r}")
    return text


class DatasetSpec(Model):
    """One dataset: a collection, how it is cut, the columns it becomes and how it is kept fresh."""

    name: Name = Field(description="Name of the dataset; the folder's name when absent.")
    description: Str = Field("", description="What the data are; shown in the Dagster UI, Markdown.")
    owners: list[Annotated[Str, AfterValidator(_owner)]] = Field(
        default_factory=list, description="E-mail addresses, or team:NAME."
    )
    tags: dict[Str, Str] = Field(default_factory=dict, description="Tags of every asset.")
    source: Source = Field(description="The collection that is read.")
    partitions: Partitions = Field(NoPartitions(), description="How the documents are cut.")
    columns: dict[Name, Column] = Field(min_length=1, description="Columns by name.")
    splits: Splits = Field(HashSplits(), description="How rows are divided.")
    subsets: dict[Name, Subset] = Field(default_factory=dict, description="Named selections of rows.")
    dedup: Dedup | None = Field(None, description="What makes two rows duplicates.")
    checks: Checks = Field(Checks(), description="Thresholds of the asset checks.")
    refresh: Refresh = Field(Refresh(), description="How the dataset follows its source.")
    runs: Runs = Field(Runs(), description="How runs are cut and repeated.")
    storage: Storage = Field(Storage(), description="How shards are written and kept.")

    @model_validator(mode="after")
    def _consistent(self) -> DatasetSpec:
        from assets.spec.consistency import problems

        found = problems(self)
        if found:
            raise PydanticCustomError(
                "inconsistent",
                "{text}",
                {
                    "text": "; ".join(f"{'.'.join(map(str, path))}: {message}" for path, message in found),
                    "problems": found,
                },
            )
        return self

    @property
    def image_columns(self) -> dict[str, Any]:
        """Columns that the `images` asset makes."""
        return {name: column for name, column in self.columns.items() if isinstance(column, IMAGE_KINDS)}

    @property
    def record_columns(self) -> dict[str, Any]:
        """Columns that the `records` asset makes."""
        return {name: column for name, column in self.columns.items() if not isinstance(column, IMAGE_KINDS)}

    def paths_of(self, name: str) -> list[str]:
        """Paths of the document that a column is made of."""
        column: Any = self.columns[name]
        return getattr(column, "paths", None) or [column.path]
