"""One value into one column buffer, compiled: strict about types, bounds and exactness."""

from __future__ import annotations

from assets.mongo import layout
from assets.mongo.layout import (
    BOOL,
    FLOAT64,
    INEXACT,
    INT64,
    NULL,
    OK,
    OUT_OF_RANGE,
    RAW,
    STRING,
    T_BINARY,
    T_DOUBLE,
    T_INT32,
    T_NULL,
    T_UNDEFINED,
    TIMESTAMP,
    UINT64,
    WRONG_TYPE,
)
from assets.mongo.memory import (
    copy,
    inline,
    inner,
    load8,
    load32,
    load64,
    load_double,
    store8,
    store64,
    store_double,
)
from assets.mongo.verify import HIGH_BITS, check, is_text

EXACT_FLOAT = 1 << 53
INT64_LIMIT = 9223372036854775808.0


@inner
def fail(state: int, target: int, bson_type: int, value: int, extra: int, reason: int) -> int:
    """Note where a document fails and give the reason back."""
    store64(state + layout.STATE_ERROR_TARGET, target)
    store64(state + layout.STATE_ERROR_NODE, 0)
    store64(state + layout.STATE_ERROR_TYPE, bson_type)
    store64(state + layout.STATE_ERROR_VALUE, value)
    store64(state + layout.STATE_ERROR_EXTRA, extra)
    return reason


@inner
def full(state: int, target: int, num_bytes: int) -> int:
    """Note which target's buffers are too small: for `num_bytes` of data, or for one more entry when 0."""
    store64(state + layout.STATE_FULL_TARGET, target)
    store64(state + layout.STATE_FULL_BYTES, num_bytes)
    return layout.GROW


@inline
def finish_entry(target: int, length: int, valid: int) -> None:
    """Count the entry that has just been written."""
    store8(load64(target + layout.TARGET_VALID) + length, valid)
    store64(target + layout.TARGET_LENGTH, length + 1)
    filled = load64(target + layout.TARGET_SCOPE) + layout.SCOPE_FILLED
    store64(filled, load64(filled) + 1)


@inner
def append_null(state: int, target: int) -> int:
    """Append a null entry, and the placeholders below it that keep the arrays of one length."""
    length = load64(target + layout.TARGET_LENGTH)
    if load64(target + layout.TARGET_NUM_NULLS) > 1:
        status = append_nulls(state, target)
        if status != OK:
            return status
    elif length >= load64(target + layout.TARGET_CAPACITY):
        return full(state, target, 0)
    else:
        width = load64(target + layout.TARGET_WIDTH)
        data = load64(target + layout.TARGET_DATA) + width * length
        if width == 8:
            store64(data, 0)
        else:
            for index in range(width):
                store8(data + index, 0)
        offsets = load64(target + layout.TARGET_OFFSETS)
        if offsets != 0:
            store64(offsets + 8 * length + 8, load64(offsets + 8 * length))
        store8(load64(target + layout.TARGET_VALID) + length, 0)
        store64(target + layout.TARGET_LENGTH, length + 1)
    filled = load64(target + layout.TARGET_SCOPE) + layout.SCOPE_FILLED
    store64(filled, load64(filled) + 1)
    return OK


@inner
def append_nulls(state: int, target: int) -> int:
    """Append all entries that a null of a struct or list is made of."""
    pair = load64(target + layout.TARGET_NULLS)
    for _ in range(load64(target + layout.TARGET_NUM_NULLS)):
        one = load64(pair)
        num_entries = load64(pair + 8)
        pair += 16
        length = load64(one + layout.TARGET_LENGTH)
        if length + num_entries > load64(one + layout.TARGET_CAPACITY):
            return full(state, one, 0)
        offsets = load64(one + layout.TARGET_OFFSETS)
        inner_scope = load64(one + layout.TARGET_INNER)
        step = 0
        if inner_scope != 0:
            fixed = load64(one + layout.TARGET_FIXED)
            step = 1 if load64(one + layout.TARGET_KIND) != layout.LIST else max(fixed, 0)
            count = load64(inner_scope + layout.SCOPE_COUNT)
            store64(inner_scope + layout.SCOPE_COUNT, count + step * num_entries)
        width = load64(one + layout.TARGET_WIDTH)
        data = load64(one + layout.TARGET_DATA) + width * length
        for index in range(width * num_entries):
            store8(data + index, 0)
        valid = load64(one + layout.TARGET_VALID) + length
        for index in range(num_entries):
            store8(valid + index, 0)
            if offsets != 0:
                place = offsets + 8 * (length + index)
                store64(place + 8, load64(place) + step)
        store64(one + layout.TARGET_LENGTH, length + num_entries)
    return OK


@inline
def append_bytes(state: int, target: int, length: int, prefix: int, address: int, size: int) -> int:
    """Append variable bytes, after one byte `prefix` unless that is negative."""
    offsets = load64(target + layout.TARGET_OFFSETS) + 8 * length
    start = load64(offsets)
    stop = start + size + (1 if prefix >= 0 else 0)
    if stop > load64(target + layout.TARGET_DATA_CAPACITY):
        return full(state, target, stop)
    data = load64(target + layout.TARGET_DATA) + start
    if prefix >= 0:
        store8(data, prefix)
        data += 1
    copy(data, address, size)
    store64(offsets + 8, stop)
    finish_entry(target, length, 1)
    return OK


