"""What the walker takes, converts and rejects, and the reason it gives."""

from __future__ import annotations

import datetime
import uuid
from typing import Any

import bson
import pyarrow as pa
import pytest
from bson import Binary, Code, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.son import SON

from assets.mongo.columns import Columns
from assets.mongo.errors import BrokenBatch, FieldError
from assets.mongo.fields import AnyOf, Field, ListOf, Struct
from assets.mongo.memory import entry
from assets.mongo.rejects import Reject
from assets.mongo.schema import ID

OID = ObjectId("0123456789abcdef01234567")
NOON = datetime.datetime(2024, 2, 29, 12, 0, 0, 123_000)
EVERY_TYPE: dict[str, Any] = {
    "double": 1.5,
    "string": "text",
    "document": {"a": 1},
    "array": [1],
    "binary": b"bytes",
    "uuid": Binary(bytes(range(16)), 4),
    "objectid": OID,
    "bool": True,
    "date": NOON,
    "regex": Regex("a+", "i"),
    "code": Code("f()"),
    "code with scope": Code("f()", {"x": 1}),
    "int32": 7,
    "timestamp": Timestamp(5, 1),
    "int64": Int64(1 << 40),
    "decimal128": Decimal128("1.5"),
    "minkey": MinKey(),
    "maxkey": MaxKey(),
}
TAKES = {
    "int64": {"int32", "int64"},
    "uint64": {"int32", "int64"},
    "float64": {"double", "int32", "int64"},
    "bool": {"bool"},
    "timestamp": {"date"},
    "string": {"string"},
    "binary": {"binary"},
    "objectid": {"objectid"},
    "uuid": {"uuid"},
    "decimal128": {"decimal128"},
    "raw": set(EVERY_TYPE),
}


def walk(fields: list[Field], *documents: Any) -> tuple[list[dict[str, Any]], list[Reject]]:
    """Rows and rejects of documents (or of their bytes)."""
    batches: list[pa.RecordBatch] = []
    columns = Columns(fields, batches.append)
    columns.feed(b"".join(one if isinstance(one, bytes) else bson.encode(one) for one in documents))
    columns.flush()
    for batch in batches:
        batch.validate(full=True)
    return [row for batch in batches for row in batch.to_pylist()], columns.take_rejects()


@pytest.mark.parametrize("wanted", list(TAKES))
@pytest.mark.parametrize("given", list(EVERY_TYPE))
def test_every_type_in_every_kind(wanted: Any, given: str) -> None:
    rows, rejects = walk([Field("x", "x", wanted)], {"_id": 3, "x": EVERY_TYPE[given]})
    if given in TAKES[wanted]:
        assert len(rows) == 1
        assert not rejects
    else:
        assert not rows
        assert (rejects[0].id, rejects[0].path, rejects[0].field) == ('{"$numberInt": "3"}', "x", "x")
        assert rejects[0].reason == "wrong type"
        assert rejects[0].expected == wanted
        assert rejects[0].got.startswith("binary" if given == "uuid" else given)


def test_values_are_exact() -> None:
    document = {
        "i": Int64(-(1 << 63)), "d": float("nan"), "s": "zürich 日本", "b": False, "t": NOON,
        "o": OID, "u": Binary(bytes(16), 3), "y": Binary(b"old", 2), "n": Decimal128("1E+6000"),
    }  # fmt: skip
    kinds: dict[str, Any] = {
        "i": "int64", "d": "float64", "s": "string", "b": "bool", "t": "timestamp", "o": "objectid",
        "u": "uuid", "y": "binary", "n": "decimal128",
    }  # fmt: skip
    rows, _ = walk([Field(name, name, kind) for name, kind in kinds.items()], document)
    row = rows[0]
    assert row.pop("d") != 0
    assert row == {
        "i": -(1 << 63), "s": "zürich 日本", "b": False, "t": NOON.replace(tzinfo=datetime.timezone.utc),
        "o": OID.binary, "u": bytes(16), "y": b"old", "n": Decimal128("1E+6000").bid,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("field", "value", "reason", "got"),
    [
        (Field("x", "x", "float64"), Int64((1 << 53) + 1), "inexact", "int64 9007199254740993"),
        (Field("x", "x", "float64"), Int64((1 << 63) - 1), "inexact", "int64 9223372036854775807"),
        (Field("x", "x", "int64", maximum=9), 10, "out of range", "int32 10"),
        (Field("x", "x", "float64", minimum=0.5), 0.25, "out of range", "double 0.25"),
        (Field("x", "x", "uint64"), -1, "out of range", "int32 -1"),
        (Field("x", "x", "int64"), None, "null", "null"),
        (Field("x", "x", ListOf("int64", 2)), [1], "wrong length", "1 elements"),
        (Field("x", "x", ListOf("int64")), [1, None], "null", "null"),
        (Field("x", "x", ListOf("int64")), [1, "2"], "wrong type", "string '2'"),
        (Field("x", "x", Struct((Field("a", "a", "int64"),))), {}, "missing", "nothing"),
        (Field("x", "x.a", "int64", required=False), 3, "wrong type", "int32 3"),
        (Field("x", "x.3", "int64"), [1], "missing", "nothing"),
        (Field("x", "x.*.b", ListOf("int64")), [{"b": 1}, {}], "missing", "nothing"),
        (Field("x", "x", AnyOf(("int64", "string"))), 1.5, "wrong type", "double 1.5"),
        (Field("x", "x", "int64", coerce=True), "1.5", "inexact", "string '1.5'"),
        (Field("x", "x", "int64", coerce=True), Int64(5) and "9223372036854775808", "out of range", None),
    ],
)
def test_reasons(field: Field, value: Any, reason: str, got: str | None) -> None:
    rows, rejects = walk([field], {"_id": 1, "x": value})
    assert not rows
    assert rejects[0].reason == reason
    assert got is None or rejects[0].got == got


