"""A real collection with a defect of every sort: each document is converted exactly or named with why not."""

from __future__ import annotations

import struct
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from bson import encode
from bson.binary import Binary, BinaryVectorDtype
from bson.code import Code
from bson.dbref import DBRef
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.max_key import MaxKey
from bson.min_key import MinKey
from bson.objectid import ObjectId
from bson.raw_bson import RawBSONDocument
from bson.regex import Regex
from bson.timestamp import Timestamp
from pymongo import MongoClient

from assets.columns.build import build_records
from assets.columns.snapshot import build_snapshot
from assets.mongo.build import build_documents
from assets.plan import fields_of
from assets.spec import DatasetSpec
from shards import ShardStore

COLUMNS: dict[str, dict[str, Any]] = {
    "f32": {"kind": "number", "path": "f32"},
    "i8": {"kind": "number", "path": "i8", "dtype": "int8"},
    "u64": {"kind": "number", "path": "u64", "dtype": "uint64", "missing": "default", "default": 3},
    "i64": {"kind": "number", "path": "i64", "dtype": "int64", "missing": "mask"},
    "vec": {"kind": "vector", "path": "vec", "length": 3},
    "stack": {"kind": "vector", "paths": ["n.a", "n.b.0.c"], "missing": "nan", "dtype": "float64"},
    "color": {"kind": "category", "path": "color"},
    "size": {"kind": "category", "path": "size", "values": ["s", "m", 40, True]},
    "bucket": {"kind": "category", "path": "bucket", "hash_buckets": 8},
    "tags": {"kind": "multilabel", "path": "tags", "values": ["a", "b"]},
    "ok": {"kind": "bool", "path": "ok"},
    "at": {"kind": "datetime", "path": "at", "unit": "us"},
    "text": {"kind": "text", "path": "text"},
    "grid": {"kind": "list", "path": "grid", "element": "int16", "depth": 2},
    "prices": {"kind": "list", "path": "lines.*.price", "element": "float32", "missing": "mask"},
    "rec": {
        "kind": "record",
        "path": "rec",
        "members": {
            "a": {"type": "int64"},
            "b": {"type": "string", "missing": "null"},
            "c": {"type": "record", "missing": "null", "members": {"d": {"type": "list", "element": "bool"}}},
        },
    },
    "oid": {"kind": "id", "path": "oid"},
    "uuid": {"kind": "id", "path": "uuid", "type": "uuid"},
    "blob": {"kind": "binary", "path": "blob"},
    "emb": {"kind": "embedding", "path": "emb", "length": 2},
}
OID, UUID_VALUE = ObjectId("0123456789abcdef01234567"), UUID(int=5)
MOMENT = datetime(2024, 5, 1, 10, tzinfo=timezone(timedelta(hours=2)))


def good() -> dict[str, Any]:
    return {
        "f32": 1.5,
        "i8": 7,
        "u64": Int64(9),
        "i64": Int64(-9),
        "vec": [1.0, 2, Int64(3)],
        "n": {"a": 1.0, "b": [{"c": 2.0}]},
        "color": "red",
        "size": "m",
        "bucket": "any",
        "tags": ["a"],
        "ok": True,
        "at": MOMENT,
        "text": "héllo",
        "grid": [[1, 2], []],
        "lines": [{"price": 1.0}, {"price": 2.5}],
        "rec": {"a": 1, "b": "x", "c": {"d": [True]}},
        "oid": OID,
        "uuid": Binary.from_uuid(UUID_VALUE),
        "blob": b"abc",
        "emb": Binary.from_vector([1.0, 2.0], BinaryVectorDtype.FLOAT32),
    }


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"d": value}
    return value


