"""Strict validation of BSON values, compiled: nothing outside [address, end) is ever read.

`bson.decode` is the measure of what is valid: lengths, terminators, UTF-8 of names and strings, booleans of 0
and 1, nesting. Arrays' own names are not looked at, by neither.
"""

from __future__ import annotations

from assets.mongo import layout
from assets.mongo.layout import BAD_UTF8, CORRUPT, MAX_DEPTH, OK, T_ARRAY, TOO_DEEP
from assets.mongo.memory import inline, inner, load8, load32, load64, store64, trailing_zeros

HIGH_BITS = -0x7F7F7F7F7F7F7F80  # 0x8080808080808080 as a signed integer
LOW_BITS = 0x0101010101010101


@inner
def name_end(address: int, end: int) -> int:
    """Address of the zero byte that ends a name, or -1 where there is none before `end`."""
    while address + 8 <= end:
        word = load64(address)
        zeros = (word - LOW_BITS) & ~word & HIGH_BITS
        if zeros != 0:
            return address + (trailing_zeros(zeros) >> 3)
        address += 8
    while address < end:
        if load8(address) == 0:
            return address
        address += 1
    return -1


@inline
def find_name_end(address: int, end: int) -> int:
    """The same as `name_end`; short names without a call."""
    if address + 8 <= end:
        word = load64(address)
        zeros = (word - LOW_BITS) & ~word & HIGH_BITS
        if zeros != 0:
            return address + (trailing_zeros(zeros) >> 3)
    return name_end(address, end)


@inline
def is_text(address: int, end: int) -> bool:
    """The same as `is_utf8`; ASCII without a call."""
    while address + 8 <= end and load64(address) & HIGH_BITS == 0:
        address += 8
    while address < end and load8(address) < 0x80:
        address += 1
    return address >= end or is_utf8(address, end)


@inner
def is_utf8(address: int, end: int) -> bool:
    """Whether the bytes are UTF-8: no overlong forms, surrogates or code points above U+10FFFF."""
    while address < end:
        if address + 8 <= end and load64(address) & HIGH_BITS == 0:
            address += 8
            continue
        first = load8(address)
        if first < 0x80:
            address += 1
            continue
        if first < 0xC2 or first > 0xF4:
            return False
        num_more = 1 if first < 0xE0 else 2 if first < 0xF0 else 3
        if address + num_more >= end:
            return False
        second = load8(address + 1)
        lowest = 0xA0 if first == 0xE0 else 0x90 if first == 0xF0 else 0x80
        highest = 0x9F if first == 0xED else 0x8F if first == 0xF4 else 0xBF
        if second < lowest or second > highest:
            return False
        for index in range(2, num_more + 1):
            if load8(address + index) & 0xC0 != 0x80:
                return False
        address += num_more + 1
    return True


@inline
def measure(state: int, bson_type: int, address: int, end: int) -> int:
    """Bytes of a value, or -1 where its type is unknown or it does not fit before `end`."""
    room = end - address
    size = load64(load64(state + layout.STATE_SIZES) + 8 * bson_type)
    if size < layout.SIZE_UNKNOWN:
        if size == layout.SIZE_BOOL:
            return 1 if room >= 1 and load8(address) <= 1 else -1
        if size == layout.SIZE_REGEX:
            place = name_end(address, end)
            if place >= 0:
                place = name_end(place + 1, end)
            return -1 if place < 0 else place + 1 - address
        if room < 5:
            return -1
        length = load32(address)
        if size == layout.SIZE_TEXT:
            size = 4 + length
            if length < 1 or size > room or load8(address + size - 1) != 0:
                return -1
        elif size == layout.SIZE_CONTAINER:
            size = length
            if size < 5 or size > room or load8(address + size - 1) != 0:
                return -1
        elif size == layout.SIZE_BINARY:
            size = 5 + length
            if length < 0 or size > room:
                return -1
            subtype = load8(address + 4)
            if subtype == 2 and (length < 4 or load32(address + 5) != length - 4):
                return -1
        elif size == layout.SIZE_DBPOINTER:
            size = 16 + length
            if length < 1 or size > room or load8(address + 3 + length) != 0:
                return -1
        else:  # code with scope: total length, text, document
            size = length
            if size < 14 or size > room:
                return -1
            text = load32(address + 4)
            if text < 1 or text > size - 13 or load8(address + 7 + text) != 0:
                return -1
            if load32(address + 8 + text) != size - 8 - text or load8(address + size - 1) != 0:
                return -1
    return size if size <= room else -1


@inner
def check(state: int, bson_type: int, address: int, end: int, depth: int) -> int:
    """Validate a measured value and everything inside it, `depth` documents below the root."""
    sizes = load64(state + layout.STATE_SIZES)
    ends = load64(state + layout.STATE_ENDS)
    level = depth - 1
    position = address
    size = end - address
    while True:
        size_class = load64(sizes + 8 * bson_type)
        text_start = position + 4
        text_end = text_start
        body = -1
        if size_class == layout.SIZE_TEXT:
            text_end = position + size - 1
        elif size_class == layout.SIZE_DBPOINTER:
            text_end = position + size - 13
        elif size_class == layout.SIZE_REGEX:
            # Two texts, each ended by a zero byte, which no character of several bytes can span.
            text_start = position
            text_end = position + size
        elif size_class == layout.SIZE_CONTAINER:
            body = position + 4
        elif size_class == layout.SIZE_SCOPE:
            text_start = position + 8
            text_end = position + 7 + load32(position + 4)
            body = text_end + 5
        if text_end > text_start and not is_text(text_start, text_end):
            return BAD_UTF8
        if body >= 0:
            level += 1
            if level >= MAX_DEPTH:
                return TOO_DEEP
            # The lowest bit of an entry of the stack tells arrays, the rest is the end of the container.
            store64(ends + 8 * level, (position + size - 1) * 2 + (1 if bson_type == T_ARRAY else 0))
            position = body
        else:
            position += size
        while level >= depth and position == load64(ends + 8 * level) >> 1:
            position += 1
            level -= 1
        if level < depth:
            return OK
        entry = load64(ends + 8 * level)
        stop = entry >> 1
        if position > stop:
            return CORRUPT
        bson_type = load8(position)
        name = position + 1
        position = find_name_end(name, stop) + 1
        if position == 0:
            return CORRUPT
        if entry & 1 == 0 and not is_text(name, position - 1):
            return BAD_UTF8
        size = measure(state, bson_type, position, stop)
        if size < 0:
            return CORRUPT
