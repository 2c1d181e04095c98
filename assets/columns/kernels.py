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
_SIGN = np.uint64(1 << 63)
FINE_BITS = 16
"""Last bits of words that sums of offsets leave out, so that they stay in 64 bits over 10^8 rows and more."""

_DIGIT_BITS = 11
_DIGITS = 1 << _DIGIT_BITS
_GROUPS = 1_024
_GROUP_SHIFT = np.uint64(54)
_MAX_TRIES = 256


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
def hash_slices(octets: Any, words: Any, starts: Any, lengths: Any, keys: Any, seed: Any, out: Any) -> None:
    """Hash each of many slices of octets; `keys` are the first keys of the positions, more are made.

    `words[i]` are the eight octets from `i` on.
    """
    num_keys = len(keys)
    for row in range(len(starts)):
        start, length = starts[row], lengths[row]
        num_words, left = (length + 7) >> 3, length & 7
        total = np.uint64(0)
        for index in range(num_words):
            if index < length >> 3:
                word = words[start + (index << 3)]
            elif length > 8:  # the last octets, read as the end of a whole word
                word = words[start + length - 8] >> (_EIGHT * np.uint64(8 - left))
            else:
                word = np.uint64(0)
                for octet in range(left):
                    word |= np.uint64(octets[start + octet]) << (_EIGHT * np.uint64(octet))
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


@_entry
def keys_of_floats(words: Any, wanted: Any, sign: Any, exponent: Any, keys: Any) -> Any:
    """Gather the wanted finite numbers, seen as words, as keys in their order; gives their number."""
    num = 0
    for row in range(len(words)):
        word = words[row]
        keys[num] = ~word if word & sign else word | sign
        num += wanted[row] & ((word & exponent) != exponent)
    return num


@_entry
def floats_of_keys(keys: Any, sign: Any, words: Any) -> None:
    """Undo `keys_of_floats`."""
    for row in range(len(keys)):
        key = keys[row]
        words[row] = key & ~sign if key & sign else ~key


@_entry
def sort_words(words: Any, spare: Any, num_digits: Any) -> Any:
    """Sort by digits of 11 bits, the lowest first; gives `words` or `spare`, whichever holds the result."""
    counts = np.zeros((num_digits, _DIGITS), np.int64)
    for row in range(len(words)):
        for digit in range(num_digits):
            counts[digit, (words[row] >> (_DIGIT_BITS * digit)) & (_DIGITS - 1)] += 1
    for digit in range(num_digits):
        places, shift = counts[digit], _DIGIT_BITS * digit
        if len(words) and places[(words[0] >> shift) & (_DIGITS - 1)] == len(words):
            continue
        start = 0
        for value in range(_DIGITS):
            count = places[value]
            places[value] = start
            start += count
        for row in range(len(words)):
            value = (words[row] >> shift) & (_DIGITS - 1)
            spare[places[value]] = words[row]
            places[value] += 1
        words, spare = spare, words
    return words


@_entry
def surely_differ(hashes: Any, spare: Any) -> Any:
    """Tell that no hash occurs twice: they are grouped by their high bits, each group in a small table.

    Hashes that crowd one place of a table, as no honest ones do, are not looked at: then it is not sure.
    """
    starts = np.zeros(_GROUPS + 1, np.int64)
    for row in range(len(hashes)):
        starts[(hashes[row] >> _GROUP_SHIFT) + _ONE] += 1
    largest = 0
    for group in range(_GROUPS):
        largest = max(largest, starts[group + 1])
        starts[group + 1] += starts[group]
    places = starts[:-1].copy()
    for row in range(len(hashes)):
        group = hashes[row] >> _GROUP_SHIFT
        spare[places[group]] = hashes[row]
        places[group] += 1
    size = 64
    while size < 2 * largest:
        size *= 2
    table, owner = np.zeros(size, np.uint64), np.full(size, -1, np.int64)
    for group in range(_GROUPS):
        for row in range(starts[group], starts[group + 1]):
            place, tries = spare[row] & np.uint64(size - 1), 0
            while owner[place] == group:
                if table[place] == spare[row] or tries == _MAX_TRIES:
                    return False
                place, tries = (place + _ONE) & np.uint64(size - 1), tries + 1
            owner[place], table[place] = group, spare[row]
    return True


@_inner
def _ordered(word: Any) -> Any:
    """Give the word of a float so that larger floats have larger words; both zeros are one."""
    if word == _SIGN:
        return _SIGN
    return ~word if word & _SIGN else word | _SIGN


@_inner
def _num_bits(word: Any) -> Any:
    found = 0
    for half in (32, 16, 8, 4, 2, 1):
        if word >> np.uint64(half):
            word >>= np.uint64(half)
            found += half
    return found + 1 if word else found


@_entry
def cells_of_sorted(words: Any, cells: Any, counts: Any, offsets: Any) -> tuple[int, int]:
    """Count the words of increasing floats by their leading bits; gives the bits left out, and the cells."""
    differing = np.zeros(65, np.int64)
    before = _ordered(words[0])
    for row in range(1, len(words)):
        word = _ordered(words[row])
        if word != before:
            differing[_num_bits(word ^ before)] += 1
        before = word
    level, num = 64, 1
    while level > 0 and num + differing[level] <= len(cells):
        num += differing[level]
        level -= 1
    last = -1
    shift, fine = np.uint64(level), np.uint64(FINE_BITS)
    for row in range(len(words)):
        word = _ordered(words[row])
        cell = word >> shift
        if last < 0 or cells[last] != cell:
            last += 1
            cells[last] = cell
        counts[last] += 1
        offsets[last] += np.int64((word >> fine) - ((cell << shift) >> fine))
    return level, num