OTHER: dict[str, Any] = {
    "a string": "x",
    "an int32": 2,
    "an int64": Int64(2),
    "a double": 2.5,
    "a decimal": Decimal128("2.5"),
    "a bool": True,
    "a date": MOMENT,
    "an ObjectId": OID,
    "bytes": b"ab",
    "a UUID": Binary.from_uuid(UUID_VALUE),
    "a regex": Regex("a"),
    "a timestamp": Timestamp(1, 2),
    "code": Code("x"),
    "code with scope": Code("x", {"a": 1}),
    "MinKey": MinKey(),
    "MaxKey": MaxKey(),
    "a reference": DBRef("c", 1),
    "a document": {"z": 1},
    "an array": ["q"],
}
NUMBERS = {"an int32", "an int64", "a double"}
FITS = {
    "f32": NUMBERS,
    "i8": {"an int32", "an int64"},
    "u64": {"an int32", "an int64"},
    "i64": {"an int32", "an int64"},
    "vec": set(),
    "stack": NUMBERS,
    "color": {"a string"},
    "size": set(),
    "bucket": {"a string"},
    "tags": set(),
    "ok": {"a bool"},
    "at": {"a date"},
    "text": {"a string"},
    "grid": set(),
    "prices": NUMBERS,
    "rec": set(),
    "oid": {"an ObjectId"},
    "uuid": {"a UUID"},
    "blob": {"bytes"},
    "emb": set(),
}

# name: what is changed in a good document, then the field and reason of its reject, or None when it fits
DEFECTS: dict[str, tuple[dict[str, Any], tuple[str, str] | None]] = {
    "missing required": ({"f32": ...}, ("f32", "missing")),
    "null required": ({"f32": None}, ("f32", "null")),
    "missing with default": ({"u64": ...}, None),
    "null with mask": ({"i64": None}, None),
    "missing with nan": ({"n": ...}, None),
    "missing element of a stack": ({"n": {"a": 1.0, "b": []}}, None),
    "NaN": ({"f32": float("nan")}, ("f32", "not finite")),
    "infinity": ({"f32": float("inf")}, ("f32", "not finite")),
    "minus infinity": ({"f32": float("-inf")}, ("f32", "not finite")),
    "beyond float32": ({"f32": 1e39}, ("f32", "out of range")),
    "below float32": ({"f32": 1e-50}, ("f32", "inexact")),
    "an int32 that is no float32": ({"f32": 16_777_217}, ("f32", "inexact")),
    "an int64 that is no double": ({"f32": Int64(2**53 + 1)}, ("f32", "inexact")),
    "a fraction is rounded to nearest": ({"f32": 0.1}, None),
    "minus zero": ({"f32": -0.0}, None),
    "int8 too large": ({"i8": 128}, ("i8", "out of range")),
    "int8 too small": ({"i8": -129}, ("i8", "out of range")),
    "int8 at its limit": ({"i8": -128}, None),
    "a whole double for an integer": ({"i8": 2.0}, ("i8", "wrong type")),
    "negative for unsigned": ({"u64": -1}, ("u64", "out of range")),
    "2**63 as a double for int64": ({"i64": 2.0**63}, ("i64", "wrong type")),
    "largest int64": ({"i64": Int64(2**63 - 1)}, None),
    "a numeric string": ({"f32": "1.5"}, ("f32", "wrong type")),
    "short vector": ({"vec": [1.0, 2.0]}, ("vec", "wrong length")),
    "long vector": ({"vec": [1.0] * 4}, ("vec", "wrong length")),
    "empty vector": ({"vec": []}, ("vec", "wrong length")),
    "null in a vector": ({"vec": [1.0, None, 2.0]}, ("vec", "null")),
    "mixed vector": ({"vec": [1.0, "2", 3.0]}, ("vec", "wrong type")),
    "infinity in a vector": ({"vec": [1.0, float("inf"), 3.0]}, ("vec", "not finite")),
    "undeclared category": ({"size": "xl"}, ("size", "unknown category")),
    "undeclared number": ({"size": 41}, ("size", "unknown category")),
    "declared number": ({"size": 40}, None),
    "declared truth": ({"size": True}, None),
    "undeclared truth": ({"size": False}, ("size", "unknown category")),
    "undeclared label": ({"tags": ["a", "z"]}, ("tags", "unknown category")),
    "no labels": ({"tags": []}, None),
    "repeated label": ({"tags": ["b", "b"]}, None),
    "mixed labels": ({"tags": ["a", 1]}, ("tags", "wrong type")),
    "a date beyond years": ({"at": None}, ("at", "null")),
    "a huge string": ({"text": "x" * 5_000_000}, None),
    "an empty string": ({"text": ""}, None),
    "a string with a zero": ({"text": "a\0b"}, None),
    "text of emoji": ({"text": "\U0001f600" * 1_000}, None),
    "empty lists": ({"grid": []}, None),
    "nested too little": ({"grid": [1, 2]}, ("grid", "wrong type")),
    "nested too much": ({"grid": [[[1]]]}, ("grid", "wrong type")),
    "mixed list": ({"grid": [[1, "2"]]}, ("grid", "wrong type")),
    "a number too large in a list": ({"grid": [[1, 40_000]]}, ("grid", "out of range")),
    "no lines": ({"lines": []}, None),
    "absent lines": ({"lines": ...}, None),
    "record without an optional member": ({"rec": {"a": 1}}, None),
    "record without a required member": ({"rec": {"b": "x"}}, ("rec", "missing")),
    "record with more members": ({"rec": {"a": 1, "zz": [1, {"y": 2}]}}, None),
    "record with a wrong member": ({"rec": {"a": "1"}}, ("rec", "wrong type")),
    "legacy UUID": ({"uuid": Binary(UUID_VALUE.bytes, 3)}, None),
    "a string of 24 hexadecimal digits": ({"oid": str(OID)}, ("oid", "wrong type")),
    "empty bytes": ({"blob": b""}, None),
    "bytes of a user's subtype": ({"blob": Binary(b"x", 0x80)}, None),
    "an embedding of raw numbers": ({"emb": np.array([1, 2], "<f4").tobytes()}, None),
    "an embedding of int8": ({"emb": Binary.from_vector([1, 2], BinaryVectorDtype.INT8)}, None),
    "an embedding too short": ({"emb": b"1234"}, ("emb", "wrong type")),
    "an embedding with NaN": ({"emb": np.array([np.nan, 2], "<f4").tobytes()}, ("emb", "wrong type")),
    "an embedding as a list": ({"emb": [1.0, 2.0]}, ("emb", "wrong type")),
    "nested 150 levels beside": ({"zzz": deep(150)}, None),
    "nested 170 levels in an unknown member": ({"rec": {"a": 1, "zz": deep(170)}}, None),
    "nested 175 levels instead of a number": ({"f32": deep(175)}, ("f32", "wrong type")),
    "lists in lists instead of a vector": ({"vec": [[[[[[1.0]]]]]] * 3}, ("vec", "wrong type")),
}


