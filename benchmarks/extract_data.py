"""Data of `benchmarks.extract`: documents of 21 mixed members and about 940 bytes, a few of them unfit."""

from __future__ import annotations

import datetime
import random
from pathlib import Path
from typing import Any

import bson
import numpy as np
import pyarrow as pa
from bson import Decimal128, Int64, ObjectId
from bson.raw_bson import RawBSONDocument
from pymongo.collection import Collection

from assets.mongo.fields import Field, ListOf, Struct

BAD_EVERY = 1_000
FIRST_SECOND = 1_760_000_000
WORDS = [
    "amber",
    "basalt",
    "cedar",
    "delta",
    "ember",
    "fjord",
    "granite",
    "harbor",
    "indigo",
    "juniper",
    "krill",
    "lichen",
]


def make_fields() -> list[Field]:
    """The 19 fields that every way of reading delivers, `_id` aside."""
    optional = {"age", "rating", "opt", "addr", "tags"}
    scalars = {
        "user_id": "int64", "seq": "int64", "age": "int64", "label": "int64", "score": "float64",
        "price": "float64", "rating": "float64", "name": "string", "category": "string", "country": "string",
        "text": "string", "active": "bool", "created_at": "timestamp", "updated_at": "timestamp",
        "opt": "int64",
    }  # fmt: skip
    fields = [Field(name, name, kind, required=name not in optional) for name, kind in scalars.items()]  # type: ignore[arg-type]
    geo = Struct((Field("lat", "lat", "float64", False), Field("lon", "lon", "float64", False)))
    city = (Field("city", "city", "string", False), Field("zip", "zip", "string", False))
    return [
        *fields,
        Field("tags", "tags", ListOf("string"), required=False),
        Field("addr", "addr", Struct((*city, Field("geo", "geo", geo, False))), required=False),
        Field("meta", "meta", Struct((Field("w", "w", "int64"), Field("h", "h", "int64")))),
        Field("emb", "emb", ListOf("float64", 32)),
    ]


def peer_schema() -> Any:
    """The same for PyMongoArrow."""
    from pymongoarrow.api import Schema
    from pymongoarrow.types import ObjectIdType

    types = {"int64": pa.int64(), "float64": pa.float64(), "string": pa.string(), "bool": pa.bool_()}
    types["timestamp"] = pa.timestamp("ms")
    geo = pa.struct([("lat", pa.float64()), ("lon", pa.float64())])
    return Schema(
        {
            "_id": ObjectIdType(),
            **{field.name: types[field.type] for field in make_fields() if isinstance(field.type, str)},
            "tags": pa.list_(pa.string()),
            "addr": pa.struct([("city", pa.string()), ("zip", pa.string()), ("geo", geo)]),
            "meta": pa.struct([("w", pa.int64()), ("h", pa.int64())]),
            "emb": pa.list_(pa.float64()),
        }
    )


def make_document(number: int, rng: random.Random, vector: list[float]) -> dict[str, Any]:
    """One document."""
    moment = datetime.datetime(2025, 10, 9) + datetime.timedelta(milliseconds=number * 2592)
    oid = (FIRST_SECOND + number // 4).to_bytes(4, "big") + number.to_bytes(8, "big")
    document: dict[str, Any] = {
        "_id": ObjectId(oid),
        "user_id": rng.randrange(1_000_000),
        "seq": Int64(number),
        "age": rng.choice([None, rng.randrange(18, 90)]),
        "label": rng.randrange(10),
        "score": rng.random(),
        "price": round(rng.uniform(1, 1_000), 2),
        "rating": rng.random() * 5 if number % 3 else None,
        "name": f"{rng.choice(WORDS)} {rng.choice(WORDS)}",
        "category": rng.choice(WORDS),
        "country": rng.choice(["DE", "FR", "ÖS", "日本"]),
        "text": " ".join(rng.choices(WORDS, k=16)),
        "active": rng.random() < 0.5,
        "created_at": moment,
        "updated_at": moment + datetime.timedelta(hours=3),
        "tags": rng.choices(WORDS, k=rng.randrange(5)),
        "addr": {"city": rng.choice(WORDS), "zip": "12345", "geo": {"lat": 47.1, "lon": 8.5}},
        "meta": {"w": 640, "h": 480},
        "amount": Decimal128("12.50"),
        "thumb": rng.randbytes(16),
        "emb": vector,
    }
    if number % 4 == 0:
        document["opt"] = Int64(number)
    if number % BAD_EVERY == 7:
        name, value = [("user_id", "17"), ("meta", "640x480"), ("emb", vector[:31]), ("score", "0.5")][
            number // BAD_EVERY % 4
        ]
        document[name] = value
    return document


def make_dump(path: Path, num_documents: int) -> None:
    """Write documents end to end, unless the file is there."""
    marker = path.with_suffix(f".{num_documents}")
    if marker.exists():
        return
    rng, vectors = random.Random(1), np.random.default_rng(1)
    with path.open("wb") as file:
        for number in range(num_documents):
            vector = vectors.standard_normal(32).tolist()
            file.write(bson.encode(make_document(number, rng, vector)))
    marker.touch()


def load(collection: Collection[Any], path: Path) -> None:
    """Insert the documents of a dump."""
    data = path.read_bytes()
    place, pending = 0, []
    while place < len(data):
        size = int.from_bytes(data[place : place + 4], "little")
        pending.append(RawBSONDocument(data[place : place + size]))
        place += size
        if len(pending) == 5_000 or place == len(data):
            collection.insert_many(pending, ordered=False)
            pending = []
