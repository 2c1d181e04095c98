"""Resizing only what is kept: by Pillow, or for most photographs by a compiled filter with its weights."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from assets.vision.recipe import Filter
from shards.placement import Placement

FILTERS: Final[dict[Filter, Image.Resampling]] = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "area": Image.Resampling.BOX,
    "nearest": Image.Resampling.NEAREST,
}


def by_pillow(image: Image.Image, placement: Placement, name: Filter, scale: float = 1.0) -> Image.Image:
    """Resize the part that is kept, straight from the source.

    Parameters
    ----------
    scale
        Side of `image` over side of the source, where it was decoded smaller.
    """
    if placement.resized == placement.source and scale == 1.0:
        if placement.kept == placement.source:
            return image
        (x, y), (width, height) = placement.corner, placement.kept
        return image.crop((x, y, x + width, y + height))
    if name == "nearest":
        columns, rows = placement.nearest()
        return Image.fromarray(np.asarray(image)[rows[:, np.newaxis], columns])
    box = placement.box
    if scale != 1.0:
        left, top, right, bottom = (edge * scale for edge in box)
        box = left, top, min(right, image.width), min(bottom, image.height)
    return image.resize(placement.kept, FILTERS[name], box=box)


def into(
    target: npt.NDArray[np.uint8], pixels: npt.NDArray[np.uint8], placement: Placement, scale: float = 1.0
) -> None:
    """Fill `target` (kept height, kept width, 3) from colour pixels (H, W, 3), bilinearly.

    Parameters
    ----------
    scale
        Side of `pixels` over side of the source, where it was decoded smaller.
    """
    from assets.vision.resample import resample  # not at import: decoding children do without the compiler

    left, top, right, bottom = (edge * scale for edge in placement.box)
    height, width = pixels.shape[:2]
    resample(pixels, left, top, min(right, width), min(bottom, height), target)
