"""Resizing only what is kept: by Pillow, or by torch where it is installed and gives the same pixels."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from assets.vision.geometry import Placement
from assets.vision.recipe import Filter

FILTERS: Final[dict[Filter, Image.Resampling]] = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "area": Image.Resampling.BOX,
    "nearest": Image.Resampling.NEAREST,
}
_SMALLEST_KEPT_SHARE: Final = 0.5
"""Torch resizes the whole picture; below this share of it, Pillow's resize of the part alone is cheaper."""


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
        return _nearest(image, placement)
    box = placement.box
    if scale != 1.0:
        left, top, right, bottom = (edge * scale for edge in box)
        box = left, top, min(right, image.width), min(bottom, image.height)
    return image.resize(placement.kept, FILTERS[name], box=box)


def _nearest(image: Image.Image, placement: Placement) -> Image.Image:
    """Pick what Pillow picks when it resizes the whole picture; with its `box` it rounds otherwise."""
    (x, y), (width, height) = placement.corner, placement.kept
    columns = _picked(placement.source[0], placement.resized[0], x, width)
    rows = _picked(placement.source[1], placement.resized[1], y, height)
    return Image.fromarray(np.asarray(image)[rows[:, np.newaxis], columns])


def _picked(source: int, resized: int, first: int, count: int) -> npt.NDArray[np.int64]:
    """Source position of each kept one; positions are summed up step by step, as Pillow does."""
    step = source / resized
    steps = np.full(first + count, step)
    steps[0] = step * 0.5
    positions: npt.NDArray[np.int64] = np.add.accumulate(steps)[first:].astype(np.int64)
    return np.minimum(positions, source - 1)


def torch_is_right_for(placement: Placement, name: Filter) -> bool:
    """Whether torch gives the same pixels (within one level) and is expected to be faster."""
    if name != "bilinear" or placement.resized == placement.source or _functional() is None:
        return False
    kept = placement.kept[0] * placement.kept[1]
    return kept >= _SMALLEST_KEPT_SHARE * placement.resized[0] * placement.resized[1]


def by_torch(pixels: npt.NDArray[np.uint8], placement: Placement) -> npt.NDArray[np.uint8]:
    """Resize colour pixels (H, W, 3) by torch's antialiased filter in 8 bits, cut to what is kept."""
    torch = _functional()
    assert torch is not None
    channels_first = (
        torch.from_numpy(pixels).permute(2, 0, 1).unsqueeze(0)
    )  # a view: memory stays channels last
    width, height = placement.resized
    resized = torch.nn.functional.interpolate(
        channels_first, (height, width), mode="bilinear", antialias=True, align_corners=False
    )
    (x, y), (kept_width, kept_height) = placement.corner, placement.kept
    part = resized[0, :, y : y + kept_height, x : x + kept_width].permute(1, 2, 0).contiguous()
    result: npt.NDArray[np.uint8] = part.numpy()
    return result


@cache
def _functional() -> Any:
    """The torch module, or None where the `torch` extra is not installed."""
    try:
        import torch
    except ModuleNotFoundError:
        return None
    return torch