def test_a_reject_names_the_place_in_nested_lists() -> None:
    field = Field("boxes", "objects.*.box", ListOf(ListOf("float64", 2)))
    document = {"_id": 1, "objects": [{"box": [1.0, 2.0]}, {"box": [1.0, "x"]}]}
    assert walk([field], document)[1][0].path == "objects.1.box.1"


def test_a_rejected_document_leaves_no_trace() -> None:
    inner = Struct((Field("a", "a", "string"), Field("b", "b", ListOf("string"))))
    fields = [Field("list", "list", ListOf(inner)), Field("last", "last", "int64")]
    good = {"list": [{"a": "x", "b": ["1", "2"]}], "last": 1}
    bad = {"list": [{"a": "y" * 100, "b": ["3"] * 50}] * 3, "last": "no"}
    rows, rejects = walk(fields, good, bad, good, bad, bad, good)
    assert rows == [good] * 3
    assert len(rejects) == 3


def test_buffers_grow_in_the_middle_of_documents() -> None:
    fields = [Field("s", "s", "string"), Field("l", "l", ListOf(ListOf("int64")))]
    documents = [{"s": "x" * (37 * n), "l": [[n] * n] * 5} for n in range(300)]
    assert walk(fields, *documents)[0] == documents


def test_nulls_keep_structs_and_fixed_lists_aligned() -> None:
    type_ = Struct((Field("v", "v", ListOf(AnyOf(("int64", "string")), 2)), Field("s", "s", "string", False)))
    fields = [Field("x", "x", ListOf(type_, 2), required=False)]
    full = {"v": [1, "a"], "s": None}
    rows, rejects = walk(fields, {}, {"x": [full, full]}, {"x": None}, {"x": [full, full]})
    alternatives = [{"int64": 1, "string": None}, {"int64": None, "string": "a"}]
    one = {"v": alternatives, "s": None}
    assert [row["x"] for row in rows] == [None, [one, one], None, [one, one]]
    assert not rejects


def element(name: bytes, value: int) -> bytes:
    return b"\x10" + name + b"\0" + value.to_bytes(4, "little")


def document(body: bytes) -> bytes:
    return (len(body) + 5).to_bytes(4, "little") + body + b"\0"


def test_duplicate_keys_are_rejected_where_they_matter() -> None:
    twice = document(element(b"x", 1) + element(b"x", 2))
    assert walk([Field("x", "x", "int64")], twice)[1][0].reason == "duplicate key"
    assert walk([Field("y", "y", "int64", required=False)], twice)[0] == [{"y": None}]
    nested = document(2 * (b"\x03x\0" + document(element(b"a", 1))))
    assert walk([Field("a", "x.a", "int64")], nested)[1][0].reason == "duplicate key"


@pytest.mark.parametrize("place", ["wanted", "other"])
def test_invalid_utf8_is_rejected(place: str) -> None:
    bad = document(b"\x02wanted\0\x03\0\0\0\xc3(\0")
    field = Field("x", place, "string", required=False)
    assert walk([field], bad)[1][0].reason == "invalid UTF-8"


def test_depth_is_bounded() -> None:
    def nested(depth: int) -> bytes:
        inner: Any = SON()
        for _ in range(depth):
            inner = SON(a=inner)
        return bson.encode({"x": inner})

    assert len(walk([Field("x", "x", "raw")], nested(190))[0]) == 1
    assert walk([Field("x", "x", "raw")], nested(250))[1][0].reason == "nested too deeply"
    assert walk([Field("y", "y", "raw", required=False)], nested(250))[1][0].reason == "nested too deeply"


def test_bytes_that_are_no_documents_are_an_error() -> None:
    columns = Columns([Field("x", "x", "int64")], lambda batch: None)
    for data in (b"\x04\0\0\0\0", b"\xff\xff\xff\xff\0\0\0\0", bson.encode({"x": 1})[:-1], b"\x05\0\0"):
        with pytest.raises(BrokenBatch):
            columns.feed(data)


