"""Sums of pixels are exact, whatever the layout and however extreme the shape."""

from __future__ import annotations

import numpy as np
import pytest

from assets.vision.moments import moments_of
from assets.vision.recipe import Mode, Recipe


@pytest.mark.parametrize("layout", ["hwc", "chw"])
@pytest.mark.parametrize(("mode", "channels"), [("rgb", 3), ("gray", 1), ("rgba", 4)])
@pytest.mark.parametrize("size", [(1, 1), (24, 32), (65_535, 2), (2, 65_535)])
def test_sums_of_bytes_are_exact(layout: str, mode: Mode, channels: int, size: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(250, 256, (*size, channels), dtype=np.uint8)
    flat = pixels.reshape(-1, channels).astype(np.uint64)
    stored = np.ascontiguousarray(pixels.transpose(2, 0, 1)) if layout == "chw" else pixels
    found = moments_of(stored, Recipe.from_json({"mode": mode, "layout": layout}))
    assert found.num_pixels == len(flat)
    assert found.sums == flat.sum(axis=0).tolist()
    assert found.squares == (flat * flat).sum(axis=0).tolist()
