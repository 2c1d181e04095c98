"""Bilinear resampling of colour pixels, antialiased as Pillow's, of the part that is kept and nothing else.

The weights are Pillow's: a triangle as wide as the reduction, normalised (`libImaging/Resample.c`). Pillow
works in fixed point and rounds between columns and rows; here it is single precision, rows first, because
adding whole rows vectorises, and rounded once. Results differ by one level at most. No operation is reordered
or fused by the compiler, so that every machine gives the same pixels.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numba
import numpy as np
import numpy.typing as npt

_float: Any = np.float32
_TAPS: Final = 4
"""Source pixels that are added at once; up to a reduction of 1.5 these are all."""

_1, _2, _3, _4, _5, _6, _7, _8, _9, _10, _11 = (np.uint64(number) for number in range(1, 12))

Pixels = npt.NDArray[np.uint8]


def compiled(function: Any) -> Any:
    """Compile on first use, to run without the GIL; kept on disk where there is a place for it."""
    try:
        return numba.njit(nogil=True, cache=True)(function)
    except (
        RuntimeError
    ):  # "cannot cache function": neither the package nor the user's cache can be written to
        return numba.njit(nogil=True)(function)


@compiled
def _weights(size: int, start: float, stop: float, count: int) -> tuple[Any, Any, Any]:
    """First source position, number of them, and weights, for each of `count` results over [start, stop)."""
    scale = (stop - start) / count
    reach = max(scale, 1.0)
    most = (math.ceil(reach) * 2 + _TAPS) // _TAPS * _TAPS
    first = np.empty(count, np.int32)
    number = np.empty(count, np.int32)
    weights = np.zeros((count, most), np.float32)
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
            weights[result, tap] = exact[tap] / total
        first[result] = low
        number[result] = taps
    return first, number, weights


@compiled
def _add_rows(rows: Any, first: int, taps: int, weights: Any, line: Any) -> None:
    """Fill `line` with the weighted sum of rows; weights beyond the last tap are zero."""
    last = rows.shape[0] - 1
    row_0, row_1 = rows[first], rows[min(first + 1, last)]
    row_2, row_3 = rows[min(first + 2, last)], rows[min(first + 3, last)]
    weight_0, weight_1, weight_2, weight_3 = weights[0], weights[1], weights[2], weights[3]
    for x in range(rows.shape[1]):
        line[x] = (
            _float(row_0[x]) * weight_0
            + _float(row_1[x]) * weight_1
            + _float(row_2[x]) * weight_2
            + _float(row_3[x]) * weight_3
        )
    for tap in range(_TAPS, taps):
        row, weight = rows[first + tap], weights[tap]
        for x in range(rows.shape[1]):
            line[x] += _float(row[x]) * weight


@compiled
def _add_columns(line: Any, starts: Any, taps: Any, weights: Any, target: Any) -> None:
    """Fill a row of the result with the weighted sums of parts of `line`.

    Positions are unsigned: the machine code then need not ask at every read whether they count from the end.
    """
    half = _float(0.5)
    for x in range(len(starts)):
        at, many = starts[x], weights[x]
        weight_0, weight_1, weight_2, weight_3 = many[0], many[1], many[2], many[3]
        red = half + line[at] * weight_0 + line[at + _3] * weight_1
        green = half + line[at + _1] * weight_0 + line[at + _4] * weight_1
        blue = half + line[at + _2] * weight_0 + line[at + _5] * weight_1
        red += line[at + _6] * weight_2 + line[at + _9] * weight_3
        green += line[at + _7] * weight_2 + line[at + _10] * weight_3
        blue += line[at + _8] * weight_2 + line[at + _11] * weight_3
        for tap in range(_TAPS, taps[x]):
            here, weight = at + _3 * np.uint64(tap), many[tap]
            red += line[here] * weight
            green += line[here + _1] * weight
            blue += line[here + _2] * weight
        target[x, 0] = np.uint8(np.int32(red))
        target[x, 1] = np.uint8(np.int32(green))
        target[x, 2] = np.uint8(np.int32(blue))


@compiled
def resample(pixels: Pixels, left: float, top: float, right: float, bottom: float, result: Pixels) -> None:
    """Resize a part of a picture; releases the GIL.

    Parameters
    ----------
    pixels
        (H, W, 3), uint8, C order.
    left, top, right, bottom
        The part, in continuous coordinates inside the picture.
    result
        (height, width, 3), uint8, any order; filled.
    """
    height, width = result.shape[:2]
    first_x, taps_x, weights_x = _weights(pixels.shape[1], left, right, width)
    first_y, taps_y, weights_y = _weights(pixels.shape[0], top, bottom, height)
    begin = first_x[0] * 3
    end = (first_x[width - 1] + taps_x[width - 1]) * 3
    rows = pixels.reshape(pixels.shape[0], pixels.shape[1] * 3)[:, begin:end]
    starts = (first_x * 3 - begin).astype(np.uint64)
    line = np.zeros(end - begin + 3 * weights_x.shape[1], np.float32)
    for y in range(height):
        _add_rows(rows, first_y[y], taps_y[y], weights_y[y], line)
        _add_columns(line, starts, taps_x, weights_x, result[y])
