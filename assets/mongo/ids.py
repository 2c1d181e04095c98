"""Values of `_id` as tables keep them, type byte before the value's bytes, and as Python has them."""

from __future__ import annotations

from typing import Any

import bson
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.son import SON

EXACT: CodecOptions[Any] = CodecOptions(
    document_class=SON,
    tz_aware=True,
    unicode_decode_error_handler="replace",
    datetime_conversion=DatetimeConversion.DATETIME_AUTO,
)
"""Decodes values in a form that is sent back as it came."""


def raw_id(value: Any) -> bytes:
    """An `_id` as the `documents` table keeps it: BSON type byte, then the value's bytes."""
    encoded = bson.encode({"v": value})
    return encoded[4:5] + encoded[7:-1]


def value_of(raw: bytes) -> Any:
    """The Python value of an `_id` kept as type byte and bytes, such that it is sent back unchanged."""
    element = raw[:1] + b"v\0" + raw[1:] + b"\0"
    return bson.decode((len(element) + 4).to_bytes(4, "little") + element, EXACT)["v"]
