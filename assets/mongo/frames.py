"""Containers that the walker is inside of: rows of structs and lists that begin and end; compiled."""

from __future__ import annotations

from assets.mongo import layout
from assets.mongo.layout import (
    CONVERT,
    DUPLICATE,
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
from assets.mongo.memory import inner, load64, store64
from assets.mongo.scalars import append_null, fail, finish_entry, full


@inner
def fail_at(state: int, node: int, bson_type: int, value: int, reason: int) -> int:
    """Note that a document fails at a node that is no field itself."""
    fail(state, 0, bson_type, value, 0, reason)
    store64(state + layout.STATE_ERROR_NODE, node)
    return reason


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
