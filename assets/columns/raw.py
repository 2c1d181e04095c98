"""Raw BSON values: one type byte followed by the value's bytes, and what they mean."""

from __future__ import annotations

import struct
from typing import Any

import pyarrow as pa
from bson import decode, json_util
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.errors import BSONError

CODEC: CodecOptions[dict[str, Any]] = CodecOptions(
    tz_aware=True, datetime_conversion=DatetimeConversion.DATETIME_AUTO
)


def decode_raw(value: bytes) -> Any:
    """Give the Python value of a raw BSON value.

    Raises
    ------
    ValueError
        The bytes are no BSON value.
    """
    body = value[:1] + b"v\x00" + value[1:] + b"\x00"
    try:
        return decode(struct.pack("<i", len(body) + 4) + body, CODEC)["v"]
    except (BSONError, KeyError) as error:
        raise ValueError(f"no BSON value: {value[:16].hex()}...: {error}") from error


def extended_json(value: bytes) -> str:
    """Write a raw BSON value as relaxed extended JSON, the way rejects name a document."""
    return json_util.dumps(decode_raw(value), json_options=json_util.RELAXED_JSON_OPTIONS)


def ids_of(ids: pa.Array, rows: list[int]) -> list[str]:
    """Write the `_id` of the given rows as extended JSON."""
    return [extended_json(ids[row].as_py()) for row in rows]
