"""Lossless conversions between BSON types, for fields that declare `coerce`.

They happen in Python, one value at a time: the walker collects the values of a document that need one, and
walks the document again with the results. A conversion gives the value exactly or not at all; a decimal text
counts as exact for a double when it is what the double's shortest text denotes.
"""

from __future__ import annotations

import datetime
import math
import re
import struct
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
from bson import Binary, Decimal128, ObjectId
from bson.datetime_ms import DatetimeMS
from bson.timestamp import Timestamp

from assets.mongo import layout
from assets.mongo.plan import INT64_MAX, INT64_MIN, Target
from assets.mongo.rejects import decode_value
from assets.mongo.tables import Tables

NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,4})?", re.ASCII)
HEX_ID = re.compile(r"[0-9a-fA-F]{24}", re.ASCII)
UUID_TEXT = re.compile(r"[0-9a-fA-F]{8}(-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}", re.ASCII)
ISO_DATE = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d)(:\d\d)?(?:[.,](\d{1,9}))?(Z|[+-]\d\d:?\d\d)?)?", re.ASCII
)
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


class NotLossless(Exception):
    """A value cannot become the wanted type; `reason` is one of the walker's codes."""

    def __init__(self, reason: int) -> None:
        super().__init__(reason)
        self.reason = reason


WRONG_TYPE = NotLossless(layout.WRONG_TYPE)
INEXACT = NotLossless(layout.INEXACT)


def to_integer(value: Any) -> int:
    """An integer of any size."""
    if isinstance(value, bool | int):
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise WRONG_TYPE
        if not value.is_integer():
            raise INEXACT
        return int(value)
    number = to_decimal(value)
    if not number.is_finite():
        raise WRONG_TYPE
    if number.adjusted() > 40:
        raise NotLossless(layout.OUT_OF_RANGE)
    if number != number.to_integral_value():
        raise INEXACT
    return int(number)


def to_decimal(value: Any) -> Decimal:
    """A decimal number of a text or a decimal128."""
    if isinstance(value, Decimal128):
        return value.to_decimal()
    if isinstance(value, str) and len(value) <= 400 and NUMBER.fullmatch(value):
        return Decimal(value)
    raise WRONG_TYPE


def to_float(value: Any) -> float:
    """A double that denotes exactly the value."""
    if isinstance(value, bool | int):
        real = float(int(value))
        if int(real) != value:
            raise INEXACT
        return real
    number = to_decimal(value)
    real = float(number)
    if number.is_finite() and (math.isinf(real) or Decimal(repr(real)) != number):
        raise INEXACT
    return real


def to_bool(value: Any) -> bool:
    """True or false, of 0, 1, "true" and "false"."""
    if isinstance(value, str):
        if value in ("true", "false"):
            return value == "true"
    elif isinstance(value, int | float) and value in (0, 1):
        return bool(value)
    raise WRONG_TYPE


def to_milliseconds(value: Any) -> int:
    """Milliseconds since the epoch, of an ISO 8601 text (UTC where it names no zone) or a BSON timestamp."""
    if isinstance(value, Timestamp):
        if value.inc:
            raise INEXACT
        return value.time * 1000
    match = ISO_DATE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise WRONG_TYPE
    day, minute, second, fraction, zone = match.groups()
    zone = "+00:00" if zone in (None, "Z") else zone if ":" in zone else f"{zone[:3]}:{zone[3:]}"
    try:
        moment = datetime.datetime.fromisoformat(f"{day}T{minute or '00:00'}{second or ':00'}{zone}")
    except ValueError:
        raise WRONG_TYPE from None
    nanoseconds = int((fraction or "0").ljust(9, "0"))
    if nanoseconds % 1_000_000:
        raise INEXACT
    return (moment - EPOCH) // datetime.timedelta(milliseconds=1) + nanoseconds // 1_000_000


def to_text(value: Any) -> str:
    """The shortest text that denotes the value."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Binary) and value.subtype in (3, 4) and len(value) == 16:
        return str(uuid.UUID(bytes=bytes(value)))
    if isinstance(value, str | int | ObjectId | Decimal128):
        return str(value)
    if isinstance(value, float):
        return repr(value)
    raise WRONG_TYPE


def to_objectid(value: Any) -> bytes:
    """The 12 bytes of 24 hexadecimal digits."""
    if isinstance(value, str) and HEX_ID.fullmatch(value):
        return bytes.fromhex(value)
    raise WRONG_TYPE


def to_uuid(value: Any) -> bytes:
    """The 16 bytes of a UUID's text, or of any binary value of 16 bytes."""
    if isinstance(value, str) and UUID_TEXT.fullmatch(value):
        return uuid.UUID(value).bytes
    if isinstance(value, bytes) and len(value) == 16:
        return bytes(value)
    raise WRONG_TYPE