def holding(column: str, value: Any) -> dict[str, Any]:
    """Give the member of a document from which the column takes this value."""
    if column == "stack":
        return {"n": {"a": value, "b": [{"c": 2.0}]}}
    return {"lines": [{"price": value}]} if column == "prices" else {column: value}


MAY_BE_NULL = {"u64", "i64", "stack"}
for _column, _fits in FITS.items():
    _nothing = None if _column in MAY_BE_NULL else (_column, "null")
    DEFECTS[f"{_column} gets null"] = (holding(_column, None), _nothing)
    for _name, _value in OTHER.items():
        _reason = None if _name in _fits else (_column, "wrong type")
        if (_column, _name) == ("size", "a string"):
            _reason = ("size", "unknown category")
        if (_column, _name) in {("size", "an int32"), ("size", "an int64")}:
            _reason = ("size", "unknown category")
        if (_column, _name) == ("tags", "an array"):
            _reason = ("tags", "unknown category")
        if (_column, _name) in {("rec", "a document"), ("rec", "a reference")}:
            _reason = ("rec", "missing")
        if (_column, _name) in {("size", "a bool"), ("blob", "a UUID")}:
            _reason = None if _column == "size" else ("blob", "wrong type")
        DEFECTS[f"{_column} gets {_name}"] = (holding(_column, _value), _reason)


