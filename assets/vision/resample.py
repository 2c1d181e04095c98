"""Bilinear resampling of colour pixels, antialiased as Pillow's, of the part that is kept and nothing else.

The weights are Pillow's: a triangle as wide as the reduction, normalised, in fixed point of 22 bits
(`libImaging/Resample.c`). Rows are reduced first, because adding whole rows vectorises; Pillow begins with
columns, so that results may differ by one level where rounding falls the other way.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numba
import numpy as np
import numpy.typing as npt

_BITS: Final = 22
_int32: Any = np.int32  # conversions inside compiled code keep its arithmetic at 32 bits, which vectorises

Pixels = npt.NDArray[np.uint8]


def _compiled(function: Any) -> Any:
    """Compile on first use; kept on disk where there is a place for it."""
    try:
        return numba.njit(nogil=True, cache=True)(function)
    except (
        RuntimeError
    ):  # "cannot cache function": neither the package nor the user's cache can be written to
        return numba.njit(nogil=True)(function)


@_compiled
def _weights(size: int, start: float, stop: float, count: int) -> tuple[Any, Any, Any]:
    """First source position, number of them, and weights, for each of `count` results over [start, stop)."""
    scale = (stop - start) / count
    reach = max(scale, 1.0)
    most = math.ceil(reach) * 2 + 1
    first = np.empty(count, np.int32)
    number = np.empty(count, np.int32)
    fixed = np.zeros((count, most), np.int32)
    exact = np.empty(most)
    for result in range(count):
        center = start + (result + 0.5) * scale
        low = max(int(center - reach + 0.5), 0)
        taps = min(int(center + reach + 0.5), size) - low
        total = 0.0
        for tap in range(taps):
            distance = abs((tap + low - center + 0.5) / reach)
            exact[tap] = 1.0 - distance if distance < 1.0 else 0.0
            total += exact[tap]
        for tap in range(taps):
            fixed[result, tap] = int(0.5 + exact[tap] / total * (1 << _BITS))
        first[result] = low
        number[result] = taps
    return first, number, fixed


@_compiled
def resample(
    pixels: Pixels, left: float, top: float, right: float, bottom: float, height: int, width: int
) -> Pixels:
    """Resize a part of a picture; releases the GIL.

    Parameters
    ----------
    pixels
        (H, W, 3), uint8, C order.
    left, top, right, bottom
        The part, in continuous coordinates inside the picture.
    height, width
        Of the result, at least 1.

    Returns
    -------
    numpy.ndarray
        (height, width, 3), uint8.
    """
    first_x, taps_x, weights_x = _weights(pixels.shape[1], left, right, width)
    first_y, taps_y, weights_y = _weights(pixels.shape[0], top, bottom, height)
    begin = first_x[0] * 3
    end = (first_x[width - 1] + taps_x[width - 1]) * 3
    rows = pixels.reshape(pixels.shape[0], pixels.shape[1] * 3)
    result = np.empty((height, width * 3), np.uint8)
    line = np.empty(end - begin, np.int32)
    half, bits = _int32(1 << (_BITS - 1)), _int32(_BITS)
    for y in range(height):
        weight = weights_y[y, 0]
        row = rows[first_y[y], begin:end]
        for x in range(len(line)):
            line[x] = _int32(half + _int32(row[x]) * weight)
        for tap in range(1, taps_y[y]):
            weight = weights_y[y, tap]
            row = rows[first_y[y] + tap, begin:end]
            for x in range(len(line)):
                line[x] = _int32(line[x] + _int32(row[x]) * weight)
        for x in range(len(line)):
            line[x] = line[x] >> bits
        target = result[y]
        for x in range(width):
            at = first_x[x] * 3 - begin
            red, green, blue = half, half, half
            for tap in range(taps_x[x]):
                weight = weights_x[x, tap]
                red = _int32(red + line[at] * weight)
                green = _int32(green + line[at + 1] * weight)
                blue = _int32(blue + line[at + 2] * weight)
                at += 3
            target[3 * x] = red >> bits
            target[3 * x + 1] = green >> bits
            target[3 * x + 2] = blue >> bits
    return result.reshape(height, width, 3)