def to_decimal128(value: Any) -> bytes:
    """The 16 bytes of a decimal128 that denotes exactly the value."""
    number = Decimal(int(value)) if isinstance(value, bool | int) else to_decimal(value)
    if len(number.as_tuple().digits) > 34:
        raise INEXACT
    try:
        return Decimal128(number).bid
    except ArithmeticError:
        raise NotLossless(layout.OUT_OF_RANGE) from None


def _bounded(target: Target, number: float) -> None:
    low, high = target.minimum, target.maximum
    if (low is not None and number < low) or (high is not None and number > high):
        raise NotLossless(layout.OUT_OF_RANGE)


def _integer(target: Target, value: Any) -> tuple[int, bytes]:
    number = to_integer(value)
    lowest, highest = (0, (1 << 64) - 1) if target.kind == layout.UINT64 else (INT64_MIN, INT64_MAX)
    if not lowest <= number <= highest:
        raise NotLossless(layout.OUT_OF_RANGE)
    _bounded(target, number)
    return layout.PATCH_BITS, (number & 0xFFFFFFFFFFFFFFFF).to_bytes(8, "little")


def _float(target: Target, value: Any) -> tuple[int, bytes]:
    number = to_float(value)
    _bounded(target, number)
    return layout.PATCH_BITS, struct.pack("<d", number)


def _milliseconds(target: Target, value: Any) -> tuple[int, bytes]:
    return layout.PATCH_BITS, struct.pack("<q", to_milliseconds(value))


def _text(target: Target, value: Any) -> tuple[int, bytes]:
    text = to_text(value).encode()
    return layout.T_STRING, struct.pack("<i", len(text) + 1) + text + b"\0"


def _binary(target: Target, value: Any) -> tuple[int, bytes]:
    if not isinstance(value, bytes):
        raise WRONG_TYPE
    return layout.T_BINARY, struct.pack("<iB", len(value), 0) + bytes(value)


CONVERSIONS: dict[int, Callable[[Target, Any], tuple[int, bytes]]] = {
    layout.INT64: _integer,
    layout.UINT64: _integer,
    layout.FLOAT64: _float,
    layout.BOOL: lambda target, value: (layout.T_BOOL, bytes([to_bool(value)])),
    layout.TIMESTAMP: _milliseconds,
    layout.STRING: _text,
    layout.BINARY: _binary,
    layout.OBJECTID: lambda target, value: (layout.T_OBJECTID, to_objectid(value)),
    layout.UUID: lambda target, value: (layout.T_BINARY, struct.pack("<iB", 16, 4) + to_uuid(value)),
    layout.DECIMAL128: lambda target, value: (layout.T_DECIMAL128, to_decimal128(value)),
}


def convert(target: Target, bson_type: int, value: bytes) -> tuple[int, bytes]:
    """BSON type (or `PATCH_BITS`) and bytes of a converted value, or minus the reason and nothing."""
    try:
        decoded = decode_value(bson_type, value)
        if decoded is None or isinstance(decoded, DatetimeMS | datetime.datetime):
            raise WRONG_TYPE
        return CONVERSIONS[target.kind](target, decoded)
    except NotLossless as error:
        return -error.reason, b""


class Patches:
    """The conversions of the document that a walker is at."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._records: list[tuple[int, int, int, bytes]] = []
        self._words: npt.NDArray[np.int64] = np.zeros(0, np.int64)
        self._bytes: npt.NDArray[np.uint8] = np.zeros(0, np.uint8)

    def convert(self, address: int, view: npt.NDArray[np.uint8]) -> None:
        """Convert the values that the walker asks for, and lay the results where it looks for them."""
        tables, state = self._tables, self._tables.base
        if tables.get(state + layout.STATE_NUM_PATCHES) == 0:
            self._records = []
        first = tables.get(state + layout.STATE_WANTED)
        num_wanted = min(
            tables.get(state + layout.STATE_NUM_WANTED), tables.get(state + layout.STATE_MAX_WANTED)
        )
        for number in range(num_wanted):
            at = first + number * layout.WANTED_BYTES
            value_at, target_at, bson_type, end = tables.words(at, 4).tolist()
            value = view[value_at - address : end - address].tobytes()
            new_type, data = convert(tables.target_at[target_at], bson_type, value)
            self._records.append((value_at, target_at, new_type, data))
        self._bytes = np.frombuffer(b"".join(record[3] for record in self._records) + b"\0", np.uint8)
        place = int(self._bytes.ctypes.data)
        words = []
        for value_at, target_at, new_type, data in self._records:
            words += [value_at, target_at, new_type, place, place + len(data)]
            place += len(data)
        self._words = np.array(words, np.int64)
        tables.put(state + layout.STATE_PATCHES, int(self._words.ctypes.data))
        tables.put(state + layout.STATE_NUM_PATCHES, len(self._records))
