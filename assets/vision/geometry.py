"""Where a picture lands: one placement for its pixels, its boxes, its points and its masks.

Coordinates are those of `shards.placement`.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from assets.vision.recipe import Recipe
from shards import placement
from shards.placement import Floats, Placement

SWAPPING: Final = frozenset({5, 6, 7, 8})
"""EXIF orientations that exchange width and height."""


def place(width: int, height: int, recipe: Recipe) -> Placement:
    """Compute the placement of a picture of this size, as shown."""
    return placement.place(width, height, recipe.size, recipe.fit, recipe.shorter_side)


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
