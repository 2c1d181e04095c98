"""The walker: BSON documents into column buffers in one pass, compiled by Numba.

Every document either fits every field and adds one entry to every column, or is rejected with the place and the
reason and leaves no trace. A document that meets a full buffer, or a value that Python has to convert, is undone
too, and walked again when `columns` has done its part.
"""

from __future__ import annotations

from collections.abc import Callable

from assets.mongo import layout
from assets.mongo.layout import (
    BAD_UTF8,
    BROKEN,
    CONVERT,
    CORRUPT,
    DUPLICATE,
    FULL,
    GROW,
    MAX_DEPTH,
    MISSING,
    NULL,
    OK,
    T_ARRAY,
    T_DOCUMENT,
    T_NULL,
    T_UNDEFINED,
    TOO_DEEP,
    WRONG_LENGTH,
    WRONG_TYPE,
)
from assets.mongo.memory import entry, fingerprint, inline, inner, load8, load32, load64, store64, trailing_zeros
from assets.mongo.scalars import append_null, fail, finish_entry, full, put_plain, put_run, put_scalar
from assets.mongo.verify import HIGH_BITS, LOW_BITS, check, is_text, measure, name_end


@inner
def fail_at(state: int, node: int, bson_type: int, value: int, reason: int) -> int:
    """Note that a document fails at a node that is no field itself."""
    fail(state, 0, bson_type, value, 0, reason)
    store64(state + layout.STATE_ERROR_NODE, node)
    return reason


@inline
def same_name(edge: int, word: int, length: int, address: int) -> bool:
    """Whether an edge has the name at an address, whose first eight bytes are `word`."""
    if load64(edge + layout.EDGE_WORD) != word or load64(edge + layout.EDGE_LENGTH) != length:
        return False
    name = load64(edge + layout.EDGE_NAME)
    for index in range(8, length):
        if load8(name + index) != load8(address + index):
            return False
    return True


@inline
def find_edge(node: int, previous: int, word: int, length: int, address: int) -> int:
    """Edge of a name below a node, 0 for none; what followed `previous` last time is tried first."""
    edge = load64(previous + layout.EDGE_FOLLOWED)
    if same_name(edge, word, length, address):
        return edge
    mask = load64(node + layout.NODE_MASK)
    table = load64(node + layout.NODE_TABLE)
    slot = hash_name(word, length) & mask
    while True:
        edge = load64(table + 8 * slot)
        if edge == 0:
            return 0
        if same_name(edge, word, length, address):
            store64(previous + layout.EDGE_FOLLOWED, edge)
            return edge
        slot = (slot + 1) & mask


@inline
def hash_name(word: int, length: int) -> int:
    """Hash of a name; `plan.name_hash` is the same in Python."""
    mixed = (word ^ length) * 0x1E3779B97F4A7C15
    return (mixed ^ (mixed >> 29)) & 0x7FFFFFFF


@inner
def finish_scope(state: int, scope: int) -> int:
    """Complete a row: targets that the document did not have become null, or fail."""
    count = load64(scope + layout.SCOPE_COUNT)
    num_targets = load64(scope + layout.SCOPE_NUM_TARGETS)
    if load64(scope + layout.SCOPE_FILLED) != num_targets:
        target = load64(scope + layout.SCOPE_TARGETS)
        for _ in range(num_targets):
            if load64(target + layout.TARGET_LENGTH) == count:
                if not load64(target + layout.TARGET_NULLABLE):
                    return fail(state, target, 0, 0, 0, MISSING)
                status = append_null(state, target)
                if status != OK:
                    return status
            target += layout.TARGET_BYTES
    store64(scope + layout.SCOPE_COUNT, count + 1)
    return OK


@inner
def begin_container(state: int, target: int, bson_type: int, wanted: int, address: int) -> int:
    """Checks before a list or struct: duplicate, null, type, room. CONVERT here says that it was null."""
    length = load64(target + layout.TARGET_LENGTH)
    if length != load64(load64(target + layout.TARGET_SCOPE) + layout.SCOPE_COUNT):
        return fail(state, target, bson_type, address, 0, DUPLICATE)
    if bson_type == T_NULL or bson_type == T_UNDEFINED:
        if not load64(target + layout.TARGET_NULLABLE):
            return fail(state, target, bson_type, address, 0, NULL)
        status = append_null(state, target)
        return CONVERT if status == OK else status
    if bson_type != wanted:
        return fail(state, target, bson_type, address, 0, WRONG_TYPE)
    if length >= load64(target + layout.TARGET_CAPACITY):
        return full(state, target, 0)
    return OK


