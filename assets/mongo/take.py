"""One value and everything inside it, given to the targets that want it; compiled, without recursion."""

from __future__ import annotations

from assets.mongo import layout
from assets.mongo.edges import find_edge, index_edge
from assets.mongo.frames import begin_container, begin_list, enter, fail_at, finish_list, finish_scope, push
from assets.mongo.layout import (
    BAD_UTF8,
    CONVERT,
    CORRUPT,
    DUPLICATE,
    OK,
    T_ARRAY,
    T_DOCUMENT,
    T_NULL,
    T_UNDEFINED,
)
from assets.mongo.members import put_members
from assets.mongo.memory import inner, load8, load64, store64, trailing_zeros
from assets.mongo.runs import put_run
from assets.mongo.scalars import fail, finish_entry, put_scalar
from assets.mongo.verify import HIGH_BITS, LOW_BITS, check, is_text, measure, name_end


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
                # Where nothing is left to do with this value, its frame is used for what is inside.
                done = load64(target + layout.TARGET_NEXT) == 0 and load64(node + layout.NODE_NUM_EDGES) == 0
                following = frame if done else frame + layout.FRAME_BYTES
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
                    status = enter(state, following)
                    if status != OK:
                        return status
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
                        position = put_run(state, leaf, num_elements, position, stop)
                        num_elements += load64(leaf + layout.TARGET_LENGTH) - load64(
                            scope + layout.SCOPE_COUNT
                        )
                        store64(scope + layout.SCOPE_COUNT, load64(leaf + layout.TARGET_LENGTH))
                elif not is_array:
                    position = put_members(state, frame, node, position, stop)
                    previous = load64(frame + layout.FRAME_PREVIOUS)
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
                        store64(frame + layout.FRAME_PREVIOUS, edge)
                        if load64(below + layout.NODE_LEAF):
                            leaf = load64(below + layout.NODE_TARGET)
                num_elements += 1
            if leaf != 0:
                status = put_scalar(state, leaf, bson_type, position, position + size, depth + 1)
            elif below != 0:
                store64(frame + layout.FRAME_POSITION, position + size)
                store64(frame + layout.FRAME_ELEMENTS, num_elements)
                store64(frame + layout.FRAME_PENDING, 1)
                push(frame + layout.FRAME_BYTES, below, bson_type, position, position + size, depth + 1)
                break
            else:
                status = OK if is_array or is_text(name, last) else BAD_UTF8
                if status == OK and load64(load64(state + layout.STATE_SIZES) + 8 * bson_type) < 0:
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
