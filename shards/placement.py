"""Where a picture lands on a canvas of one size; the format defines it, for pictures that are kept as files.

All coordinates are continuous: the left edge of the first pixel is 0, the right edge of the last one is the
width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

Fit: TypeAlias = Literal["contain", "cover", "stretch", "none"]
Floats: TypeAlias = npt.NDArray[np.float64]
Size: TypeAlias = tuple[int, int]


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

    def nearest(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Columns and rows of the source that the nearest filter picks for the part that is kept.

        Pillow picks them when it resizes the whole picture; with its `box` it rounds otherwise.
        """
        picked = [
            _picked(*one) for one in zip(self.source, self.resized, self.corner, self.kept, strict=True)
        ]
        return picked[0], picked[1]

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


def place(
    width: int, height: int, size: Size | None, fit: Fit = "cover", shorter_side: int | None = None
) -> Placement:
    """Compute the placement of a picture.

    Parameters
    ----------
    width, height
        Of the picture as shown, pixels.
    size
        Height and width of the canvas, pixels; None for one as large as the resized picture.
    fit
        `contain` pads, `cover` cuts the middle out, `stretch` changes the aspect.
    shorter_side
        What the shorter side is resized to before the middle is cut out.
    """
    source = (width, height)
    if size is None:
        resized = _shorter(width, height, shorter_side) if shorter_side else source
        return Placement(source, resized, (0, 0), resized, (0, 0), resized)
    canvas = (size[1], size[0])
    if fit == "stretch":
        return Placement(source, canvas, (0, 0), canvas, (0, 0), canvas)
    if fit == "contain":
        scale = min(canvas[0] / width, canvas[1] / height)
        resized = (
            min(canvas[0], max(1, round(width * scale))),
            min(canvas[1], max(1, round(height * scale))),
        )
        offset = ((canvas[0] - resized[0]) // 2, (canvas[1] - resized[1]) // 2)
        return Placement(source, resized, (0, 0), resized, offset, canvas)
    if shorter_side:
        resized = _shorter(width, height, shorter_side)
    else:
        scale = max(canvas[0] / width, canvas[1] / height)
        resized = max(canvas[0], round(width * scale)), max(canvas[1], round(height * scale))
    corner = round((resized[0] - canvas[0]) / 2), round((resized[1] - canvas[1]) / 2)
    return Placement(source, resized, corner, canvas, (0, 0), canvas)


def _shorter(width: int, height: int, side: int) -> Size:
    """Size whose shorter side is `side`; the longer one is cut off, as torchvision does."""
    if width <= height:
        return side, max(side, side * height // width)
    return max(side, side * width // height), side


def _picked(source: int, resized: int, first: int, count: int) -> npt.NDArray[np.int64]:
    """Source position of each kept one; positions are summed up step by step, as Pillow does."""
    step = source / resized
    steps = np.full(first + count, step)
    steps[0] = step * 0.5
    positions: npt.NDArray[np.int64] = np.add.accumulate(steps)[first:].astype(np.int64)
    return np.minimum(positions, source - 1)
