"""Boxes and points of many rows, moved with their pictures."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from assets.spec.images import BoxesColumn, PointsColumn
from assets.vision.geometry import orient_boxes, orient_points, place, shown_size
from assets.vision.recipe import Recipe
from shards.placement import Floats


def moved(
    column: BoxesColumn | PointsColumn,
    recipe: Recipe,
    values: pa.Array,
    frames: npt.NDArray[np.int32],
    arrow_type: pa.DataType,
) -> pa.Array:
    """Move every row's boxes or points onto the canvas of its picture.

    Parameters
    ----------
    values
        Large list (or null) of fixed lists of two or four numbers, one a row.
    frames
        (N, 3): width, height and orientation of the sources; zeros where a row has no picture.
    arrow_type
        Type of the result: the same nesting in float32.

    Returns
    -------
    pyarrow.Array
        Rows without a picture are empty lists. Numbers that are not finite stay as they are.
    """
    width = arrow_type.value_type.list_size
    parts: list[Floats] = []
    lengths = np.zeros(len(values) + 1, np.int64)
    for row in range(len(values)):
        scalar = values[row]
        if not frames[row].any() or not scalar.is_valid:
            continue
        numbers = _numbers(scalar.values, width)
        parts.append(_move(column, recipe, numbers, frames[row]))
        lengths[row + 1] = len(numbers)
    flat = np.concatenate(parts) if parts else np.zeros((0, width))
    inner = pa.FixedSizeListArray.from_arrays(
        pa.array(flat.astype(np.float32).reshape(-1)), type=arrow_type.value_type
    )
    return pa.LargeListArray.from_arrays(pa.array(np.cumsum(lengths), pa.int64()), inner, type=arrow_type)


def _numbers(values: pa.Array, width: int) -> Floats:
    """Numbers of one row, (N, width)."""
    flat: Floats = values.flatten().to_numpy(zero_copy_only=False).astype(np.float64)
    return flat.reshape(-1, width)


def _move(column: BoxesColumn | PointsColumn, recipe: Recipe, numbers: Floats, frame: Any) -> Floats:
    stored_width, stored_height, orientation = (int(value) for value in frame)
    size = stored_width, stored_height
    shown = shown_size(*size, orientation)
    placement = place(*shown, recipe)
    if isinstance(column, PointsColumn):
        points = numbers if column.frame == "shown" else orient_points(numbers, *size, orientation)
        return placement.points(points)
    corners = to_corners(numbers, column.format)
    if column.frame == "stored":
        corners = orient_boxes(corners, *size, orientation)
    return from_corners(placement.boxes(corners), column.format)


def to_corners(boxes: Floats, form: str) -> Floats:
    """Give boxes (N, 4) as left, top, right, bottom."""
    if form == "xyxy":
        return boxes
    first, size = boxes[:, :2], boxes[:, 2:]
    low = first if form == "xywh" else first - size / 2
    return np.concatenate([low, low + size], axis=1)


def from_corners(boxes: Floats, form: str) -> Floats:
    """Give boxes (N, 4: left, top, right, bottom) in the declared form."""
    if form == "xyxy":
        return boxes
    low, size = boxes[:, :2], boxes[:, 2:] - boxes[:, :2]
    return np.concatenate([low if form == "xywh" else low + size / 2, size], axis=1)