@inline
def put_text(target: int, length: int, value: int, stop: int) -> int:
    """Append a string of BSON to a target; the address behind it, 0 when it needs a closer look.

    The caller knows that the four bytes of its length lie in the batch. In front of a string's end there are
    always nine bytes of its document: a length, a type, a name, the string's length.
    """
    size = load32(value) - 1
    source = value + 4
    following = source + size + 1
    if size < 0 or following > stop or load8(following - 1) != 0:
        return 0
    offsets = load64(target + layout.TARGET_OFFSETS) + 8 * length
    start = load64(offsets)
    # Eight bytes more than the text has, so that whole words can be written.
    if start + size + 8 > load64(target + layout.TARGET_DATA_CAPACITY):
        return 0
    data = load64(target + layout.TARGET_DATA) + start
    if size > 16:
        if not is_text(source, following - 1):
            return 0
        copy(data, source, size)
    else:
        word = load64(following - 9)
        if size >= 8:
            head = load64(source)
            if (word | head) & HIGH_BITS != 0 and not is_text(source, following - 1):
                return 0
            store64(data, head)
            store64(data + size - 8, word)
        elif size > 0:
            # The text is the upper end of the word in front of its zero byte.
            word = word >> (8 * (8 - size))
            if word & HIGH_BITS != 0 and not is_text(source, following - 1):
                return 0
            store64(data, word)
    store64(offsets + 8, start + size)
    return following


@inline
def accepts(target: int, bson_type: int, address: int) -> bool:
    """Whether a target takes a BSON value as it is."""
    if load64(target + layout.TARGET_KIND) == RAW:
        return True
    if bson_type > 63 or (load64(target + layout.TARGET_ACCEPTS) >> bson_type) & 1 == 0:
        return False
    if bson_type != T_BINARY:
        return True
    subtype = load8(address + 4)
    if load64(target + layout.TARGET_KIND) == layout.UUID:
        return (subtype == 3 or subtype == 4) and load32(address) == 16
    return subtype != 3 and subtype != 4


@inner
def put_exact(state: int, target: int, bson_type: int, address: int, end: int, depth: int) -> int:
    """Append a value that the target accepts as it is; anything else fails."""
    kind = load64(target + layout.TARGET_KIND)
    if not accepts(target, bson_type, address):
        return fail(state, target, bson_type, address, 0, WRONG_TYPE)
    length = load64(target + layout.TARGET_LENGTH)
    if length >= load64(target + layout.TARGET_CAPACITY):
        return full(state, target, 0)
    if kind == STRING:
        if not is_text(address + 4, end - 1):
            return fail(state, target, bson_type, address, 0, layout.BAD_UTF8)
        return append_bytes(state, target, length, -1, address + 4, end - address - 5)
    if kind == FLOAT64:
        data = load64(target + layout.TARGET_DATA) + 8 * length
        if bson_type == T_DOUBLE:
            real = load_double(address)
        else:
            whole = load32(address) if bson_type == T_INT32 else load64(address)
            real = float(whole)
            if (whole > EXACT_FLOAT or whole < -EXACT_FLOAT) and (real >= INT64_LIMIT or int(real) != whole):
                return fail(state, target, bson_type, address, 0, INEXACT)
        if real < load_double(target + layout.TARGET_LOW) or real > load_double(target + layout.TARGET_HIGH):
            return fail(state, target, bson_type, address, 0, OUT_OF_RANGE)
        store_double(data, real)
    elif kind == INT64 or kind == UINT64:
        whole = load32(address) if bson_type == T_INT32 else load64(address)
        if whole < load64(target + layout.TARGET_LOW) or whole > load64(target + layout.TARGET_HIGH):
            return fail(state, target, bson_type, address, 0, OUT_OF_RANGE)
        store64(load64(target + layout.TARGET_DATA) + 8 * length, whole)
    elif kind == TIMESTAMP:
        store64(load64(target + layout.TARGET_DATA) + 8 * length, load64(address))
    elif kind == BOOL:
        store8(load64(target + layout.TARGET_DATA) + length, load8(address))
    elif kind == RAW:
        status = check(state, bson_type, address, end, depth)
        if status != OK:
            return fail(state, target, bson_type, address, 0, status)
        return append_bytes(state, target, length, bson_type, address, end - address)
    elif kind == layout.BINARY:
        skip = 9 if load8(address + 4) == 2 else 5
        return append_bytes(state, target, length, -1, address + skip, end - address - skip)
    else:
        width = load64(target + layout.TARGET_WIDTH)
        source = address + 5 if kind == layout.UUID else address
        copy(load64(target + layout.TARGET_DATA) + width * length, source, width)
    finish_entry(target, length, 1)
    return OK


