"""Perceptual hashes: 64 bits that hardly change when a picture is scaled, recompressed or brightened."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from assets.vision.recipe import Recipe

NEAR_BITS: Final = 3
"""Pictures whose hashes differ in at most this many bits count as near duplicates."""

_LUMA: Final = np.array([0.299, 0.587, 0.114], np.float32)


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
    """Count pictures that have an earlier one within `NEAR_BITS` bits.

    Of 4 bands of 16 bits, at least one is equal in any two hashes that differ in at most 3 bits; so only
    pictures with an equal band are compared, and each with at most 4,096 earlier ones of it.
    """
    duplicate = np.zeros(len(hashes), np.bool_)
    _, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
    duplicate |= first[inverse] != np.arange(len(hashes))
    unique_rows = np.flatnonzero(~duplicate)
    for band in range(NEAR_BITS + 1):
        part = (hashes[unique_rows] >> np.uint64(16 * band)) & np.uint64(0xFFFF)
        order = np.argsort(part, kind="stable")
        starts = np.flatnonzero(np.diff(part[order], prepend=np.uint64(1 << 20)))
        for rows in np.split(unique_rows[order], starts[1:]):
            _mark(hashes, np.sort(rows), duplicate)
    return int(duplicate.sum())


def _mark(
    hashes: npt.NDArray[np.uint64], rows: npt.NDArray[np.intp], duplicate: npt.NDArray[np.bool_]
) -> None:
    """Mark rows of one band that have an earlier near one; a band shared by very many is cut into blocks."""
    for position in range(1, len(rows)):
        if duplicate[rows[position]]:
            continue
        before = hashes[rows[max(0, position - 4096) : position]]
        if (_num_bits(before ^ hashes[rows[position]]) <= NEAR_BITS).any():
            duplicate[rows[position]] = True


def _num_bits(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    bits = np.unpackbits(np.ascontiguousarray(values).view(np.uint8).reshape(-1, 8), axis=1)
    counted: npt.NDArray[np.int64] = bits.sum(axis=1, dtype=np.int64)
    return counted
