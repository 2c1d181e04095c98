"""Rows whose pictures cannot be used, as a table of the same form as the rejects of documents."""

from __future__ import annotations

import struct
from collections import Counter
from typing import Any, Final

import pyarrow as pa
from bson import decode, json_util
from bson.codec_options import CodecOptions, DatetimeConversion

from assets.vision.errors import PictureError

SCHEMA: Final = pa.schema(
    [(name, pa.large_string()) for name in ("_id", "path", "reason", "expected", "got", "field")]
)
_CODEC: Final[CodecOptions[dict[str, Any]]] = CodecOptions(
    tz_aware=True, datetime_conversion=DatetimeConversion.DATETIME_AUTO
)


class Rejects:
    """Collects rejects in row order; used by one thread."""

    def __init__(self) -> None:
        self._rows: list[dict[str, str]] = []
        self.by_reason: Counter[str] = Counter()

    def add(self, raw_id: bytes, path: str, field: str, error: PictureError) -> None:
        """List one picture; `raw_id` is the document's `_id` with its BSON type byte."""
        self.by_reason[error.reason] += 1
        self._rows.append(
            {
                "_id": extended_json(raw_id),
                "path": path,
                "reason": error.reason,
                "expected": error.expected,
                "got": error.got,
                "field": field,
            }
        )

    def table(self) -> pa.Table:
        """All rejects."""
        return pa.Table.from_pylist(self._rows, SCHEMA)


def extended_json(raw: bytes) -> str:
    """Give a raw BSON value (type byte, then its bytes) as relaxed extended JSON."""
    body = raw[:1] + b"v\x00" + raw[1:] + b"\x00"
    value = decode(struct.pack("<i", len(body) + 4) + body, _CODEC)["v"]
    return json_util.dumps(value, json_options=json_util.RELAXED_JSON_OPTIONS)
