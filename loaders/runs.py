"""Runs of elements: lists and texts that lie end to end, copied many at once."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt


def flat_index(starts: npt.NDArray[np.int64], bounds: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Number every element of runs that start at `starts` and lie end to end at `bounds`."""
    index = np.arange(bounds[-1])
    index += np.repeat(starts - bounds[:-1], np.diff(bounds))
    return index


def copy_runs(
    source: npt.NDArray[Any],
    starts: npt.NDArray[np.int64],
    lengths: npt.NDArray[np.int64],
    out: npt.NDArray[Any],
    places: npt.NDArray[np.int64],
) -> None:
    """Copy run i, `lengths[i]` elements of `source` from `starts[i]`, to element `places[i]` of `out`.

    Both are flat, contiguous and of one dtype. Runs of 2**k up to 2**(k + 1) - 1 elements are copied
    together, each as its first 2**k elements and its last 2**k, which may overlap: to NumPy these are single
    elements of a type of that size which begin anywhere. See docs/decisions/0510.
    """
    num_bits = np.frexp(lengths)[1].astype(np.int8)  # of each length; 0 of 0
    order = np.argsort(num_bits, kind="stable")
    starts, lengths, places = starts[order], lengths[order], places[order]
    edges = np.cumsum(np.bincount(num_bits)).tolist()
    for bits, (low, high) in enumerate(pairwise(edges), 1):
        if low == high:
            continue
        some = slice(low, high)
        least, most = int(lengths[some].min()), int(lengths[some].max())
        size = least if least == most else 1 << bits - 1
        runs, room = _elements(source, size), _elements(out, size)
        room[places[some]] = runs[starts[some]]
        if least < most:
            rest = lengths[some] - size
            room[places[some] + rest] = runs[starts[some] + rest]


def _elements(array: npt.NDArray[Any], size: int) -> npt.NDArray[np.void]:
    """View every `size` elements that follow each other as one, which begins at each element."""
    width = array.dtype.itemsize
    dtype = np.dtype((np.void, size * width))
    return np.ndarray(len(array) - size + 1, dtype, array, strides=(width,))
