"""The quick way through a document: members in the order of the one before, each a plain value; compiled.

Whatever is not plain (another name, a container, a null, a full buffer, anything wrong) is left to `take`,
which treats all cases; nothing is treated differently here, only in fewer steps.
"""

from __future__ import annotations

from assets.mongo import layout
from assets.mongo.layout import OK, RAW, STRING, T_BOOL, T_INT32, T_INT64, T_NULL, T_OBJECTID, T_STRING
from assets.mongo.memory import inner, load8, load32, load64, store8, store64
from assets.mongo.scalars import append_null, put_text

ROOM = 24
"""Bytes that are read of a member before its size is known: type, two words of the name, a length."""


@inner
def put_members(state: int, frame: int, node: int, position: int, stop: int) -> int:
    """Append plain members of a document; address of the first element left to do."""
    last = load64(state + layout.STATE_END) - ROOM
    scope = load64(node + layout.NODE_SCOPE)
    count = load64(scope + layout.SCOPE_COUNT)
    stamp = load64(frame + layout.FRAME_STAMP)
    previous = load64(frame + layout.FRAME_PREVIOUS)
    num_filled = 0
    # What is read here may lie behind this document, never behind the batch.
    while position < stop and position <= last:
        edge = load64(previous + layout.EDGE_FOLLOWED)
        first = load64(position + 1) & load64(edge + layout.EDGE_MASK)
        second = load64(position + 9) & load64(edge + layout.EDGE_MASK_2)
        if first != load64(edge + layout.EDGE_WORD) or second != load64(edge + layout.EDGE_WORD_2):
            break
        target = load64(edge + layout.EDGE_LEAF)
        if target == 0 or load64(edge + layout.EDGE_SEEN) == stamp:
            break
        length = load64(target + layout.TARGET_LENGTH)
        if length != count or length >= load64(target + layout.TARGET_CAPACITY):
            break
        bson_type = load8(position)
        value = position + load64(edge + layout.EDGE_SPAN)
        plain = load64(target + layout.TARGET_PLAIN)
        if bson_type == plain:
            following = value + 8
            if following > stop:
                break
            store64(load64(target + layout.TARGET_DATA) + 8 * length, load64(value))
        elif bson_type == T_INT32 and plain == T_INT64:
            following = value + 4
            if following > stop:
                break
            store64(load64(target + layout.TARGET_DATA) + 8 * length, load32(value))
        elif bson_type == T_BOOL and load64(target + layout.TARGET_KIND) == layout.BOOL:
            following = value + 1
            truth = load8(value)
            if following > stop or truth > 1:
                break
            store8(load64(target + layout.TARGET_DATA) + length, truth)
        else:
            kind = load64(target + layout.TARGET_KIND)
            if bson_type == T_STRING and kind == STRING:
                following = put_text(target, length, value, stop)
                if following == 0:
                    break
            elif bson_type == T_OBJECTID and kind == RAW:
                following = value + 12
                offsets = load64(target + layout.TARGET_OFFSETS) + 8 * length
                start = load64(offsets)
                if following > stop or start + 13 > load64(target + layout.TARGET_DATA_CAPACITY):
                    break
                data = load64(target + layout.TARGET_DATA) + start
                store8(data, bson_type)
                store64(data + 1, load64(value))
                store64(data + 5, load64(value + 4))
                store64(offsets + 8, start + 13)
            elif bson_type == T_NULL and load64(target + layout.TARGET_NULLABLE) != 0:
                if load64(target + layout.TARGET_KEEP_NULL) != 0 or append_null(state, target) != OK:
                    break
                store64(edge + layout.EDGE_SEEN, stamp)
                previous = edge
                position = value
                continue
            else:
                break
        store8(load64(target + layout.TARGET_VALID) + length, 1)
        store64(target + layout.TARGET_LENGTH, length + 1)
        store64(edge + layout.EDGE_SEEN, stamp)
        previous = edge
        position = following
        num_filled += 1
    store64(frame + layout.FRAME_PREVIOUS, previous)
    filled = scope + layout.SCOPE_FILLED
    store64(filled, load64(filled) + num_filled)
    return position
