"""Inner loops over whole batches, compiled by Numba without the interpreter's lock; machine code is cached.

Each has its meaning in the module that calls it; nothing here checks its arguments.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit

Function = TypeVar("Function", bound=Callable[..., Any])

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MULTIPLY_1 = np.uint64(0xBF58476D1CE4E5B9)
_MULTIPLY_2 = np.uint64(0x94D049BB133111EB)
_30, _27, _31 = np.uint64(30), np.uint64(27), np.uint64(31)
_ONE, _EIGHT = np.uint64(1), np.uint64(8)


def _inner(function: Function) -> Function:
    return cast("Function", njit(nogil=True, error_model="numpy", inline="always")(function))


def _entry(function: Function) -> Function:
    """Compile a function that Python calls; the machine code is kept where that can be written."""
    try:
        return cast("Function", njit(nogil=True, cache=True, error_model="numpy")(function))
    except RuntimeError as error:  # Numba: "cannot cache function ...: no locator available"
        warnings.warn(f"compiled code is not kept between runs ({error}); set NUMBA_CACHE_DIR", stacklevel=2)
        return cast("Function", njit(nogil=True, error_model="numpy")(function))


@_inner
def _mix(word: Any) -> Any:
    out = word ^ (word >> _30)
    out = out * _MULTIPLY_1
    out = out ^ (out >> _27)
    out = out * _MULTIPLY_2
    return out ^ (out >> _31)


@_entry
def mix_all(words: Any, out: Any) -> None:
    """Apply the finaliser to every word."""
    for row in range(len(words)):
        out[row] = _mix(words[row])


@_entry
def hash_slices(octets: Any, starts: Any, lengths: Any, keys: Any, seed: Any, out: Any) -> None:
    """Hash each of many slices of octets; `keys` are the first keys of the positions, more are made."""
    num_keys = len(keys)
    for row in range(len(starts)):
        start, length = starts[row], lengths[row]
        num_words = (length + 7) >> 3
        total = np.uint64(0)
        for index in range(num_words):
            place = start + (index << 3)
            left = min(length - (index << 3), 8)
            word = np.uint64(0)
            if left == 8:
                for octet in range(8):
                    word |= np.uint64(octets[place + octet]) << (_EIGHT * np.uint64(octet))
            else:
                for octet in range(left):
                    word |= np.uint64(octets[place + octet]) << (_EIGHT * np.uint64(octet))
            key = keys[index] if index < num_keys else _mix(seed + np.uint64(index + 1) * GOLDEN)
            total += _mix(word ^ key)
        last = keys[num_words] if num_words < num_keys else _mix(seed + np.uint64(num_words + 1) * GOLDEN)
        out[row] = _mix((last ^ np.uint64(length)) + total)


@_entry
def hash_words(words: Any, length: Any, keys: Any, out: Any) -> None:
    """Hash rows of whole words; `length` is the number of octets of a row."""
    num_words = words.shape[1]
    start = keys[num_words] ^ np.uint64(length)
    for row in range(len(words)):
        total = start
        for index in range(num_words):
            total += _mix(words[row, index] ^ keys[index])
        out[row] = _mix(total)


@_entry
def extremes_and_sum(values: Any, wanted: Any, total: Any, low: Any, high: Any) -> None:
    """Add the wanted rows up, column by column, and keep their extremes. NaN makes the sum NaN.

    One loop an accumulator: only so do they become vector instructions.
    """
    width = values.shape[1]
    for row in range(len(values)):
        if wanted[row]:
            for column in range(width):
                total[column] += values[row, column]
            for column in range(width):
                value = np.float64(values[row, column])
                low[column] = value if value < low[column] else low[column]
            for column in range(width):
                value = np.float64(values[row, column])
                high[column] = value if value > high[column] else high[column]


@_entry
def deviations(values: Any, wanted: Any, mean: Any, rest: Any, m2: Any) -> None:
    """Add up the deviations of the wanted rows from the mean, and their squares."""
    width = values.shape[1]
    for row in range(len(values)):
        if wanted[row]:
            for column in range(width):
                rest[column] += values[row, column] - mean[column]
            for column in range(width):
                deviation = values[row, column] - mean[column]
                m2[column] += deviation * deviation


@_entry
def all_plain(values: Any, low: Any, high: Any, exact: Any, least: Any) -> Any:
    """Tell whether every number is finite, in [low, high], and either zero or of size `least` to `exact`."""
    plain = True
    for index in range(len(values)):
        value = values[index]
        size = abs(value)
        plain &= (value >= low) & (value <= high) & (size <= exact) & ((size >= least) | (size == 0.0))
    return plain