@inner
def push(frame: int, node: int, bson_type: int, address: int, end: int, depth: int) -> None:
    """Lay out a frame for a value at a node."""
    store64(frame + layout.FRAME_KIND, layout.VALUE)
    store64(frame + layout.FRAME_NODE, node)
    store64(frame + layout.FRAME_TARGET, load64(node + layout.NODE_TARGET))
    store64(frame + layout.FRAME_TYPE, bson_type)
    store64(frame + layout.FRAME_ADDRESS, address)
    store64(frame + layout.FRAME_END, end)
    store64(frame + layout.FRAME_DEPTH, depth)


@inner
def enter(state: int, frame: int) -> int:
    """Turn the frame of a value into one that goes through the value's elements, for the nodes below."""
    node = load64(frame + layout.FRAME_NODE)
    bson_type = load64(frame + layout.FRAME_TYPE)
    address = load64(frame + layout.FRAME_ADDRESS)
    if load64(frame + layout.FRAME_DEPTH) >= MAX_DEPTH:
        return fail_at(state, node, bson_type, address, TOO_DEEP)
    if bson_type != T_DOCUMENT and not (bson_type == T_ARRAY and load64(node + layout.NODE_BY_INDEX)):
        return fail_at(state, node, bson_type, address, WRONG_TYPE)
    stamp = load64(state + layout.STATE_STAMP) + 1
    store64(state + layout.STATE_STAMP, stamp)
    store64(frame + layout.FRAME_KIND, layout.INSIDE)
    store64(frame + layout.FRAME_POSITION, address + 4)
    store64(frame + layout.FRAME_STAMP, stamp)
    store64(frame + layout.FRAME_ELEMENTS, 0)
    # What follows the last edge, around the corner, is what begins a document.
    num_edges = load64(node + layout.NODE_NUM_EDGES)
    last_edge = load64(node + layout.NODE_EDGES) + (num_edges - 1) * layout.EDGE_BYTES
    store64(frame + layout.FRAME_PREVIOUS, last_edge)
    return OK


@inner
def begin_list(state: int, frame: int, target: int, parent: int) -> int:
    """Lay out a frame that fills a list from the array in the frame `parent`."""
    depth = load64(parent + layout.FRAME_DEPTH)
    address = load64(parent + layout.FRAME_ADDRESS)
    if depth >= MAX_DEPTH:
        return fail(state, target, T_ARRAY, address, 0, TOO_DEEP)
    store64(frame + layout.FRAME_KIND, layout.ELEMENTS)
    store64(frame + layout.FRAME_TARGET, target)
    store64(frame + layout.FRAME_ADDRESS, address)
    store64(frame + layout.FRAME_POSITION, address + 4)
    store64(frame + layout.FRAME_END, load64(parent + layout.FRAME_END))
    store64(frame + layout.FRAME_ELEMENTS, 0)
    store64(frame + layout.FRAME_PENDING, 0)
    store64(frame + layout.FRAME_DEPTH, depth)
    store64(state + layout.STATE_LIST_DEPTH, load64(state + layout.STATE_LIST_DEPTH) + 1)
    return OK


@inner
def finish_list(state: int, frame: int) -> int:
    """Complete a list entry when all of its elements are in."""
    target = load64(frame + layout.FRAME_TARGET)
    num_elements = load64(frame + layout.FRAME_ELEMENTS)
    store64(state + layout.STATE_LIST_DEPTH, load64(state + layout.STATE_LIST_DEPTH) - 1)
    fixed = load64(target + layout.TARGET_FIXED)
    if fixed >= 0 and num_elements != fixed:
        address = load64(frame + layout.FRAME_ADDRESS)
        return fail(state, target, T_ARRAY, address, num_elements, WRONG_LENGTH)
    length = load64(target + layout.TARGET_LENGTH)
    offsets = load64(target + layout.TARGET_OFFSETS) + 8 * length
    store64(offsets + 8, load64(offsets) + num_elements)
    finish_entry(target, length, 1)
    return OK


