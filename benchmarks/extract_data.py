"""Data of `benchmarks.extract`: documents of 22 mixed members and 940 bytes, one in a thousand unfit."""

from __future__ import annotations

import datetime
import math
import random
from collections.abc import Callable
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
TEXT = "amber basalt cedar delta ember fjord granite harbor indigo juniper krill lichen meadow nettle opal"
WORDS = f"{TEXT} pebble quartz reed spruce über straße naïve café 東京".split()
COUNTRIES = ("DE", "US", "JP", "FR", "BR")


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
    moment = datetime.datetime(2025, 10, 9) + datetime.timedelta(seconds=number * 2)
    oid = (FIRST_SECOND + number // 4).to_bytes(4, "big") + number.to_bytes(8, "big")
    document: dict[str, Any] = {
        "_id": ObjectId(oid),
        "user_id": rng.randrange(100_000),
        "seq": Int64((1 << 33) + 7 * number),
    }
    if (chance := rng.random()) < 0.95:
        document["age"] = None if chance < 0.05 else rng.randrange(18, 78)
    document |= {"label": rng.randrange(10), "score": rng.random(), "price": round(rng.uniform(1, 1_000), 2)}
    if (chance := rng.random()) < 0.97:
        document["rating"] = math.nan if chance < 0.02 else rng.random() * 5
    document |= {
        "name": f"user name {number % 9973}",
        "category": f"cat_{number % 57}",
        "country": COUNTRIES[number % 5],
        "text": " ".join(rng.choices(WORDS, k=18)),
        "active": rng.random() < 0.5,
        "created_at": moment,
        "updated_at": moment + datetime.timedelta(seconds=rng.randrange(86_400)),
        "tags": rng.sample(WORDS, rng.randrange(6)) if rng.random() > 0.02 else None,
    }
    if rng.random() > 0.01:
        geo = {"lat": rng.uniform(-90, 90), "lon": rng.uniform(-180, 180)}
        document["addr"] = {"city": WORDS[number % 20], "zip": f"{number % 99_999:05d}", "geo": geo}
    document["meta"] = {"w": 640, "h": 480}
    if rng.random() > 0.3:
        document["opt"] = Int64(rng.randrange(10**12))
    document |= {
        "amount": Decimal128(f"{rng.randrange(10**6) / 100:.2f}"),
        "thumb": rng.randbytes(16),
        "emb": vector,
    }
    if number % BAD_EVERY == 7:
        document |= SPOILED[number // BAD_EVERY % len(SPOILED)](document)
    return document


SPOILED: tuple[Callable[[dict[str, Any]], dict[str, Any]], ...] = (
    lambda document: {"user_id": "17"},
    lambda document: {"score": "0.5"},
    lambda document: {"name": 5},
    lambda document: {"created_at": "2025-10-09T00:00:00Z"},
    lambda document: {"emb": [*document["emb"][:5], "x", *document["emb"][6:]]},
    lambda document: {"emb": document["emb"][:31]},
    lambda document: {"emb": "n/a"},
    lambda document: {"meta": "640x480"},
    lambda document: {"meta": {"w": "640", "h": 480}},
    lambda document: {"user_id": 17.9},
    lambda document: {"price": None},
    lambda document: {"category": None},
    lambda document: {"active": "yes"},
)


def make_dump(path: Path, num_documents: int) -> None:
    """Write documents end to end, unless the file is there."""
    if path.exists():
        return
    rng, vectors = random.Random(1), np.random.default_rng(1)
    unfinished = path.with_suffix(".part")
    with unfinished.open("wb") as file:
        for number in range(num_documents):
            vector = vectors.standard_normal(32).tolist()
            file.write(bson.encode(make_document(number, rng, vector)))
    unfinished.rename(path)


def load(collection: Collection[Any], path: Path) -> None:
    """Insert the documents of a dump, and make the index of a date."""
    data = path.read_bytes()
    place, pending = 0, []
    while place < len(data):
        size = int.from_bytes(data[place : place + 4], "little")
        pending.append(RawBSONDocument(data[place : place + size]))
        place += size
        if len(pending) == 5_000 or place == len(data):
            collection.insert_many(pending, ordered=False)
            pending = []
    collection.create_index("updated_at")
