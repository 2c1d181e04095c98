"""The walker: BSON documents into column buffers in one pass, compiled by Numba.

Every document either fits every field and adds one entry to every column, or is rejected with the place and
the reason and leaves no trace. A document that meets a full buffer, or a value that Python has to convert, is
undone too, and walked again when `columns` has done its part.
"""

from __future__ import annotations

from collections.abc import Callable

from assets.mongo import layout
from assets.mongo.frames import fail_at, finish_scope, push
from assets.mongo.layout import BROKEN, CONVERT, CORRUPT, FULL, GROW, OK, T_DOCUMENT
from assets.mongo.memory import entry, fingerprint, inner, load8, load32, load64, prefetch, store64
from assets.mongo.take import take
from assets.mongo.verify import name_end


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
            # The next document is as large as this one, more or less; its end is looked at first.
            prefetch(position + 2 * size)
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

    return walk


walk = _walk(
    fingerprint("layout", "verify", "scalars", "edges", "frames", "members", "runs", "take", "walker")
)
