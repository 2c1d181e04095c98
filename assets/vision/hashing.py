"""Perceptual hashes: 64 bits that hardly change when a picture is scaled, recompressed or brightened."""

from __future__ import annotations

import itertools
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from assets.vision.recipe import Recipe

NEAR_BITS: Final = 3
"""Pictures whose hashes differ in at most this many bits count as near duplicates."""

_EDGES: Final = (0, 11, 22, 33, 44, 54, 64)
_BANDS: Final = tuple((1 << stop) - (1 << start) for start, stop in itertools.pairwise(_EDGES))
"""Six bands of bits, as masks; three of them are equal in few pairs of pictures, even among millions."""


def difference_hash(pixels: npt.NDArray[Any], recipe: Recipe) -> int:
    """Hash by whether each of 8 x 8 cells is darker than its right neighbour (dHash, N. Krawetz)."""
    image = pixels if recipe.layout == "hwc" else np.moveaxis(pixels, 0, -1)
    if image.dtype != np.uint8:
        image = np.clip(image / (257 if recipe.mode == "keep16" else 1), 0, 255).astype(np.uint8)
    small = Image.fromarray(np.ascontiguousarray(image[..., 0] if image.shape[-1] == 1 else image))
    if small.mode == "RGBA":
        small = small.convert("RGB")
    grid = np.asarray(small.convert("L").resize((9, 8), Image.Resampling.BOX)).astype(np.int16)
    bits = (grid[:, 1:] > grid[:, :-1]).reshape(-1)
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def num_near_duplicates(hashes: npt.NDArray[np.uint64]) -> int:
    """Count pictures that have an earlier one within `NEAR_BITS` bits; exact.

    Two hashes that differ in so few bits are equal in all bands of bits but as many; so for every choice of
    the other bands, those that are equal in them are compared (multi-index hashing: Norouzi, Punjani and
    Fleet, 2012). A few times the memory of the hashes is used.
    """
    _, first = np.unique(hashes, return_index=True)
    distinct = hashes[np.sort(first)]
    is_near = np.zeros(len(distinct), np.bool_)
    for bands in itertools.combinations(_BANDS, len(_BANDS) - NEAR_BITS):
        _mark(distinct, np.uint64(sum(bands)), is_near)
    return len(hashes) - len(distinct) + int(is_near.sum())


def _mark(hashes: npt.NDArray[np.uint64], mask: np.uint64, is_near: npt.NDArray[np.bool_]) -> None:
    """Mark hashes that are near an earlier one that is equal under the mask."""
    order = np.argsort(hashes & mask, kind="stable")
    ordered = hashes[order]
    keys = ordered & mask
    positions = np.arange(len(keys))
    is_first = np.diff(keys, prepend=~keys[:1]) != 0
    num_earlier = positions - np.maximum.accumulate(np.where(is_first, positions, 0))
    open_ones, step = np.flatnonzero((num_earlier > 0) & ~is_near[order]), 1
    while len(open_ones):
        different = ordered[open_ones] ^ ordered[open_ones - step]
        for _ in range(NEAR_BITS):
            different &= different - np.uint64(1)  # clears the lowest bit that is set
        found = different == 0
        is_near[order[open_ones[found]]] = True
        step += 1
        open_ones = open_ones[~found & (num_earlier[open_ones] >= step)]