def duplicate_key() -> RawBSONDocument:
    # The server's projection stops at the last wanted name; only a key repeated before that can be seen.
    body = encode({"_id": "raw duplicate key", **good(), "key": 1})
    once = encode({"i8": 7})[4:-1]
    twice = body[4:].replace(once, once + encode({"i8": 8})[4:-1])
    return RawBSONDocument(struct.pack("<i", len(twice) + 4) + twice)


def invalid_utf8() -> RawBSONDocument:
    body = encode({"_id": "raw invalid UTF-8", **good(), "key": 2})
    return RawBSONDocument(body.replace("héllo".encode(), b"h\xff\xfello"))


RAW: dict[str, tuple[Callable[[], RawBSONDocument], tuple[str, str] | None]] = {
    "raw duplicate key": (duplicate_key, ("i8", "duplicate key")),
    "raw invalid UTF-8": (invalid_utf8, ("text", "invalid UTF-8")),
}
DEPRECATED = {
    "undefined": (0x06, b""),
    "a symbol": (0x0E, struct.pack("<i", 2) + b"x\0"),
    "a DBPointer": (0x0C, struct.pack("<i", 2) + b"c\0" + OID.binary),
}
"""Types that no driver writes any more, by name: the type's byte, and a value."""


def deprecated(name: str, column: str, kind: int, value: bytes) -> RawBSONDocument:
    members = {**good(), "_id": name, "key": name}
    wanted = holding(column, Int64(0x55AA))
    (outer,) = wanted
    body = encode({**{key: member for key, member in members.items() if key != outer}, **wanted})
    placeholder = encode({"v": Int64(0x55AA)})[7:-1]
    field = {"stack": "a", "prices": "price"}.get(column, column).encode() + b"\0"
    before, after = body.split(b"\x12" + field + placeholder)
    grown = len(value) - len(placeholder)
    return RawBSONDocument(_resized(before + bytes([kind]) + field + value + after, body, outer, grown))


def _resized(data: bytes, body: bytes, outer: str, grown: int) -> bytes:
    """Set right the lengths of the documents that lie around a value that grew."""
    out = bytearray(data)
    places = [0]
    if outer in ("n", "lines"):
        places.append(data.index(outer.encode() + b"\0", 4) + len(outer) + 1)
    if outer == "lines":
        places.append(places[-1] + 4 + 3)
    for place in places:
        (length,) = struct.unpack_from("<i", body, place)
        struct.pack_into("<i", out, place, length + grown)
    return bytes(out)


for _column in FITS:
    for _name, (_kind, _bytes) in DEPRECATED.items():
        _id = f"{_column} gets {_name}"
        # Undefined is what null was called once.
        _nothing = None if _column in MAY_BE_NULL else (_column, "null")
        _reason = _nothing if _name == "undefined" else (_column, "wrong type")
        RAW[_id] = (partial(deprecated, _id, _column, _kind, _bytes), _reason)


@pytest.fixture
def spec(database: Any) -> DatasetSpec:
    return DatasetSpec.model_validate(
        {
            "name": "defects",
            "source": {"database": database.name, "collection": "rows"},
            "columns": COLUMNS,
            "checks": {"max_reject_share": 1.0},
            "dedup": {"fields": ["key"]},
        }
    )


