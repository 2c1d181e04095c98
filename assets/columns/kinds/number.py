"""Encoders of `number` and `vector` columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from assets.columns.kinds.base import (
    AnyArray,
    BoolArray,
    Encoded,
    Encoder,
    array_of,
    count_missing,
    presence,
)
from assets.columns.kinds.numeric import Cast
from assets.columns.rejects import Fault
from assets.columns.stats.summary import NumberSummary, Summary
from assets.columns.steps import apply_fixed, needs_quantiles, spaces_of
from assets.spec.columns import Clip, NumberColumn, VectorColumn
from shards import Column

BAKED_DTYPE = "<f4"


class NumbersEncoder(Encoder):
    """What columns of numbers share; `width` is None for one number a row."""

    width: int | None

    def __init__(self, name: str, spec: Any) -> None:
        super().__init__(name, spec)
        self.width = spec.width if isinstance(spec, VectorColumn) else None
        shape = () if self.width is None else (self.width,)
        self.cast = Cast(
            spec.dtype,
            spec.minimum,
            spec.maximum,
            keep_non_finite=spec.non_finite == "keep",
            keep_nan=spec.missing == "nan",
            round=spec.round,
        )
        self.spaces = spaces_of(spec.transform)
        self.quantiles = self.width is None or needs_quantiles(spec.transform)
        stacked = isinstance(spec, VectorColumn) and spec.paths is not None
        self.elements = f"{name}__elements" if self.mask is not None and stacked else None
        masks = self.mask_columns()
        if self.elements is not None:
            masks += (
                Column(self.elements, "npy", dtype="|b1", shape=shape, kind="mask", attributes={"of": name}),
            )
        if spec.bake:
            self.pending = (
                pa.field(name, _rows_type(pa.float64(), shape)),
                *(pa.field(column.name, _rows_type(pa.bool_(), column.shape)) for column in masks),
            )
            self.columns = ()
        else:
            elements = {} if self.elements is None else {"element_mask": self.elements}
            self.columns = (self.column(self.cast.stored, shape, **elements), *masks)

    def finish(self, values: AnyArray, present: BoolArray | None) -> Encoded:
        """Cast the rows, blank the missing ones, and check the fixed steps of the transform."""
        stored, found = self.cast.apply(values)
        faults = [self.fault(reason, expected, mask, values) for reason, expected, mask in found]
        faults += self.undefined(stored)
        if present is not None:
            blank = np.nan if self.spec.missing == "nan" else 0
            gone = ~present
            if gone.ndim < stored.ndim:
                stored[gone] = blank
            else:
                stored = np.where(gone, stored.dtype.type(blank), stored)
        encoded = Encoded({}, present=present, faults=faults, seen=stored)
        if self.spec.bake:
            encoded.pending = self.waiting(stored, present)
        else:
            encoded.stored = {self.name: stored, **self.masks(present, len(stored))}
        return encoded

    def masks(self, present: BoolArray | None, num_rows: int) -> dict[str, AnyArray | pa.Array]:
        """Give the masks stored beside the numbers: of rows, and of the elements of stacked fields."""
        masks: dict[str, AnyArray | pa.Array] = {}
        if self.mask is not None:
            rows = np.ones(num_rows, np.bool_) if present is None else present
            masks[self.mask] = rows.all(axis=1) if rows.ndim == 2 else rows
        if self.elements is not None:
            masks[self.elements] = (
                np.ones((num_rows, self.width or 1), np.bool_) if present is None else present
            )
        return masks

    def fault(self, reason: str, expected: str, mask: BoolArray, values: AnyArray) -> Fault:
        """Name the rows in which a value does not fit, with the first such value of each."""
        rows = np.flatnonzero(mask if mask.ndim == 1 else mask.any(axis=1))
        got = values[rows] if mask.ndim == 1 else values[rows, mask[rows].argmax(axis=1)]
        path = self.path
        if mask.ndim == 2 and len(rows) and getattr(self.spec, "paths", None):
            path = self.spec.paths[int(mask[rows[0]].argmax())]
        return Fault(self.name, path, rows, reason, expected, got.tolist())

    def undefined(self, stored: AnyArray) -> list[Fault]:
        """Name the rows in which a logarithm has no value."""
        if "log1p" not in self.spec.transform:
            return []
        head = self.spec.transform[: self.spec.transform.index("log1p")]
        values = apply_fixed([step for step in head if isinstance(step, Clip)], stored.astype(np.float64))
        bad = values <= -1
        if not bad.any():
            return []
        return [self.fault("out of range", "a number above -1, for log1p", bad, values)]

    def waiting(self, stored: AnyArray, present: BoolArray | None) -> dict[str, pa.Array]:
        """Give the rows that the snapshot will transform; NaN where a value is missing."""
        values = stored.astype(np.float64)
        if present is not None:
            gone = ~present if present.ndim == values.ndim else ~present[:, None]
            values = np.where(gone, np.nan, values)
        arrays = {self.name: values, **self.masks(present, len(stored))}
        return {
            name: pa.array(rows)
            if rows.ndim == 1
            else pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), rows.shape[1])
            for name, rows in arrays.items()
        }

    def summarise(self, encoded: Encoded, rows: BoolArray) -> Summary:
        """Summarise the stored numbers, and those after the fixed steps where a fit needs them."""
        present, values = encoded.present, encoded.seen
        if present is not None and present.ndim == 2:
            missing = int(np.count_nonzero(rows & ~present.all(axis=1)))
            values, wanted = np.where(present, values.astype(np.float64), np.nan), rows
        else:
            missing = count_missing(present, rows)
            wanted = rows if present is None else rows & present
        found = NumberSummary.of(values, self.quantiles, wanted)
        non_finite = 0
        num_wanted = int(np.count_nonzero(wanted))
        if int(found.moments.count.min(initial=num_wanted)) < num_wanted:
            odd = ~np.isfinite(values[wanted])
            non_finite = int(np.count_nonzero(odd))
            if present is not None and present.ndim == 2:
                non_finite -= int(np.count_nonzero(~present[wanted]))
        spaces = {
            name: NumberSummary.of(apply_fixed(steps, values.astype(np.float64)), self.quantiles, wanted)
            for name, steps in self.spaces.items()
        }
        return Summary(int(np.count_nonzero(rows)), missing, non_finite, found, spaces)


def _rows_type(element: pa.DataType, shape: tuple[int, ...]) -> pa.DataType:
    return pa.list_(element, shape[0]) if shape else element


class NumberEncoder(NumbersEncoder):
    """One number a row."""

    def __init__(self, name: str, spec: NumberColumn) -> None:
        super().__init__(name, spec)

    def encode(self, batch: pa.RecordBatch) -> Encoded:
        """Cast the numbers of a batch."""
        values, present = filled(array_of(batch, self.name), self.spec.default)
        return self.finish(values, present)


class VectorEncoder(NumbersEncoder):
    """One list of fixed length, or several numbers stacked."""

    def __init__(self, name: str, spec: VectorColumn) -> None:
        super().__init__(name, spec)
        self.length = spec.width

    def encode(self, batch: pa.RecordBatch) -> Encoded:
        """Cast the vectors of a batch."""
        if self.spec.path is not None:
            return self._from_lists(array_of(batch, self.name))
        parts = [
            filled(array_of(batch, f"{self.name}__{index}"), self.spec.default)
            for index in range(self.length)
        ]
        values = np.stack([part for part, _ in parts], axis=1)
        present = None
        if any(mask is not None for _, mask in parts):
            whole = np.ones(batch.num_rows, np.bool_)
            present = np.stack([whole if mask is None else mask for _, mask in parts], axis=1)
        return self.finish(values, present)

    def _from_lists(self, array: pa.Array) -> Encoded:
        num_rows, present = len(array), presence(array)
        flat = array.values[array.offset * self.length : (array.offset + num_rows) * self.length]
        values = flat.to_numpy(zero_copy_only=False).reshape(num_rows, self.length)
        if present is not None:
            fill = 0 if self.spec.default is None else self.spec.default
            values = np.where(present[:, None], values, values.dtype.type(fill))
            present = present if self.spec.default is None else None
        return self.finish(values, present)


def filled(array: pa.Array, default: float | None) -> tuple[npt.NDArray[Any], BoolArray | None]:
    """Give an Arrow array of numbers as NumPy, nulls as the default or zero, and which values are present."""
    present = presence(array)
    if present is None:
        return array.to_numpy(zero_copy_only=False), None
    fill = pa.scalar(0 if default is None else default, array.type)
    values = array.fill_null(fill).to_numpy(zero_copy_only=False)
    return values, present if default is None else None