@inner
def find_patch(state: int, target: int, address: int) -> int:
    """The conversion of a value, 0 for none; values are met in the order in which they were asked for."""
    num_patches = load64(state + layout.STATE_NUM_PATCHES)
    index = load64(state + layout.STATE_NEXT_PATCH)
    for _ in range(num_patches):
        if index >= num_patches:
            index = 0
        patch = load64(state + layout.STATE_PATCHES) + layout.PATCH_BYTES * index
        index += 1
        if load64(patch + layout.PATCH_VALUE) == address and load64(patch + layout.PATCH_TARGET) == target:
            store64(state + layout.STATE_NEXT_PATCH, index)
            return patch
    return 0


@inner
def ask(state: int, target: int, bson_type: int, address: int, end: int, depth: int) -> int:
    """Ask Python to convert a value; the entry is a placeholder until the document is walked again."""
    status = check(state, bson_type, address, end, depth)
    if status != OK:
        return fail(state, target, bson_type, address, 0, status)
    num_wanted = load64(state + layout.STATE_NUM_WANTED)
    if num_wanted < load64(state + layout.STATE_MAX_WANTED):
        wanted = load64(state + layout.STATE_WANTED) + layout.WANTED_BYTES * num_wanted
        store64(wanted + layout.WANTED_VALUE, address)
        store64(wanted + layout.WANTED_TARGET, target)
        store64(wanted + layout.WANTED_TYPE, bson_type)
        store64(wanted + layout.WANTED_END, end)
    store64(state + layout.STATE_NUM_WANTED, num_wanted + 1)
    return append_null(state, target)


@inner
def put_patch(state: int, target: int, patch: int) -> int:
    """Append the eight bytes of a converted number."""
    length = load64(target + layout.TARGET_LENGTH)
    if length >= load64(target + layout.TARGET_CAPACITY):
        return full(state, target, 0)
    bits = load64(load64(patch + layout.PATCH_DATA))
    store64(load64(target + layout.TARGET_DATA) + 8 * length, bits)
    finish_entry(target, length, 1)
    return OK


@inner
def choose(target: int, bson_type: int, address: int) -> int:
    """The first alternative that accepts a value, 0 for none."""
    scope = load64(target + layout.TARGET_INNER)
    alternative = load64(scope + layout.SCOPE_TARGETS)
    for _ in range(load64(scope + layout.SCOPE_NUM_TARGETS)):
        if accepts(alternative, bson_type, address):
            return alternative
        alternative += layout.TARGET_BYTES
    return 0


@inner
def finish_any(state: int, target: int, chosen: int) -> int:
    """Complete an `AnyOf` entry: nulls for the alternatives that were not chosen."""
    length = load64(target + layout.TARGET_LENGTH)
    if length >= load64(target + layout.TARGET_CAPACITY):
        return full(state, target, 0)
    scope = load64(target + layout.TARGET_INNER)
    alternative = load64(scope + layout.SCOPE_TARGETS)
    for _ in range(load64(scope + layout.SCOPE_NUM_TARGETS)):
        if alternative != chosen:
            status = append_null(state, alternative)
            if status != OK:
                return status
        alternative += layout.TARGET_BYTES
    store64(scope + layout.SCOPE_COUNT, load64(scope + layout.SCOPE_COUNT) + 1)
    finish_entry(target, length, 1)
    return OK


@inner
def put_scalar(state: int, target: int, bson_type: int, address: int, end: int, depth: int) -> int:
    """Append one measured value to a scalar (or `AnyOf`) target."""
    scope = load64(target + layout.TARGET_SCOPE)
    if load64(target + layout.TARGET_LENGTH) != load64(scope + layout.SCOPE_COUNT):
        return fail(state, target, bson_type, address, 0, layout.DUPLICATE)
    if bson_type == T_NULL or bson_type == T_UNDEFINED:
        if not load64(target + layout.TARGET_KEEP_NULL):
            if load64(target + layout.TARGET_NULLABLE):
                return append_null(state, target)
            return fail(state, target, bson_type, address, 0, NULL)
    kind = load64(target + layout.TARGET_KIND)
    chosen = target
    if kind == layout.ANY_OF:
        chosen = choose(target, bson_type, address)
        if chosen == 0:
            return fail(state, target, bson_type, address, 0, WRONG_TYPE)
    elif load64(target + layout.TARGET_COERCE) and not accepts(target, bson_type, address):
        patch = find_patch(state, target, address)
        if patch == 0:
            return ask(state, target, bson_type, address, end, depth)
        new_type = load64(patch + layout.PATCH_TYPE)
        if new_type < 0:
            return fail(state, target, bson_type, address, 0, -new_type)
        if new_type == layout.PATCH_BITS:
            return put_patch(state, target, patch)
        bson_type = new_type
        address = load64(patch + layout.PATCH_DATA)
        end = load64(patch + layout.PATCH_END)
    status = put_exact(state, chosen, bson_type, address, end, depth)
    if status == OK and kind == layout.ANY_OF:
        return finish_any(state, target, chosen)
    return status