def test_every_defect_is_converted_exactly_or_named(
    database: Any, mongo_client: MongoClient[Any], spec: DatasetSpec, store: ShardStore
) -> None:
    documents = []
    for name, (changes, _) in DEFECTS.items():
        document = {"_id": name, **good(), "key": name, **changes}
        documents.append({key: value for key, value in document.items() if value is not ...})
    repeated = [{"_id": f"repeats {number}", **good(), "key": "no labels"} for number in range(7)]
    database.rows.insert_many([*documents, *repeated])
    raw = database.get_collection(
        "rows", codec_options=database.codec_options.with_options(document_class=RawBSONDocument)
    )
    for make, _ in RAW.values():
        raw.insert_one(make())

    extracted = build_documents(spec, "all", fields_of(spec), client=mongo_client, store=store)
    built = build_records(spec, "all", store=store)

    found = {}
    kept = {}
    for asset in ("documents", "records"):
        version = store.latest("defects", asset)
        assert version is not None
        for row in version.table("rejects").read().to_pylist():
            assert row["expected"]
            assert row["got"]
            assert row["path"]
            name = row["_id"].strip('"')
            assert name not in found
            found[name] = (row["field"].split(".")[0].split("__")[0], row["reason"])
        kept[asset] = version
    expected = {name: reason for name, (_, reason) in DEFECTS.items() if reason is not None}
    expected |= {name: reason for name, (_, reason) in RAW.items() if reason is not None}
    assert len(expected) > 400
    assert found == expected

    num_documents = database.rows.count_documents({})
    assert extracted.rows + sum(extracted.rejects.values()) == num_documents
    assert sum(built.rejects.values()) == np.count_nonzero(~kept["records"].validity())
    report = build_snapshot(spec, ["all"], store=store)
    in_splits = sum(report.metadata["splits"].values())
    rejected = sum(extracted.rejects.values()) + sum(built.rejects.values())
    duplicates = report.metadata["duplicates"]["rows"]
    assert duplicates == len(repeated)
    assert in_splits + rejected + duplicates == num_documents

    ids = [value.as_py() for value in kept["documents"].table("documents").read()["_id"]]
    row_of = {value[5:-1].decode(): row for row, value in enumerate(ids)}
    column = {name: kept["records"].column(name) for name in kept["records"].columns}

    def value(name: str, document: str) -> Any:
        read = column[name].read(row_of[document], row_of[document] + 1)
        return read[0].tolist() if isinstance(read, np.ndarray) else read[0].as_py()

    assert value("u64", "missing with default") == 3
    assert value("i64__present", "null with mask") is False
    assert np.isnan(value("stack", "missing with nan")).all()
    assert np.isnan(value("stack", "missing element of a stack")).tolist() == [False, True]
    assert value("f32", "a fraction is rounded to nearest") == float(np.float32(0.1))
    assert np.signbit(value("f32", "minus zero"))
    assert value("i8", "int8 at its limit") == -128
    assert value("i64", "largest int64") == 2**63 - 1
    assert value("vec", "no labels") == [1.0, 2.0, 3.0]
    assert [value("size", name) for name in ("no labels", "declared number", "declared truth")] == [1, 2, 3]
    assert value("tags", "repeated label") == [0, 1]
    assert value("at", "no labels") == int(MOMENT.timestamp()) * 1_000_000
    assert value("text", "a huge string") == "x" * 5_000_000
    assert value("text", "a string with a zero") == "a\0b"
    assert value("grid", "no labels") == [[1, 2], []]
    assert value("prices", "no labels") == [1.0, 2.5]
    assert value("prices__present", "absent lines") is False
    assert value("rec", "record without an optional member") == {"a": 1, "b": None, "c": None}
    assert value("rec", "no labels") == {"a": 1, "b": "x", "c": {"d": [True]}}
    assert bytes(value("uuid", "legacy UUID")) == UUID_VALUE.bytes
    assert bytes(value("oid", "no labels")) == OID.binary
    assert value("blob", "bytes of a user's subtype") == b"x"
    assert value("emb", "an embedding of int8") == [1.0, 2.0]