@inner
def index_edge(node: int, index: int) -> int:
    """Edge of an array index below a node, 0 for none."""
    edge = load64(node + layout.NODE_EDGES)
    for _ in range(load64(node + layout.NODE_NUM_EDGES)):
        if load64(edge + layout.EDGE_INDEX) == index:
            return edge
        edge += layout.EDGE_BYTES
    return 0


@inner
def take(state: int, frames: int) -> int:
    """Give the value in the first frame to every target at its node and at the nodes below."""
    frame = frames
    while frame >= frames:
        kind = load64(frame + layout.FRAME_KIND)
        target = load64(frame + layout.FRAME_TARGET)
        if kind == layout.MEMBERS:
            status = finish_scope(state, load64(target + layout.TARGET_INNER))
            if status != OK:
                return status
            finish_entry(target, load64(target + layout.TARGET_LENGTH), 1)
            frame -= layout.FRAME_BYTES
            continue
        address = load64(frame + layout.FRAME_ADDRESS)
        end = load64(frame + layout.FRAME_END)
        depth = load64(frame + layout.FRAME_DEPTH)
        node = load64(frame + layout.FRAME_NODE)
        leaf = 0
        if kind == layout.VALUE:
            bson_type = load64(frame + layout.FRAME_TYPE)
            if target == 0:
                empty = bson_type == T_NULL or bson_type == T_UNDEFINED
                if empty or load64(node + layout.NODE_NUM_EDGES) == 0:
                    frame -= layout.FRAME_BYTES
                    continue
                status = enter(state, frame)
                if status != OK:
                    return status
                continue
            store64(frame + layout.FRAME_TARGET, load64(target + layout.TARGET_NEXT))
            target_kind = load64(target + layout.TARGET_KIND)
            if target_kind == layout.LIST or target_kind == layout.STRUCT:
                wanted = T_ARRAY if target_kind == layout.LIST else T_DOCUMENT
                status = begin_container(state, target, bson_type, wanted, address)
                if status == CONVERT:
                    continue
                if status != OK:
                    return status
                following = frame + layout.FRAME_BYTES
                if target_kind == layout.LIST:
                    status = begin_list(state, following, target, frame)
                    if status != OK:
                        return status
                else:
                    scope = load64(target + layout.TARGET_INNER)
                    store64(scope + layout.SCOPE_FILLED, 0)
                    store64(following + layout.FRAME_KIND, layout.MEMBERS)
                    store64(following + layout.FRAME_TARGET, target)
                    following += layout.FRAME_BYTES
                    push(following, load64(scope + layout.SCOPE_NODE), bson_type, address, end, depth)
                frame = following
                continue
            leaf = target
            position = address
            size = end - address
            stop = end
        else:
            scope = 0
            slot = 0
            is_array = True
            previous = 0
            stamp = 0
            if kind == layout.ELEMENTS:
                scope = load64(target + layout.TARGET_INNER)
                nesting = load64(state + layout.STATE_LIST_DEPTH) - 1
                slot = load64(state + layout.STATE_INDEXES) + 8 * min(nesting, layout.MAX_INDEXES - 1)
                if load64(frame + layout.FRAME_PENDING):
                    store64(frame + layout.FRAME_PENDING, 0)
                    status = finish_scope(state, scope)
                    if status != OK:
                        return status
            else:
                is_array = load64(frame + layout.FRAME_TYPE) == T_ARRAY
                previous = load64(frame + layout.FRAME_PREVIOUS)
                stamp = load64(frame + layout.FRAME_STAMP)
            stop = end - 1
            position = load64(frame + layout.FRAME_POSITION)
            num_elements = load64(frame + layout.FRAME_ELEMENTS)
            size = 0
        # One value a turn: the value of a scalar target at this frame, or the next element of a container.
        while True:
            below = 0
            if kind != layout.VALUE:
                if kind == layout.ELEMENTS:
                    leaf = load64(scope + layout.SCOPE_LEAF)
                    if leaf != 0:
                        position = put_run(leaf, position, stop)
                        num_elements += load64(leaf + layout.TARGET_LENGTH) - load64(scope + layout.SCOPE_COUNT)
                        store64(scope + layout.SCOPE_COUNT, load64(leaf + layout.TARGET_LENGTH))
                if position >= stop:
                    break
                bson_type = load8(position)
                name = position + 1
                word = 0
                last = -1
                if name + 8 <= stop:
                    word = load64(name)
                    zeros = (word - LOW_BITS) & ~word & HIGH_BITS
                    if zeros != 0:
                        num_bits = trailing_zeros(zeros) & 0x38
                        last = name + (num_bits >> 3)
                        word &= (1 << num_bits) - 1
                if last < 0:
                    last = name_end(name, stop)
                    if last < 0:
                        size = -1
                    elif last - name < 8:
                        word = 0
                        for index in range(last - name):
                            word |= load8(name + index) << (8 * index)
                if size >= 0:
                    position = last + 1
                    size = measure(state, bson_type, position, stop)
                if size < 0:
                    if kind == layout.ELEMENTS:
                        return fail(state, target, T_ARRAY, address, 0, CORRUPT)
                    return fail_at(state, node, T_DOCUMENT, address, CORRUPT)
                if kind == layout.ELEMENTS:
                    store64(slot, num_elements)
                    store64(scope + layout.SCOPE_FILLED, 0)
                    below = load64(scope + layout.SCOPE_NODE)
                else:
                    if is_array:
                        edge = index_edge(node, num_elements)
                    else:
                        edge = find_edge(node, previous, word, last - name, name)
                    leaf = 0
                    if edge != 0:
                        below = load64(edge + layout.EDGE_NODE)
                        if load64(edge + layout.EDGE_SEEN) == stamp:
                            return fail_at(state, below, bson_type, position, DUPLICATE)
                        store64(edge + layout.EDGE_SEEN, stamp)
                        previous = edge
                        if load64(below + layout.NODE_LEAF):
                            leaf = load64(below + layout.NODE_TARGET)
                num_elements += 1
            if leaf != 0:
                status = put_plain(state, leaf, bson_type, position, position + size, depth + 1)
                if status == FULL:
                    status = put_scalar(state, leaf, bson_type, position, position + size, depth + 1)
            elif below != 0:
                store64(frame + layout.FRAME_POSITION, position + size)
                store64(frame + layout.FRAME_ELEMENTS, num_elements)
                store64(frame + layout.FRAME_PREVIOUS, previous)
                store64(frame + layout.FRAME_PENDING, 1)
                push(frame + layout.FRAME_BYTES, below, bson_type, position, position + size, depth + 1)
                break
            else:
                status = OK if is_array or is_text(name, last) else BAD_UTF8
                if status == OK:
                    status = check(state, bson_type, position, position + size, depth + 1)
                if status != OK:
                    return fail_at(state, node, bson_type, address, status)
            if status != OK:
                return status
            position += size
            if kind == layout.VALUE:
                break
            if kind == layout.ELEMENTS:
                store64(scope + layout.SCOPE_COUNT, load64(scope + layout.SCOPE_COUNT) + 1)
        if kind == layout.VALUE:
            continue
        if below != 0 and leaf == 0:
            frame += layout.FRAME_BYTES
            continue
        if position != stop:
            return fail_at(state, node, T_DOCUMENT, address, CORRUPT)
        if kind == layout.ELEMENTS:
            store64(frame + layout.FRAME_ELEMENTS, num_elements)
            status = finish_list(state, frame)
            if status != OK:
                return status
        frame -= layout.FRAME_BYTES
    return OK


