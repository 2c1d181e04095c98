"""Sums and sums of squares of bytes, added in one pass over the pixels."""

from __future__ import annotations

from typing import Any

import numpy as np

from assets.vision.resample import compiled


@compiled
def add_bytes(rows: Any, sums: Any, squares: Any) -> None:
    """Add up bytes and their squares by channel; releases the GIL.

    Parameters
    ----------
    rows
        (at most 65,535, width x channels), uint8, channels in turns within a row.
    sums, squares
        (channels,), uint64; added to.
    """
    width, channels = rows.shape[1], len(sums)
    across = np.zeros(width, np.uint32)  # whole rows are added at once, which vectorises
    across_squares = np.zeros(width, np.uint32)  # 65,535 rows of 255 x 255 fit 32 bits
    for y in range(rows.shape[0]):
        row = rows[y]
        for x in range(width):
            value = np.uint32(row[x])
            across[x] += value
            across_squares[x] += value * value
    for x in range(width):
        sums[x % channels] += np.uint64(across[x])
        squares[x % channels] += np.uint64(across_squares[x])