@pytest.mark.parametrize(
    ("column", "given", "stored"),
    [
        ({"kind": "number", "dtype": "int32"}, 17.0, 17),
        ({"kind": "number", "dtype": "int32"}, 17.9, "inexact"),
        ({"kind": "number", "dtype": "int32"}, "17", 17),
        ({"kind": "number", "dtype": "int32"}, True, 1),
        ({"kind": "number", "dtype": "int64"}, Decimal128("9007199254740993"), 9007199254740993),
        ({"kind": "number", "dtype": "int64"}, 1e300, "out of range"),
        ({"kind": "number", "dtype": "float64"}, Decimal128("0.5"), 0.5),
        ({"kind": "number", "dtype": "float64"}, Decimal128("0.1"), 0.1),
        ({"kind": "number", "dtype": "float64"}, Decimal128("0.10000000000000000001"), "inexact"),
        ({"kind": "number", "dtype": "float64"}, "1e3", 1000.0),
        ({"kind": "datetime"}, "2024-05-01T10:00:00Z", 1_714_557_600_000),
        ({"kind": "id"}, "0123456789abcdef01234567", list(OID.binary)),
        ({"kind": "category", "values": ["4", "5"]}, 5, 1),
        ({"kind": "bool"}, "yes", "wrong type"),
    ],
)
def test_coercion_is_lossless(
    database: Any,
    mongo_client: MongoClient[Any],
    store: ShardStore,
    column: dict[str, Any],
    given: Any,
    stored: Any,
) -> None:
    spec = DatasetSpec.model_validate(
        {
            "name": "coerced",
            "source": {"database": database.name, "collection": "rows"},
            "columns": {"x": {"path": "x", "coerce": True, **column}},
            "checks": {"max_reject_share": 1.0},
        }
    )
    database.rows.insert_one({"x": given})
    report = build_documents(spec, "all", fields_of(spec), client=mongo_client, store=store)
    if isinstance(stored, str):
        assert dict(report.rejects) == {stored: 1}
        return
    build_records(spec, "all", store=store)
    version = store.latest("coerced", "records")
    assert version is not None
    assert version.column("x").read()[0].tolist() == stored


def test_what_a_projection_hides_is_seen_in_a_dump(
    database: Any, mongo_client: MongoClient[Any], store: ShardStore, tmp_path: Path
) -> None:
    """The server sends the wanted members alone, and of a repeated one the first.

    A dump has every member of a document, nested ones beyond what a server stores, too.
    """
    beyond = encode({"x": Int64(8)})[4:-1]
    body = encode({"_id": "repeated", "x": Int64(7), "pad": "p" * 4_000})
    repeated = struct.pack("<i", len(body) + len(beyond)) + body[4:-1] + beyond + b"\0"
    files = {"repeated": repeated, "plain": encode({"_id": "plain", "x": Int64(7)})}
    files["200 levels"] = encode({"_id": "200", "y": deep(199), "x": Int64(7)})
    files["201 levels"] = encode({"_id": "201", "y": deep(200), "x": Int64(7)})
    raw = database.get_collection(
        "rows", codec_options=database.codec_options.with_options(document_class=RawBSONDocument)
    )
    raw.insert_many([RawBSONDocument(files["repeated"]), RawBSONDocument(files["plain"])])
    (tmp_path / "rows.bson").write_bytes(b"".join(files.values()))

    def build(name: str, **source: Any) -> tuple[int, list[dict[str, Any]]]:
        spec = DatasetSpec.model_validate(
            {
                "name": name,
                "source": source,
                "columns": {"x": {"kind": "number", "path": "x", "dtype": "int64"}},
                "checks": {"max_reject_share": 1.0, "max_row_difference": 1.0},
            }
        )
        report = build_documents(spec, "all", fields_of(spec), client=mongo_client, store=store)
        build_records(spec, "all", store=store)
        records, documents = store.latest(name, "records"), store.latest(name, "documents")
        assert records is not None
        assert documents is not None
        assert records.column("x").read().tolist() == [7] * report.rows
        return report.rows, documents.table("rejects").read().to_pylist()

    assert build("projected", database=database.name, collection="rows") == (2, [])
    rows, rejects = build("dumped", dump=str(tmp_path / "rows.bson"))
    assert rows == 2
    assert [(one["_id"], one["reason"]) for one in rejects] == [
        ('"201"', "nested too deeply"),
        ('"repeated"', "duplicate key"),
    ]
