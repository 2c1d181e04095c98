"""Documents that do not fit: which one, where, why, what was expected and what was there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import bson
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from bson import json_util
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.errors import InvalidBSON

from assets.mongo import layout
from assets.mongo.plan import Target
from assets.mongo.schema import REJECTS, describe
from assets.mongo.tables import Tables

REASONS = {
    layout.MISSING: "missing",
    layout.NULL: "null",
    layout.WRONG_TYPE: "wrong type",
    layout.OUT_OF_RANGE: "out of range",
    layout.INEXACT: "inexact",
    layout.WRONG_LENGTH: "wrong length",
    layout.DUPLICATE: "duplicate key",
    layout.BAD_UTF8: "invalid UTF-8",
    layout.CORRUPT: "corrupt BSON",
    layout.TOO_DEEP: "nested too deeply",
}
TYPE_NAMES = {
    layout.T_DOUBLE: "double",
    layout.T_STRING: "string",
    layout.T_DOCUMENT: "document",
    layout.T_ARRAY: "array",
    layout.T_BINARY: "binary",
    layout.T_UNDEFINED: "undefined",
    layout.T_OBJECTID: "objectid",
    layout.T_BOOL: "bool",
    layout.T_DATE: "date",
    layout.T_NULL: "null",
    layout.T_REGEX: "regex",
    layout.T_DBPOINTER: "dbpointer",
    layout.T_CODE: "code",
    layout.T_SYMBOL: "symbol",
    layout.T_CODE_WITH_SCOPE: "code with scope",
    layout.T_INT32: "int32",
    layout.T_TIMESTAMP: "timestamp",
    layout.T_INT64: "int64",
    layout.T_DECIMAL128: "decimal128",
    layout.T_MAXKEY: "maxkey",
    layout.T_MINKEY: "minkey",
}
FIXED = {
    layout.T_DOUBLE: 8,
    layout.T_OBJECTID: 12,
    layout.T_BOOL: 1,
    layout.T_DATE: 8,
    layout.T_INT32: 4,
    layout.T_TIMESTAMP: 8,
    layout.T_INT64: 8,
    layout.T_DECIMAL128: 16,
}
MAX_SHOWN = 120
LENIENT: CodecOptions[dict[str, Any]] = CodecOptions(
    unicode_decode_error_handler="replace",
    datetime_conversion=DatetimeConversion.DATETIME_MS,
)


@dataclass(frozen=True, slots=True)
class Reject:
    """One document that has no row.

    Parameters
    ----------
    id
        `_id` as canonical extended JSON, None where it cannot be read.
    path
        Dotted path of the value, with array positions.
    reason
        One of a fixed list: missing, null, wrong type, out of range, inexact, wrong length, duplicate key,
        invalid UTF-8, corrupt BSON, nested too deeply.
    expected, got
        What was wanted and what was there, at most 120 characters.
    field
        Name of the field that could not be filled; empty when the document as a whole is broken.
    """

    id: str | None
    path: str
    reason: str
    expected: str
    got: str
    field: str


def read_rejects(tables: Tables, address: int, view: npt.NDArray[np.uint8]) -> list[Reject]:
    """Turn the walker's records into rejects, and clear them."""
    state = tables.base
    num_rejects = tables.get(state + layout.STATE_NUM_REJECTS)
    first = tables.get(state + layout.STATE_REJECTS)
    rejects = []
    for number in range(num_rejects):
        record = tables.words(first + number * layout.REJECT_BYTES, layout.REJECT_BYTES // 8).tolist()
        rejects.append(_reject(tables, record, address, view))
    tables.put(state + layout.STATE_NUM_REJECTS, 0)
    return rejects


def _reject(tables: Tables, record: list[int], address: int, view: npt.NDArray[np.uint8]) -> Reject:
    start, reason, target_at, node_at, bson_type, value_at, extra = record[:7]
    begin = start - address
    size = int.from_bytes(view[begin : begin + 4].tobytes(), "little")
    document = view[begin : begin + size].tobytes()
    target = tables.target_at.get(target_at)
    if target is not None:
        path, name, expected = target.path, tables.field_of[id(target)], _expected(target)
    else:
        node = tables.node_at[node_at]
        path, name, expected = node.path, "", "a valid document"
        if node.path and reason in (layout.WRONG_TYPE, layout.DUPLICATE):
            below = tables.first_target_below(node)
            name, expected = tables.field_of[id(below)], "document"
    for index in record[7:]:
        if "*" not in path:
            break
        path = path.replace("*", str(index), 1)
    if reason == layout.MISSING:
        got = "nothing"
    elif reason == layout.WRONG_LENGTH:
        got = f"{extra} elements"
    else:
        got = _got(bson_type, document, value_at - start)
    return Reject(read_id(document), path, REASONS[reason], expected, got, name)


def _expected(target: Target) -> str:
    bounds = ""
    if target.minimum is not None:
        bounds += f" >= {target.minimum}"
    if target.maximum is not None:
        bounds += f" <= {target.maximum}"
    return f"{describe(target.type)}{bounds}"


def _got(bson_type: int, document: bytes, place: int) -> str:
    """Type and, where it is short, value of what is at a place of a document."""
    name = TYPE_NAMES.get(bson_type, f"type 0x{bson_type & 0xFF:02x}")
    if not 0 < place < len(document):
        return name
    if bson_type in (layout.T_STRING, layout.T_SYMBOL, layout.T_CODE):
        size = int.from_bytes(document[place : place + 4], "little")
        text = document[place + 4 : place + 3 + min(size, MAX_SHOWN)]
        return shorten(f"{name} {text.decode(errors='replace')!r}")
    if bson_type not in FIXED:
        return name
    return shorten(f"{name} {decode_value(bson_type, document[place : place + FIXED[bson_type]])!r}")


def decode_value(bson_type: int, value: bytes) -> Any:
    """Decode one value that stands alone."""
    element = bytes([bson_type]) + b"v\0" + value + b"\0"
    return bson.decode((len(element) + 4).to_bytes(4, "little") + element, LENIENT)["v"]


def shorten(text: str) -> str:
    """Text of at most 120 characters."""
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 3]}..."


