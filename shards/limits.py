"""Bounds that a manifest must keep; normative, see docs/format.md."""

from __future__ import annotations

FORMAT = "shardmill"
FORMAT_VERSION = 1
DICTIONARIES = "dictionaries"
"""Feature: texts of columns may be dictionary-encoded."""
FEATURES = frozenset({DICTIONARIES})
"""Features that this reader understands; a manifest that requires another is refused."""

MAX_MANIFEST_BYTES = 64 << 20
MAX_CONTAINERS = 1_000_000
MAX_DEPTH = 32
MAX_SHARDS = 100_000
MAX_COLUMNS = 4_096
MAX_DIMENSIONS = 8
MAX_ROWS = 1 << 48
MAX_FILE_BYTES = 1 << 40
MAX_NUMBER = 99_999_999
MAX_TEXT = 1_024
MAX_INTEGER = (1 << 64) - 1
"""Largest magnitude of an integer anywhere in a manifest."""
MAX_ARROW_DEPTH = 16

DTYPES = (
    "|b1", "|i1", "|u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8", "<f2", "<f4", "<f8",
)  # fmt: skip
INDEX_DTYPES = ("<u4", "<u8")