@inner
def undo(state: int) -> None:
    """Take back everything that the document under way has appended: scopes follow their parents."""
    scope = load64(state + layout.STATE_SCOPES)
    for _ in range(load64(state + layout.STATE_NUM_SCOPES)):
        parent = load64(scope + layout.SCOPE_PARENT)
        if parent == 0:
            count = load64(scope + layout.SCOPE_COUNT)
        else:
            count = load64(parent + layout.TARGET_LENGTH)
            if load64(parent + layout.TARGET_KIND) == layout.LIST:
                count = load64(load64(parent + layout.TARGET_OFFSETS) + 8 * count)
        store64(scope + layout.SCOPE_COUNT, count)
        target = load64(scope + layout.SCOPE_TARGETS)
        for _ in range(load64(scope + layout.SCOPE_NUM_TARGETS)):
            store64(target + layout.TARGET_LENGTH, count)
            target += layout.TARGET_BYTES
        scope += layout.SCOPE_BYTES


@inner
def reject(state: int, reason: int, document: int) -> None:
    """Record why a document has no row."""
    num_rejects = load64(state + layout.STATE_NUM_REJECTS)
    record = load64(state + layout.STATE_REJECTS) + layout.REJECT_BYTES * num_rejects
    store64(record + layout.REJECT_DOCUMENT, document)
    store64(record + layout.REJECT_REASON, reason)
    store64(record + layout.REJECT_TARGET, load64(state + layout.STATE_ERROR_TARGET))
    store64(record + layout.REJECT_NODE, load64(state + layout.STATE_ERROR_NODE))
    store64(record + layout.REJECT_TYPE, load64(state + layout.STATE_ERROR_TYPE))
    store64(record + layout.REJECT_VALUE, load64(state + layout.STATE_ERROR_VALUE))
    store64(record + layout.REJECT_EXTRA, load64(state + layout.STATE_ERROR_EXTRA))
    indexes = load64(state + layout.STATE_INDEXES)
    for index in range(layout.MAX_INDEXES):
        store64(record + layout.REJECT_INDEXES + 8 * index, load64(indexes + 8 * index))
    store64(state + layout.STATE_NUM_REJECTS, num_rejects + 1)


