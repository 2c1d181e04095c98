"""The quick way through an array: elements that are plain values of one target, in one loop; compiled."""

from __future__ import annotations

from assets.mongo import layout
from assets.mongo.layout import FLOAT64, INT64, STRING, T_DOUBLE, T_INT32, T_INT64, T_STRING, UINT64
from assets.mongo.memory import (
    inline,
    inner,
    load8,
    load32,
    load64,
    load_double,
    store64,
    store_double,
    trailing_zeros,
)
from assets.mongo.scalars import put_text
from assets.mongo.verify import HIGH_BITS, LOW_BITS

ROOM = 9
"""Bytes that are read of an element before its size is known: its type and a word of its name."""

MAX_DIGITS = 7
"""Bytes of a name that a word holds together with the zero byte behind them."""


@inline
def skip_name(position: int, num_digits: int, mask: int, mark: int) -> int:
    """Address behind an element's name that should have some digits, 0 for one of eight or more bytes.

    Of the flags of zero bytes in a word, `mask` are those up to the byte behind the digits, which is `mark`.

    The bytes of names of arrays mean nothing. That a name is as long as expected is a condition, not part
    of a computation, so that the processor goes on to the next element before it has looked.
    """
    word = load64(position + 1)
    zeros = (word - LOW_BITS) & ~word & HIGH_BITS
    if zeros & mask == mark:
        return position + 2 + num_digits
    if zeros == 0:
        return 0
    return position + 2 + (trailing_zeros(zeros) >> 3)


@inner
def put_run(state: int, target: int, num_elements: int, position: int, stop: int) -> int:
    """Append elements of an array while they are plain ones; address of the first one left to do."""
    kind = load64(target + layout.TARGET_KIND)
    plain = load64(target + layout.TARGET_PLAIN)
    length = load64(target + layout.TARGET_LENGTH)
    capacity = load64(target + layout.TARGET_CAPACITY)
    data = load64(target + layout.TARGET_DATA)
    low = load64(target + layout.TARGET_LOW)
    high = load64(target + layout.TARGET_HIGH)
    lowest = load_double(target + layout.TARGET_LOW)
    highest = load_double(target + layout.TARGET_HIGH)
    last = load64(state + layout.STATE_END) - ROOM
    num_digits = 1
    limit = 10
    while limit <= num_elements and num_digits < MAX_DIGITS:
        num_digits += 1
        limit *= 10
    mark = 128 << (8 * num_digits)
    mask = (mark << 1) - 1
    # What is read here may lie behind this array, never behind the batch.
    while length < capacity and position < stop and position <= last:
        bson_type = load8(position)
        value = skip_name(position, num_digits, mask, mark)
        following = value + 8
        if value == 0:
            break
        if bson_type == plain:
            if following > stop:
                break
            store64(data + 8 * length, load64(value))
        elif bson_type == T_STRING and kind == STRING:
            if value + 4 > stop:
                break
            following = put_text(target, length, value, stop)
            if following == 0:
                break
        elif bson_type == T_DOUBLE and kind == FLOAT64:
            if following > stop:
                break
            real = load_double(value)
            if real < lowest or real > highest:
                break
            store_double(data + 8 * length, real)
        elif bson_type in (T_INT32, T_INT64) and kind in (INT64, UINT64):
            following = value + 4 if bson_type == T_INT32 else value + 8
            if following > stop:
                break
            whole = load32(value) if bson_type == T_INT32 else load64(value)
            if whole < low or whole > high:
                break
            store64(data + 8 * length, whole)
        else:
            break
        position = following
        length += 1
        num_elements += 1
        if num_elements == limit and num_digits < MAX_DIGITS:
            num_digits += 1
            limit *= 10
            mark <<= 8
            mask = (mark << 1) - 1
    store64(target + layout.TARGET_LENGTH, length)
    return position
