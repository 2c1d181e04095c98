"""The order of `_id` values as MongoDB sorts them, for rows that are put in order outside the server.

Source: "Comparison/Sort Order" of the MongoDB manual; numbers of all types compare by value, everything else
by type first.
"""

from __future__ import annotations

import itertools
import math
import struct
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from bson import Decimal128

from assets.mongo import layout
from assets.mongo.replies import elements

RANKS = {
    layout.T_MINKEY: -1,
    layout.T_UNDEFINED: 0,
    layout.T_NULL: 5,
    layout.T_DOUBLE: 10,
    layout.T_INT32: 10,
    layout.T_INT64: 10,
    layout.T_DECIMAL128: 10,
    layout.T_STRING: 15,
    layout.T_SYMBOL: 15,
    layout.T_DOCUMENT: 20,
    layout.T_ARRAY: 25,
    layout.T_BINARY: 30,
    layout.T_OBJECTID: 35,
    layout.T_BOOL: 40,
    layout.T_DATE: 45,
    layout.T_TIMESTAMP: 47,
    layout.T_REGEX: 50,
    layout.T_DBPOINTER: 55,
    layout.T_CODE: 60,
    layout.T_CODE_WITH_SCOPE: 65,
    layout.T_MAXKEY: 127,
}


def order_key(raw: bytes) -> tuple[Any, ...]:
    """Sort key of a value kept as its BSON type byte followed by its bytes."""
    return _key(raw[0], raw[1:])


def _key(bson_type: int, data: bytes) -> tuple[Any, ...]:
    rank = RANKS[bson_type]
    if rank == 10:
        number = _number(bson_type, data)
        return (rank, 0) if math.isnan(number) else (rank, 1, number)
    if rank == 15:
        return (rank, data[4:-1])
    if bson_type in (layout.T_DOCUMENT, layout.T_ARRAY):
        members = []
        for inner_type, name, start, end in elements(memoryview(data), 0):
            key = _key(inner_type, data[start:end])
            members.append((key[0], name if rank == 20 else b"", key))
        return (rank, tuple(members))
    if bson_type == layout.T_BINARY:
        return (rank, len(data), data[4], data[5:])
    if bson_type == layout.T_DATE:
        return (rank, struct.unpack("<q", data)[0])
    if bson_type == layout.T_TIMESTAMP:
        increment, seconds = struct.unpack("<II", data)
        return (rank, seconds, increment)
    return (rank, data)


def _number(bson_type: int, data: bytes) -> float | Decimal:
    if bson_type == layout.T_DOUBLE:
        return float(struct.unpack("<d", data)[0])
    if bson_type == layout.T_DECIMAL128:
        return Decimal128.from_bid(data).to_decimal()
    return int.from_bytes(data, "little", signed=True)


def order_keys(ids: pa.Array) -> list[tuple[Any, ...]]:
    """Sort keys of a column of `_id` values."""
    return [order_key(raw) for raw in ids.to_pylist()]


def is_ordered(ids: pa.Array, last: bytes | None) -> bool:
    """Whether the values follow `last`, and each other, in order; equal ones may repeat."""
    if len(ids) == 0:
        return True
    if last is not None and order_key(last) > order_key(ids[0].as_py()):
        return False
    plain = _objectids(ids)
    if plain is not None:
        # Twelve bytes compare like one number of eight bytes and one of four, most significant byte first.
        high = np.ascontiguousarray(plain[:, 1:9]).view(">u8").ravel()
        low = np.ascontiguousarray(plain[:, 9:13]).view(">u4").ravel()
        later = (high[1:] > high[:-1]) | ((high[1:] == high[:-1]) & (low[1:] >= low[:-1]))
        return bool(later.all())
    keys = order_keys(ids)
    return all(one <= following for one, following in itertools.pairwise(keys))


def _objectids(ids: pa.Array) -> npt.NDArray[np.uint8] | None:
    """The bytes as rows of 13 when every value is an ObjectId."""
    offsets = np.frombuffer(ids.buffers()[1], np.int64)[ids.offset : ids.offset + len(ids) + 1]
    if not (np.diff(offsets) == 13).all():
        return None
    data = np.frombuffer(ids.buffers()[2], np.uint8)[offsets[0] : offsets[-1]].reshape(-1, 13)
    return data if (data[:, 0] == layout.T_OBJECTID).all() else None
