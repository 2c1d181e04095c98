"""The hash that the server makes of a value for hashed indexes and `$toHashedIndexKey`.

Source: `BSONElementHasher::hash64` in `src/mongo/db/hasher.cpp` of MongoDB 6.0: MD5 over the value, numbers
of all types as one integer.
"""

from __future__ import annotations

import hashlib
import math
import struct
from typing import Any

from bson import Decimal128

from assets.mongo import layout
from assets.mongo.order import RANKS
from assets.mongo.paths import Raw, members_of

SEED = bytes(4)
INT64_MAX, INT64_MIN = (1 << 63) - 1, -(1 << 63)
END = bytes(4)
"""What the end of a document adds: its rank, no name, no value."""


def index_hash(value: Raw) -> int:
    """Hash of a value, 64 bits with a sign."""
    digest = hashlib.md5(SEED, usedforsecurity=False)
    _add(digest, value, b"")
    return int.from_bytes(digest.digest()[:8], "little", signed=True)


def bucket_of(value: Raw, buckets: int) -> int:
    """Bucket of an `_id`, as `ranges.bucket_expression` has the server compute it."""
    return abs(index_hash(value)) % buckets


def _add(digest: Any, value: Raw, name: bytes) -> None:
    rank = RANKS[value[0]]
    digest.update(rank.to_bytes(4, "little", signed=True) + name)
    if rank == RANKS[layout.T_INT64]:
        digest.update(struct.pack("<q", _whole(value)))
    elif value[0] in (layout.T_DOCUMENT, layout.T_ARRAY, layout.T_CODE_WITH_SCOPE):
        scope = value
        if value[0] == layout.T_CODE_WITH_SCOPE:
            length = int.from_bytes(value[5:9], "little")
            digest.update(value[9 : 9 + length])
            scope = bytes((layout.T_DOCUMENT,)) + value[9 + length :]
        for inner, member in members_of(scope):
            _add(digest, member, inner.encode(errors="surrogateescape") + b"\0")
        digest.update(END)
    else:
        digest.update(value[1:])


def _whole(value: Raw) -> int:
    """A number as an integer, at the ends of 64 bits where it is beyond them; NaN is 0.

    Doubles are cut off, decimals rounded to the nearest even; of 2 to the 63rd as a double the server makes
    the lowest integer.
    """
    if value[0] in (layout.T_INT32, layout.T_INT64):
        return int.from_bytes(value[1:], "little", signed=True)
    if value[0] == layout.T_DOUBLE:
        number: Any = struct.unpack("<d", value[1:])[0]
    else:
        number = Decimal128.from_bid(value[1:]).to_decimal()
    if math.isnan(number):
        return 0
    if math.isinf(number):
        return INT64_MAX if number > 0 else INT64_MIN
    if number == INT64_MAX + 1 and value[0] == layout.T_DOUBLE:
        return INT64_MIN
    return max(INT64_MIN, min(INT64_MAX, int(number) if value[0] == layout.T_DOUBLE else round(number)))
