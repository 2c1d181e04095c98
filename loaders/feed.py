"""From positions of an order to batches: what every loader runs in its threads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from loaders import forms
from loaders.cells import Cells
from loaders.columns import DenseColumn
from loaders.forms import Batch, Forms
from loaders.opened import Opened
from loaders.order import Order
from loaders.permutation import Positions
from loaders.pool import Pool
from loaders.remote_ahead import Lookahead
from shards import Column

Dense: TypeAlias = "dict[str, torch.Tensor]"
Resolved: TypeAlias = npt.NDArray[np.int64]
"""What a feed makes of positions; the last axis is the position."""

Piece: TypeAlias = "tuple[Resolved, Sequence[int]]"
"""Resolved samples and where each batch of theirs ends."""

MOSTLY = 0.95  # of the bytes lie in dense columns, so that copying them is nearly all of the work
NARROW_BYTES = 64  # of a row of a column that is gathered for many groups at once


@dataclass(frozen=True, slots=True)
class Group:
    """Rows of several batches, gathered at once.

    Attributes
    ----------
    dense
        Columns of one shape a row, by name.
    cells
        The other columns, by name.
    ends
        Where each batch ends.
    source
        Number of the schema of the feed that all of them have.
    """

    dense: Dense
    cells: Mapping[str, Cells]
    ends: Sequence[int]
    source: int = 0

    def cut(self, start: int, stop: int) -> Group:
        """Give rows `start` to `stop`, views."""
        dense = {name: tensor[start:stop] for name, tensor in self.dense.items()}
        return Group(dense, {name: found.slice(start, stop) for name, found in self.cells.items()}, ())


class Feed(Protocol):
    """Where a loader gets its batches from; called from several threads."""

    num_positions: int

    schemas: Sequence[Mapping[str, Column]]
    """Columns by name, for each `source` that groups have."""

    unit: int | None
    """Positions that may share a batch with one another only; None where all are alike."""

    is_copying: bool
    """Whether nearly all of the work is copying, which holds no lock of the interpreter."""

    def row_bytes(self) -> int:
        """Bytes of an average row, to choose how many batches are gathered at once."""
        ...

    def resolve(self, epoch: int, positions: Positions) -> Resolved:
        """Say which samples are at `positions`; cheap only for many at once."""
        ...

    def pieces(self, resolved: Resolved, ends: Sequence[int]) -> list[Piece]:
        """Cut what comes next into what is gathered at once."""
        ...

    def narrow(self, resolved: Resolved) -> Group | None:
        """Gather columns of few bytes for many groups at once, when there are wide ones beside them."""
        ...

    def group(self, resolved: Resolved, ends: Sequence[int], narrow: Group | None = None) -> Group:
        """Gather resolved samples, but for those of their columns that are given."""
        ...

    def fits(self, dense: Dense) -> Dense:
        """Apply what the snapshot holds, on the device where the tensors are."""
        ...

    def batches(self, group: Group) -> list[Batch]:
        """Cut a group into batches."""
        ...

    def advises(self) -> bool:
        """Whether `advise` may help now; asked once before it."""
        ...

    def advise(self, resolved: Resolved, around: Callable[[], Resolved]) -> None:
        """Have the pages of samples read that come soon; `around` says which are near."""
        ...

    def look_ahead(self, epoch: int, position: int) -> None:
        """Fetch what comes after `position`, where it is far; returns at once."""
        ...

    def describe(self) -> dict[str, Any]:
        """Give what a saved state must agree on, as small JSON."""
        ...


class DatasetFeed:
    """Batches of one dataset in one order.

    Parameters
    ----------
    opened
        The dataset.
    order
        In which order its samples come.
    shapes
        Forms of what is no tensor of one shape.
    pool
        Where outputs lie.
    read_only
        Hand out contiguous rows as views of the mapped files.
    fits
        Apply the transforms that the snapshot holds.
    stay
        Nothing is done to tensors after the fits: views are handed out as they are, however many.
    """

    def __init__(
        self,
        opened: Opened,
        order: Order,
        shapes: Forms,
        pool: Pool,
        *,
        read_only: bool,
        fits: bool,
        stay: bool = False,
    ) -> None:
        self.num_positions = order.num_positions
        self.schemas: Sequence[Mapping[str, Column]] = [opened.schema]
        self.unit: int | None = None
        self.order = order
        self._opened, self._forms, self._pool = opened, shapes, pool
        self._apply_fits = fits
        self._lookahead: Lookahead | None = None
        if opened.place.bytes_ahead:
            columns = opened.columns.values()
            self._lookahead = Lookahead(order, opened.index, columns, opened.place.bytes_ahead)
        self._views = read_only and order.sequential and opened.index.first is not None
        self._stay = stay and self._views
        self._dense = [column for column in opened.columns.values() if isinstance(column, DenseColumn)]
        dense, whole = (sum(c.row_bytes for c in found) for found in (self._dense, opened.columns.values()))
        self.is_copying = not self._views and dense > MOSTLY * whole

    def row_bytes(self) -> int:
        """Bytes of an average row as it is handed out, without what is only viewed."""
        fitted = self._opened.fitted if self._apply_fits else ()
        return sum(
            column.row_bytes * self._forms.weight(column.column)
            for name, column in self._opened.columns.items()
            if not self._stay or name in fitted or not isinstance(column, DenseColumn)
        )

    def pieces(self, rows: Resolved, ends: Sequence[int]) -> list[Piece]:
        """Cut rows that are viewed into runs within one shard; a batch over two shards is a piece."""
        if not self._views:
            return [(rows, ends)]
        starts = [0, *ends]
        first_rows, last_rows = rows[starts[:-1]].tolist(), rows[np.array(ends, np.int64) - 1].tolist()
        found: list[Piece] = []
        first = 0
        while first < len(ends):
            start, row, last = starts[first], first_rows[first], first + 1
            stop = min((column.locator.stop(row) for column in self._dense), default=len(rows))
            while (
                last < len(ends)
                and last_rows[last] < stop
                and last_rows[last] - row == ends[last] - start - 1
            ):
                last += 1
            found.append((rows[start : ends[last - 1]], [end - start for end in ends[first:last]]))
            first = last
        return found

    def resolve(self, epoch: int, positions: Positions) -> Resolved:
        """Give the rows of the samples at `positions`."""
        return self._opened.index(self.order.at(epoch, positions))

    def narrow(self, rows: Resolved) -> Group | None:
        """Gather columns of few bytes for many groups at once, when there are wide ones beside them."""
        columns = self._opened.columns
        few = {name: column for name, column in columns.items() if column.row_bytes <= NARROW_BYTES}
        if self._views or not few or len(few) == len(columns):
            return None
        dense: Dense = {}
        cells: dict[str, Cells] = {}
        for name, column in few.items():
            if isinstance(column, DenseColumn):
                dense[name] = column.gather(rows, self._pool)
            else:
                cells[name] = column.gather(rows)
        return Group(dense, cells, ())

    def group(self, rows: Resolved, ends: Sequence[int], narrow: Group | None = None) -> Group:
        """Gather rows, but for those of their columns that are given."""
        dense: Dense = dict(narrow.dense) if narrow else {}
        cells: dict[str, Cells] = dict(narrow.cells) if narrow else {}
        run = self._views and len(rows) > 0 and int(rows[-1]) - int(rows[0]) == len(rows) - 1
        for name, column in self._opened.columns.items():
            if name in dense or name in cells:
                continue
            if not isinstance(column, DenseColumn):
                cells[name] = column.gather(rows)
                continue
            view = column.view(int(rows[0]), int(rows[-1]) + 1) if run else None
            dense[name] = column.gather(rows, self._pool) if view is None else view
        return Group(dense, cells, ends)

    def fits(self, dense: Dense) -> Dense:
        """Apply what the snapshot holds, on the device where the tensors are."""
        return self._opened.fits_on(dense) if self._apply_fits else dense

    def batches(self, group: Group) -> list[Batch]:
        """Cut a group into batches, columns in the order of the dataset."""
        edges = list(pairwise([0, *group.ends]))
        sizes = [stop - start for start, stop in edges]
        batches: list[Batch] = [{} for _ in edges]
        for name, column in self._opened.columns.items():
            if name in group.dense:
                whole = group.dense[name]
                parts = torch.split(whole, sizes) if len(sizes) > 1 else (whole,)
                for batch, part in zip(batches, parts, strict=True):
                    batch[name] = part
                continue
            with column.watch.copying():
                fit = self._opened.picture_fit(name) if self._apply_fits else None
                made = forms.deliver(column.column, group.cells[name], edges, self._forms, self._pool, fit)
            for batch, members in zip(batches, made, strict=True):
                batch.update(members)
        return batches

    def advises(self) -> bool:
        """Whether a column's rows may be absent; asked once before `advise`."""
        return sum(column.advises() for column in self._dense) > 0  # every one of them is asked

    def advise(self, rows: Resolved, around: Callable[[], Resolved]) -> None:
        """Have the pages of rows read that come soon; `around` says which are near."""
        for column in self._dense:
            column.advise(rows, around)

    def look_ahead(self, epoch: int, position: int) -> None:
        """Fetch what comes after `position`, where it is far; returns at once."""
        if self._lookahead is not None:
            self._lookahead.look(epoch, position)

    def describe(self) -> dict[str, Any]:
        """Give what a saved state must agree on."""
        snapshot = self._opened.snapshot
        return {
            "dataset": snapshot.dataset,
            "snapshot": snapshot.number,
            "part": self._opened.part,
            "num_samples": len(self._opened.index),
            **self.order.describe(),
        }


def num_bytes(value: Any) -> int:
    """Bytes of the tensors of a batch; values that are no tensors count nothing."""
    if isinstance(value, torch.Tensor):
        return value.nbytes if not value.is_nested else value.values().nbytes
    if isinstance(value, Mapping):
        return sum(num_bytes(member) for member in value.values())
    if isinstance(value, list) and value and isinstance(value[0], torch.Tensor):
        return sum(num_bytes(member) for member in value)
    return 0


def steps_per_group(row_bytes: int, batch_size: int, group_bytes: int, most: int = 64) -> int:
    """Choose how many batches are gathered at once: narrow rows many, wide rows one."""
    return int(np.clip(group_bytes // max(row_bytes * batch_size, 1), 1, most))
