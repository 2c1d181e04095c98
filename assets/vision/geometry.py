"""Where a picture lands: one placement for its pixels, its boxes, its points and its masks.

All coordinates are continuous: the left edge of the first pixel is 0, the right edge of the last one is the
width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from assets.vision.recipe import Recipe

Floats: TypeAlias = npt.NDArray[np.float64]

SWAPPING: Final = frozenset({5, 6, 7, 8})
"""EXIF orientations that exchange width and height."""


@dataclass(frozen=True, slots=True)
class Placement:
    """The whole picture is resized to `resized`, the part at `corner` of size `kept` is pasted at `offset`.

    Parameters
    ----------
    source
        Width and height of the picture as shown, pixels.
    resized, corner, kept, offset, canvas
        Width and height (or x and y), pixels of the result.
    """

    source: tuple[int, int]
    resized: tuple[int, int]
    corner: tuple[int, int]
    kept: tuple[int, int]
    offset: tuple[int, int]
    canvas: tuple[int, int]

    @property
    def box(self) -> tuple[float, float, float, float]:
        """The part of the source that is kept: left, top, right, bottom."""
        scale_x, scale_y = self.source[0] / self.resized[0], self.source[1] / self.resized[1]
        (x, y), (width, height) = self.corner, self.kept
        return (
            x * scale_x,
            y * scale_y,
            min((x + width) * scale_x, float(self.source[0])),
            min((y + height) * scale_y, float(self.source[1])),
        )

    def points(self, points: Floats) -> Floats:
        """Move points (N, 2) of the picture as shown onto the canvas; they may land outside it."""
        scale = np.array(self.resized, np.float64) / self.source
        return points * scale - self.corner + self.offset

    def boxes(self, boxes: Floats) -> Floats:
        """Move boxes (N, 4: left, top, right, bottom) onto the canvas, cut to the part that is kept."""
        moved = self.points(boxes.reshape(-1, 2)).reshape(-1, 2, 2)
        low = np.array(self.offset, np.float64)
        moved = np.clip(moved, low, low + self.kept)
        return moved.reshape(-1, 4)


def place(width: int, height: int, recipe: Recipe) -> Placement:
    """Compute the placement of a picture of this size, as shown."""
    source = (width, height)
    if recipe.size is None:
        resized = _shorter(width, height, recipe.shorter_side) if recipe.shorter_side else source
        return Placement(source, resized, (0, 0), resized, (0, 0), resized)
    canvas = (recipe.size[1], recipe.size[0])
    if recipe.fit == "stretch":
        return Placement(source, canvas, (0, 0), canvas, (0, 0), canvas)
    if recipe.fit == "contain":
        scale = min(canvas[0] / width, canvas[1] / height)
        resized = (
            min(canvas[0], max(1, round(width * scale))),
            min(canvas[1], max(1, round(height * scale))),
        )
        offset = ((canvas[0] - resized[0]) // 2, (canvas[1] - resized[1]) // 2)
        return Placement(source, resized, (0, 0), resized, offset, canvas)
    if recipe.shorter_side:
        resized = _shorter(width, height, recipe.shorter_side)
    else:
        scale = max(canvas[0] / width, canvas[1] / height)
        resized = max(canvas[0], round(width * scale)), max(canvas[1], round(height * scale))
    corner = round((resized[0] - canvas[0]) / 2), round((resized[1] - canvas[1]) / 2)
    return Placement(source, resized, corner, canvas, (0, 0), canvas)


def _shorter(width: int, height: int, side: int) -> tuple[int, int]:
    """Size whose shorter side is `side`; the longer one is cut off, as torchvision does."""
    if width <= height:
        return side, max(side, side * height // width)
    return max(side, side * width // height), side


def shown_size(width: int, height: int, orientation: int) -> tuple[int, int]:
    """Width and height of a picture once its orientation is applied."""
    return (height, width) if orientation in SWAPPING else (width, height)


def orient_points(points: Floats, width: int, height: int, orientation: int) -> Floats:
    """Move points (N, 2) of a stored picture (its stored width and height) to the picture as shown."""
    x, y = points[:, 0], points[:, 1]
    moved = {
        2: (width - x, y),
        3: (width - x, height - y),
        4: (x, height - y),
        5: (y, x),
        6: (height - y, x),
        7: (height - y, width - x),
        8: (y, width - x),
    }.get(orientation, (x, y))
    return np.stack(moved, axis=1)


def orient_boxes(boxes: Floats, width: int, height: int, orientation: int) -> Floats:
    """Move boxes (N, 4: left, top, right, bottom) of a stored picture to the picture as shown."""
    corners = orient_points(boxes.reshape(-1, 2), width, height, orientation).reshape(-1, 2, 2)
    return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
