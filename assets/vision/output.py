"""Writing one image column and its companions, group by group, in row order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from assets.vision.blocks import Block
from assets.vision.moments import Moments
from assets.vision.plan import ImagePlan, columns_of
from assets.vision.previous import Previous
from assets.vision.shapes import moved
from assets.vision.tasks import Outcome
from shards import Attempt, Column


class ImageOutput:
    """The writers of one image column; used by one thread."""

    def __init__(self, attempt: Attempt, plan: ImagePlan, previous: Previous) -> None:
        self._plan = plan
        self._previous = previous
        self._columns = {column.name: column for column in columns_of(plan)}
        self._writers = {name: attempt.column(column) for name, column in self._columns.items()}

    def write(self, outcomes: Sequence[Outcome], shapes: Mapping[str, pa.Array], block: Block) -> None:
        """Append one row an outcome; first fills in what is the same as in the previous version.

        Parameters
        ----------
        outcomes
            One a row, in row order.
        shapes
            Boxes and points of these rows as the documents have them, by column.
        block
            Memory that pictures of one shape were made in.
        """
        plan = self._plan
        self._copy_companions(outcomes)
        for name in (plan.name, *(mask.name for mask in plan.masks)):
            self._append(name, self._pictures(self._columns[name], outcomes, block))
            self._append(f"{name}__source", _digests(name, outcomes))
        frames = np.array([outcome.frame or (0, 0, 0) for outcome in outcomes], "<i4").reshape(-1, 3)
        self._append(f"{plan.name}__frame", frames)
        self._append(f"{plan.name}__sums", self._sums(outcomes))
        if f"{plan.name}__present" in self._columns:
            self._append(
                f"{plan.name}__present", np.array([outcome.is_usable for outcome in outcomes], "|b1")
            )
        if f"{plan.name}__phash" in self._columns:
            self._append(f"{plan.name}__phash", np.array([o.perceptual or 0 for o in outcomes], "<u8"))
        for name, column in plan.shapes:
            arrow_type = self._columns[name].pyarrow_type
            self._append(name, moved(column, plan.recipe, shapes[name], frames, arrow_type))

    def _append(self, name: str, values: Any) -> None:
        self._writers[name].append(values)

    def _copy_companions(self, outcomes: Sequence[Outcome]) -> None:
        """Give outcomes that are the same as a former row its frame, sums and perceptual hash."""
        plan = self._plan
        same = [outcome for outcome in outcomes if plan.name in outcome.same_as and outcome.frame is None]
        if not same:
            return
        rows = np.array([outcome.same_as[plan.name] for outcome in same], np.int64)
        frames = self._previous.column(f"{plan.name}__frame").take(rows)
        sums = self._previous.column(f"{plan.name}__sums").take(rows)
        for outcome, frame, row in zip(same, frames, sums, strict=True):
            outcome.frame = (int(frame[0]), int(frame[1]), int(frame[2]))
            outcome.moments = Moments.from_row(row)
        if plan.column.perceptual_hash:
            hashes = self._previous.column(f"{plan.name}__phash").take(rows)
            for outcome, value in zip(same, hashes, strict=True):
                outcome.perceptual = int(value)

    def _pictures(self, column: Column, outcomes: Sequence[Outcome], block: Block) -> Any:
        if column.encoding == "npy":
            return self._dense(column, outcomes, block[column.name][: len(outcomes)])
        same = {o.row: o.same_as[column.name] for o in outcomes if column.name in o.same_as}
        old = self._previous.column(column.name).take(np.array(list(same.values()), np.int64)) if same else []
        copied = dict(zip(same, old, strict=True))
        return _encoded(outcomes, copied) if _is_encoded(column) else _varying(column, outcomes, copied)

    def _sums(self, outcomes: Sequence[Outcome]) -> npt.NDArray[Any]:
        column = self._columns[f"{self._plan.name}__sums"]
        rows = np.zeros((len(outcomes), *column.shape), column.dtype)
        for row, outcome in zip(rows, outcomes, strict=True):
            if outcome.moments is not None:
                row[:] = outcome.moments.to_row()
        return rows

    def _dense(self, column: Column, outcomes: Sequence[Outcome], rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Complete rows that hold what was made: with what is copied, and zeros where there is no picture."""
        at, same = [], []
        for position, outcome in enumerate(outcomes):
            if column.name in outcome.same_as:
                at.append(position)
                same.append(outcome.same_as[column.name])
            elif column.name not in outcome.pixels:
                rows[position] = 0
        if same:
            rows[at] = self._previous.column(column.name).take(np.array(same, np.int64))
        return rows


def _is_encoded(column: Column) -> bool:
    return column.attributes.get("format") == "encoded"


def _digests(name: str, outcomes: Sequence[Outcome]) -> npt.NDArray[np.uint8]:
    joined = b"".join(outcome.digests.get(name, bytes(16)) for outcome in outcomes)
    return np.frombuffer(joined, "|u1").reshape(-1, 16)


def _encoded(outcomes: Sequence[Outcome], copied: Mapping[int, Any]) -> pa.Array:
    values = [copied[o.row].as_py() if o.row in copied else o.encoded for o in outcomes]
    return pa.array(values, pa.large_binary())


def _varying(column: Column, outcomes: Sequence[Outcome], copied: Mapping[int, Any]) -> pa.Array:
    """Pixels of every picture's own size, as bytes in C order and three sizes; a mask's third size is 1."""
    data, sizes = [], []
    for outcome in outcomes:
        pixels = outcome.pixels.get(column.name)
        if outcome.row in copied:
            old = copied[outcome.row].as_py()
            data.append(old["data"])
            sizes.append(old["shape"])
        elif pixels is None:
            data.append(b"")
            sizes.append([0, 0, 0])
        else:
            data.append(pixels.tobytes())
            sizes.append([*pixels.shape, 1][:3])
    return pa.StructArray.from_arrays(
        [pa.array(data, pa.large_binary()), pa.array(sizes, pa.list_(pa.int32(), 3))],
        fields=list(column.pyarrow_type),
    )