def _walk(sources: str) -> Callable[[int], int]:
    """Make the entry; the hash of the sources is part of the key that Numba caches it under."""

    @entry
    def walk(state: int) -> int:
        """Walk documents until the batch ends or Python is needed; the state says where it stands."""
        _ = len(sources)
        root = load64(state + layout.STATE_ROOT)
        node = load64(root + layout.SCOPE_NODE)
        is_array = load64(state + layout.STATE_ARRAY)
        end = load64(state + layout.STATE_END)
        frames = load64(state + layout.STATE_FRAMES)
        while True:
            position = load64(state + layout.STATE_POSITION)
            if position >= end:
                return OK if position == end else BROKEN
            if load64(root + layout.SCOPE_COUNT) >= load64(state + layout.STATE_MAX_ROWS):
                return FULL
            if load64(state + layout.STATE_NUM_REJECTS) >= load64(state + layout.STATE_MAX_REJECTS):
                return FULL
            if is_array:
                if load8(position) != T_DOCUMENT:
                    return BROKEN
                position = name_end(position + 1, end) + 1
                if position == 0:
                    return BROKEN
            if end - position < 5:
                return BROKEN
            size = load32(position)
            if size < 5 or size > end - position:
                return BROKEN
            store64(state + layout.STATE_DOCUMENT, position)
            store64(root + layout.SCOPE_FILLED, 0)
            store64(state + layout.STATE_LIST_DEPTH, 0)
            store64(state + layout.STATE_NUM_WANTED, 0)
            store64(state + layout.STATE_NEXT_PATCH, 0)
            status = CORRUPT
            if load8(position + size - 1) == 0:
                push(frames, node, T_DOCUMENT, position, position + size, 0)
                status = take(state, frames)
                if status == OK:
                    status = finish_scope(state, root)
                    if status == OK and load64(state + layout.STATE_NUM_WANTED) != 0:
                        store64(root + layout.SCOPE_COUNT, load64(root + layout.SCOPE_COUNT) - 1)
                        status = CONVERT
            else:
                fail_at(state, node, T_DOCUMENT, position, CORRUPT)
            if status != OK:
                undo(state)
                if status == GROW or status == CONVERT:
                    return status
                reject(state, status, position)
            store64(state + layout.STATE_NUM_PATCHES, 0)
            store64(state + layout.STATE_POSITION, position + size)

    return walk  # type: ignore[no-any-return]


walk = _walk(fingerprint("layout", "verify", "scalars", "walker"))
