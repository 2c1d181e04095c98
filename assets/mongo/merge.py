"""Lay changes over rows that were read before: rows of changed documents go, what they are now comes in."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa
from bson import json_util

from assets.mongo.ids import raw_id
from assets.mongo.order import order_key
from assets.mongo.rejects import Reject
from assets.mongo.sinks import Sink, concatenate


def merge(
    base: Iterable[pa.RecordBatch],
    base_rejects: Sequence[Reject],
    changed: Iterable[bytes],
    new: pa.Table,
    new_rejects: Sequence[Reject],
    sink: Sink,
) -> None:
    """Write the rows of `base` that did not change and those of `new`, in `_id` order.

    Parameters
    ----------
    base, base_rejects
        What was read before, in `_id` order.
    changed
        `_id` of every document that is different now: changed, gone, or new.
    new, new_rejects
        What those documents are now, in `_id` order.
    """
    gone = sorted(order_key(raw) for raw in changed)
    incoming = new.combine_chunks().to_batches()
    rows = incoming[0] if incoming else None
    keys = [order_key(raw) for raw in new.column("_id").to_pylist()]
    num_taken = num_gone = 0
    for batch in base:
        ids = batch.column(0)
        last = order_key(ids[-1].as_py())
        pieces: list[pa.RecordBatch] = []
        place = 0
        while True:
            old_key = gone[num_gone] if num_gone < len(gone) else None
            new_key = keys[num_taken] if num_taken < len(keys) else None
            candidates = [key for key in (old_key, new_key) if key is not None and key <= last]
            if not candidates:
                break
            key = min(candidates)
            found = bisect_left(_Keys(ids), key, lo=place)
            pieces += [batch.slice(place, found - place)] if found > place else []
            place = found
            if key == old_key:
                num_gone += 1
                if place < len(ids) and order_key(ids[place].as_py()) == key:
                    place += 1
            if key == new_key and rows is not None:
                pieces.append(rows.slice(num_taken, 1))
                num_taken += 1
        pieces += [batch.slice(place)] if place < batch.num_rows else []
        if pieces:
            sink.rows(concatenate(pieces))
    if rows is not None and num_taken < rows.num_rows:
        sink.rows(rows.slice(num_taken))
    _merge_rejects(base_rejects, set(gone), new_rejects, sink)


class _Keys:
    """Sort keys of a column of `_id` values, made when they are asked for."""

    def __init__(self, ids: pa.Array) -> None:
        self._ids = ids

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        return order_key(self._ids[index].as_py())


def reject_key(reject: Reject) -> tuple[Any, ...]:
    """Sort key of the `_id` of a reject; those that cannot be read come first."""
    raw = reject_id(reject)
    return (-2,) if raw is None else order_key(raw)


def reject_id(reject: Reject) -> bytes | None:
    """`_id` of a reject as the `documents` table would keep it."""
    if reject.id is None:
        return None
    return raw_id(json_util.loads(reject.id, json_options=json_util.CANONICAL_JSON_OPTIONS))


def _merge_rejects(
    base: Sequence[Reject], gone: set[tuple[Any, ...]], new: Sequence[Reject], sink: Sink
) -> None:
    kept = [(reject_key(reject), reject) for reject in base]
    together = [pair for pair in kept if pair[0] not in gone]
    together += [(reject_key(reject), reject) for reject in new]
    together.sort(key=lambda pair: pair[0])
    sink.rejects([reject for _, reject in together])
