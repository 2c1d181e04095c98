"""Rows of a documents table in groups: what each of them wants fetched, and the tasks that follow."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pyarrow as pa
from bson import ObjectId

from assets.spec.images import SourceKind
from assets.vision.blocks import Block
from assets.vision.errors import PictureError
from assets.vision.plan import ImagePlan
from assets.vision.sources.gather import Key, Wanted
from assets.vision.sources.locate import locate
from assets.vision.tasks import Fetched, Task
from shards import TableReader

ROWS: Final = 256
ROWS_OF_VARYING: Final = 32
"""Pictures that keep their own size may be large; fewer of them wait to be written."""

GROUP_BYTES: Final = 64 << 20
"""A group ends early when its part of the table, or its pixels, are larger than this."""


@dataclass(slots=True)
class Group:
    """Consecutive rows of a table.

    Parameters
    ----------
    first_row
        Number of the first one.
    documents
        Their part of the table.
    wanted
        What has to be fetched for them.
    tasks
        One a row and image column.
    block
        Memory for their pixels, where the pictures of a column have one shape.
    """

    first_row: int
    documents: pa.RecordBatch
    wanted: list[Wanted] = field(default_factory=list)
    tasks: dict[Key, Task] = field(default_factory=dict)
    block: Block = field(default_factory=dict)
    _owners: dict[str, str] = field(default_factory=dict)
    _missing: dict[Key, int] = field(default_factory=dict)

    def arrived(self, key: Key, data: Fetched) -> Task | None:
        """Note what was fetched; gives the task once nothing of it is missing any more."""
        row, name = key
        owner = row, self._owners[name]
        task = self.tasks[owner]
        if name == task.plan.name:
            task.data = data
        else:
            task.masks[name] = data
        if isinstance(data, bytes):
            task.fetched_bytes += len(data)
        self._missing[owner] -= 1
        return task if self._missing[owner] == 0 else None

    def make_in(self, block: Block) -> None:
        """Let all tasks put their pixels into this memory."""
        self.block = block
        for task in self.tasks.values():
            task.out = {name: rows[task.row - self.first_row] for name, rows in block.items()}

    def ready(self) -> list[Task]:
        """Tasks for which nothing has to be fetched."""
        return [task for key, task in self.tasks.items() if self._missing[key] == 0]

    def add(self, row: int, plan: ImagePlan, documents: pa.RecordBatch) -> None:
        """Add the task of one row and image column."""
        task = self.tasks[row, plan.name] = Task(row, plan, None, {})
        key = row, plan.name
        self._missing[key] = 0
        for name, sources in [
            (plan.name, plan.column.sources),
            *((mask.name, mask.column.sources) for mask in plan.masks),
        ]:
            self._owners[name] = plan.name
            found = _located(documents, row - self.first_row, name, sources, plan.recipe.max_bytes)
            if isinstance(found, Wanted):
                self.wanted.append(Wanted((row, name), name, found.place))
                self._missing[key] += 1
            elif name == plan.name:
                task.data = found
            else:
                task.masks[name] = found


def groups_of(table: TableReader, plans: list[ImagePlan]) -> Iterator[Group]:
    """Cut a table into groups; only one is in memory at a time."""
    most_rows = rows_of_group(plans)
    row = 0
    for batch in table.batches():
        start = 0
        while start < len(batch):
            part = batch.slice(start, most_rows)
            while len(part) > 1 and part.nbytes > GROUP_BYTES:
                part = part.slice(0, len(part) // 2)
            group = Group(row, part)
            for number in range(row, row + len(part)):
                for plan in plans:
                    group.add(number, plan, part)
            yield group
            start += len(part)
            row += len(part)


def rows_of_group(plans: list[ImagePlan]) -> int:
    """Most rows of a group."""
    if any(plan.recipe.shape is None or plan.is_encoded for plan in plans):
        return ROWS_OF_VARYING
    row_bytes = sum(
        math.prod(recipe.shape or ()) * np.dtype(recipe.dtype).itemsize
        for plan in plans
        for recipe in (plan.recipe, *(mask.recipe for mask in plan.masks))
    )
    return max(1, min(ROWS, GROUP_BYTES // row_bytes))


def _located(
    documents: pa.RecordBatch, at: int, name: str, sources: list[SourceKind], max_bytes: int
) -> Wanted | Fetched:
    value = _value(documents.column(name)[at])
    if value is None:
        return None
    try:
        place = locate(value, sources, max_bytes)
    except PictureError as error:
        return error
    if place.kind == "embedded":
        assert isinstance(place.value, bytes)
        return place.value
    return Wanted((at, name), name, place)


def _value(scalar: pa.Scalar) -> bytes | str | ObjectId | None:
    """Python value of one cell; of several alternatives, the one that is given."""
    if not scalar.is_valid:
        return None
    if isinstance(scalar, pa.StructScalar):
        given = [scalar[name] for name in scalar if scalar[name].is_valid]
        return _value(given[0]) if given else None
    value: Any = scalar.as_py()
    if isinstance(scalar, pa.FixedSizeBinaryScalar):
        return ObjectId(value)
    assert isinstance(value, bytes | str)
    return value