def read_id(document: bytes) -> str | None:
    """`_id` of a document that may be broken, as extended JSON."""
    try:
        value = bson.decode(document, LENIENT)
    except InvalidBSON:
        value = _first_element(document)
    if "_id" not in value:
        return None
    return extended_json(value["_id"])


def extended_json(value: Any) -> str:
    """Canonical extended JSON of one value."""
    return json_util.dumps(value, json_options=json_util.CANONICAL_JSON_OPTIONS)


def _first_element(document: bytes) -> dict[str, Any]:
    """The first element, where everything after it may be broken."""
    bson_type, value = document[4:5], document[9:]
    if document[5:9] != b"_id\0" or bson_type[0] not in FIXED:
        return {}
    size = FIXED[bson_type[0]]
    if len(value) < size or (bson_type[0] == layout.T_BOOL and value[0] > 1):
        return {}
    return {"_id": decode_value(bson_type[0], value[:size])}


def read_rejects_table(table: pa.Table) -> list[Reject]:
    """Rejects out of a `rejects` table."""
    return [
        Reject(row["_id"], row["path"], row["reason"], row["expected"], row["got"], row["field"])
        for row in table.to_pylist()
    ]


def rejects_batch(rejects: Sequence[Reject]) -> pa.RecordBatch:
    """Rejects as rows of the `rejects` table."""
    columns = [
        [one.id for one in rejects],
        [one.path for one in rejects],
        [one.reason for one in rejects],
        [one.expected for one in rejects],
        [one.got for one in rejects],
        [one.field for one in rejects],
    ]
    arrays = [pa.array(column, pa.large_string()) for column in columns]
    return pa.RecordBatch.from_arrays(arrays, schema=REJECTS)