@pytest.mark.parametrize(
    "fields",
    [
        [Field("x", "x", "int64"), Field("x", "y", "int64")],
        [Field("x", "a..b", "int64")],
        [Field("x", "a.*.b", "int64")],
        [Field("x", "a", Struct(()))],
        [Field("x", "a", "int65")],  # type: ignore[arg-type]
        [Field("x", "a", ListOf("int64", -1))],
    ],
)
def test_fields_that_make_no_sense(fields: list[Field]) -> None:
    with pytest.raises(FieldError):
        Columns(fields, lambda batch: None)


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("int64", 3.0, 3),
        ("int64", True, 1),
        ("int64", "-17", -17),
        ("int64", "1e3", 1000),
        ("int64", Decimal128("12.0"), 12),
        ("uint64", Decimal128("18446744073709551615"), (1 << 64) - 1),
        ("uint64", "18446744073709551615", (1 << 64) - 1),
        ("float64", "0.1", 0.1),
        ("float64", Decimal128("2.5"), 2.5),
        ("float64", False, 0.0),
        ("bool", 1, True),
        ("bool", "false", False),
        ("timestamp", "2024-02-29T12:00:00.123Z", NOON.replace(tzinfo=datetime.timezone.utc)),
        ("timestamp", "2024-02-29T14:00:00.123+02:00", NOON.replace(tzinfo=datetime.timezone.utc)),
        ("timestamp", "2024-02-29", datetime.datetime(2024, 2, 29, tzinfo=datetime.timezone.utc)),
        ("timestamp", Timestamp(60, 0), datetime.datetime(1970, 1, 1, 0, 1, tzinfo=datetime.timezone.utc)),
        ("string", 5, "5"),
        ("string", OID, str(OID)),
        ("objectid", str(OID), OID.binary),
        ("uuid", str(uuid.UUID(int=5)), uuid.UUID(int=5).bytes),
        ("uuid", b"0123456789abcdef", b"0123456789abcdef"),
        ("decimal128", 7, Decimal128("7").bid),
        ("binary", Binary(bytes(16), 4), bytes(16)),
    ],
)
def test_lossless_conversions(kind: Any, value: Any, expected: Any) -> None:
    rows, rejects = walk([Field("x", "x", kind, coerce=True)], {"x": value})
    assert not rejects
    assert rows == [{"x": expected}]
    assert walk([Field("x", "x", kind)], {"x": value})[1][0].reason in ("wrong type", "inexact")


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("int64", 1.5), ("int64", "abc"), ("int64", float("nan")), ("float64", "0.1234567890123456789"),
        ("float64", "1e999"), ("bool", 2), ("bool", "yes"), ("timestamp", "2024-13-01"), ("timestamp", 5),
        ("timestamp", "2024-01-01T00:00:00.0001Z"), ("timestamp", Timestamp(60, 1)), ("string", NOON),
        ("objectid", "xyz"), ("uuid", b"short"), ("decimal128", "1" * 40), ("int64", {"a": 1}),
        ("string", [1]),
    ],
)  # fmt: skip
def test_lossy_conversions_are_refused(kind: Any, value: Any) -> None:
    rows, rejects = walk([Field("x", "x", kind, coerce=True)], {"x": value})
    assert not rows
    assert len(rejects) == 1


def test_many_conversions_in_one_document() -> None:
    field = Field("x", "x", ListOf("int64"), coerce=True)
    assert walk([field], {"x": [str(n) for n in range(5_000)]})[0] == [{"x": list(range(5_000))}]


def test_ids_of_broken_documents_are_still_named() -> None:
    broken = document(b"\x07_id\0" + OID.binary + b"\x02x\0\xff\xff\xff\x7fabc\0")
    assert walk([ID], broken)[1][0].id == f'{{"$oid": "{OID}"}}'


def test_a_uuid_of_another_length_is_no_uuid_and_no_binary() -> None:
    odd = {"x": Binary(b"short", 4)}
    assert walk([Field("x", "x", "raw")], odd)[0] == [{"x": b"\x05\x05\0\0\0\x04short"}]
    for kind in ("uuid", "binary", "string"):
        for coerce in (False, True):
            rows, rejects = walk([Field("x", "x", kind, coerce=coerce)], odd)
            if kind == "binary" and coerce:
                assert rows == [{"x": b"short"}]
            else:
                assert rejects[0].reason == "wrong type"


def test_compiled_code_without_a_place_to_be_kept_works() -> None:
    names: dict[str, Any] = {}
    exec("def twice(number):\n    return 2 * number\n", names)
    with pytest.warns(UserWarning, match="NUMBA_CACHE_DIR"):
        twice = entry(names["twice"])
    assert twice(21) == 42
