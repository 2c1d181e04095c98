"""Partitions and filters of a dump give what the server gives for the same documents, on messy ones."""

from __future__ import annotations

import datetime
import math
import random
from pathlib import Path
from typing import Any

import bson
import pytest
from bson import Binary, Code, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from pymongo.database import Database

from assets.mongo.build import build_documents
from assets.mongo.conditions import make_test, names_of
from assets.mongo.errors import SourceError
from assets.mongo.hashed import index_hash
from assets.mongo.ids import raw_id
from assets.mongo.observe import partition_counts, partition_values
from assets.mongo.paths import members_of
from assets.mongo.unplaced import build_unplaced
from assets.spec import DatasetSpec
from shards import ShardStore
from tests.integration.mongo.conftest import FIELDS, make_spec

NUM_DOCUMENTS = 400
NUM_QUERIES = 400
DAY = datetime.datetime(2024, 3, 30)
SCALARS: list[Any] = [
    0, 1, 2, 3, Int64(2), 2.0, 2.5, math.nan, -0.0, math.inf, Decimal128("2"), Decimal128("2.5"),
    Decimal128("NaN"), "", "a", "b", "2", None, None, True, False, ObjectId(b"a" * 12), ObjectId(b"b" * 12),
    DAY, DAY + datetime.timedelta(hours=30), Timestamp(1, 2), Binary(b"a"), Binary(b"b", 5), Code("x"),
]  # fmt: skip
UNASKED: list[Any] = [MinKey(), MaxKey(), Regex("a")]
"""Values that documents have, and queries of a dump may not compare with."""

HASHED: list[Any] = [
    *SCALARS, *UNASKED, -1, Int64(2**40), Int64(-(2**63)), Int64(2**63 - 1), -2.7, 1e300, -1e300, 2.0**63,
    float(-(2**63)), 9.2e18, -math.inf, Decimal128("Infinity"), Decimal128("-1E30"), Decimal128("-0.9"),
    Decimal128("3.5"), Decimal128("9223372036854775807.5"), "é\0x", Binary(b"x" * 16, 4), Binary(b"ab", 2),
    Code("f()", {"a": 1, "b": "x"}), {}, {"a": {"b": [1, 2.5, "x", None]}, "c": True}, [1, {"a": 2}],
]  # fmt: skip


class Maker:
    """Random documents and queries over the members `a` and `b`."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)

    def value(self, depth: int = 0, *, asked: bool = False) -> Any:
        """A value; arrays and documents in each other near the top."""
        chance = self.rng.random()
        if depth < 3 and chance < 0.25:
            return [self.value(depth + 1, asked=asked) for _ in range(self.rng.randrange(4))]
        if depth < 3 and chance < 0.55:
            names = self.rng.sample(["a", "b", "0", "1"], self.rng.randrange(3))
            return {name: self.value(depth + 1, asked=asked) for name in names}
        return self.rng.choice(SCALARS if asked else SCALARS + UNASKED)

    def document(self, number: int) -> dict[str, Any]:
        """A document of which members are often missing."""
        return {"_id": number} | {name: self.value() for name in "ab" if self.rng.random() < 0.85}

    def path(self) -> str:
        """A path, through arrays or not."""
        rest = [self.rng.choice(["a", "b", "0", "1"]) for _ in range(self.rng.choice([0, 0, 1, 1, 2, 3]))]
        return ".".join([self.rng.choice("ab"), *rest])

    def operators(self) -> dict[str, Any]:
        """One or two operators of a path."""
        found: dict[str, Any] = {}
        for _ in range(self.rng.choice([1, 1, 2])):
            name = self.rng.choice(
                ["$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$exists", "$type", "$not"]
            )
            if name in ("$in", "$nin"):
                found[name] = [self.value(1, asked=True) for _ in range(self.rng.randrange(4))]
            elif name == "$exists":
                found[name] = self.rng.choice([True, False, 1, 0])
            elif name == "$type":
                found[name] = self.rng.choice(
                    ["int", "number", "array", "object", "null", ["string", "date"]]
                )
            else:
                found[name] = self.operators() if name == "$not" else self.value(1, asked=True)
        return found

    def query(self, depth: int = 0) -> dict[str, Any]:
        """A whole query."""
        found: dict[str, Any] = {}
        for _ in range(self.rng.choice([1, 1, 2])):
            chance = self.rng.random()
            if depth < 2 and chance < 0.25:
                several = [self.query(depth + 1) for _ in range(self.rng.randrange(1, 4))]
                found[self.rng.choice(["$and", "$or", "$nor"])] = several
            else:
                found[self.path()] = self.value(1, asked=True) if chance < 0.4 else self.operators()
        return found


def test_queries_select_what_the_server_selects(database: Database[Any]) -> None:
    maker = Maker(5)
    documents = [maker.document(number) for number in range(NUM_DOCUMENTS)]
    database["things"].insert_many(documents)
    members = [dict(members_of(b"\x03" + bson.encode(document))) for document in documents]
    num_selected = 0
    for _ in range(NUM_QUERIES):
        query = maker.query()
        expected = [found["_id"] for found in database["things"].find(query, {"_id": 1}).sort("_id")]
        test, names = make_test(query), names_of(query)
        asked = [{name: one[name] for name in names if name in one} for one in members]
        assert [number for number, one in enumerate(asked) if test(one)] == expected, query
        num_selected += len(expected)
    assert 0.1 < num_selected / (NUM_QUERIES * NUM_DOCUMENTS) < 0.9


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"a": {"$regex": "x"}}, r"\$regex is not evaluated"),
        ({"a": {"$elemMatch": {"b": 1}}}, r"\$elemMatch is not evaluated"),
        ({"$expr": {"$eq": ["$a", "$b"]}}, r"\$expr is not evaluated"),
        ({"$where": "true"}, r"\$where is not evaluated"),
        ({"a": Regex("x")}, "not compared"),
        ({"a": {"$in": [MinKey()]}}, "not compared"),
        ({"a": {"$in": 1}}, "takes a list"),
        ({"a": {"$gt": {"$b": 1}}}, "takes a value"),
        ({"a": {"$type": "word"}}, "takes number, double"),
        ({"a": {"$not": 1}}, "takes operators"),
        ({"a": {"$lt": 1, "b": 2}}, "b is not evaluated"),
        ({"$or": []}, "takes a list of queries"),
        ({"a..b": 1}, "empty segment"),
        ({"a": 1 << 70}, "value of BSON"),
    ],
    ids=lambda case: str(case)[:30],
)
def test_other_queries_are_refused_by_name(query: dict[str, Any], message: str) -> None:
    with pytest.raises(SourceError, match=message):
        make_test(query)


def test_hashes_are_those_of_the_server(database: Database[Any]) -> None:
    stages: list[dict[str, Any]] = [{"$documents": [{"n": 1}]}, {}]
    for value in HASHED:
        stages[1] = {"$set": {"hash": {"$toHashedIndexKey": {"$literal": value}}}}
        (found,) = database.client["admin"].aggregate(stages)
        assert index_hash(raw_id(value)) == found["hash"], value


def messy(number: int) -> dict[str, Any]:
    """Documents with dates, kinds and identifiers of all sorts, some in arrays or below them."""
    when: Any = DAY + datetime.timedelta(hours=number)
    kinds: list[Any] = [
        "a",
        "b",
        7,
        Int64(7),
        "7",
        7.0,
        3.5,
        None,
        ["a"],
        {"a": 1},
        True,
        "",
        Decimal128("7"),
    ]
    identifiers: list[Any] = [number, f"{number}", number + 0.5, ObjectId.from_datetime(when), {"n": number}]
    inner = [{"at": when}, {"at": [when]}, [{"at": when}], {}, when, {"at": f"{when}"}, {"at": None}]
    document = {
        "_id": identifiers[number % 5],
        "value": number,
        "inner": inner[0 if number % 3 else number % 7],
    }
    return document | ({} if number % 17 == 0 else {"kind": kinds[number % 13]})


DAYS = [f"2024-03-{day}" for day in (30, 31)] + [f"2024-04-0{day}" for day in range(1, 8)]
PARTITIONS: list[tuple[dict[str, Any], list[str]]] = [
    ({"by": "hash", "buckets": 3}, ["0", "1", "2"]),
    (
        {"by": "time", "field": "inner.at", "every": "day", "start": DAY.date(), "timezone": "Europe/Berlin"},
        DAYS,
    ),
    ({"by": "time", "field": "_id", "every": "day", "start": datetime.date(2024, 4, 1)}, DAYS[2:]),
    ({"by": "static", "field": "kind", "values": ["a", 7]}, ["a", "7"]),
    ({"by": "dynamic", "field": "kind"}, ["7", "a", "b"]),
]


@pytest.mark.parametrize(("partitions", "keys"), PARTITIONS, ids=lambda case: str(case)[:40])
@pytest.mark.parametrize(
    "declared", [{}, {"value": {"$gte": 20}, "kind": {"$ne": "b"}}], ids=["all", "filter"]
)
def test_partitions_are_those_of_the_server(
    database: Database[Any],
    store: ShardStore,
    tmp_path: Path,
    partitions: dict[str, Any],
    keys: list[str],
    declared: dict[str, Any],
) -> None:
    documents = [messy(number) for number in range(200)]
    database["things"].insert_many(documents)
    served = make_spec(database.name, partitions=partitions, filter=declared)
    mixed = documents[:]
    random.Random(3).shuffle(mixed)
    path = tmp_path / "things.bson"
    path.write_bytes(b"".join(map(bson.encode, mixed)))
    dumped = dump_spec(path, partitions=partitions, filter=declared)
    if partitions["by"] == "dynamic":
        assert partition_values(dumped, None) == partition_values(served, database.client)
    other = ShardStore(tmp_path / "server")
    num_documents = 0
    for key in keys:
        expected = build_documents(served, key, FIELDS, client=database.client, store=other)
        report = build_documents(dumped, key, FIELDS, client=None, store=store)
        assert report.content_hash == expected.content_hash, key
        num_documents += report.metadata["documents"]
    unplaced = build_unplaced(dumped, client=None, store=store)
    if unplaced is not None:
        listed = build_unplaced(served, client=database.client, store=other)
        assert listed is not None
        assert unplaced.content_hash == listed.content_hash
        num_documents += sum(unplaced.rejects.values())
    counts, outside = partition_counts(served, keys, database.client)
    assert num_documents == sum(counts.values()) + outside
    assert num_documents > 100


def dump_spec(path: Path, **given: Any) -> DatasetSpec:
    """A dataset over one file."""
    partitions = given.pop("partitions", {"by": "none"})
    return DatasetSpec.model_validate(
        {
            "name": "things",
            "source": {"dump": str(path), **given},
            "partitions": partitions,
            "columns": {"value": {"kind": "number", "path": "value"}},
            "checks": {"max_reject_share": 1},
        }
    )


@pytest.mark.parametrize(
    ("partitions", "where"),
    [
        ({"by": "none"}, ["all"]),
        ({"by": "hash", "buckets": 2}, ["0"]),
        ({"by": "static", "field": "kind", "values": ["a"]}, []),
    ],
    ids=["none", "hash", "static"],
)
def test_a_document_that_cannot_be_decided_is_a_reject_of_one_place(
    store: ShardStore, tmp_path: Path, partitions: dict[str, Any], where: list[str]
) -> None:
    whole = [bson.encode({"_id": number, "value": number, "kind": "a"}) for number in range(50)]
    broken = bytearray(whole[20])
    broken[broken.index(b"kind") - 1] = 0x30  # a type that does not exist
    path = tmp_path / "things.bson"
    path.write_bytes(b"".join([*whole[:20], broken, *whole[21:]]))
    spec = dump_spec(path, partitions=partitions, filter={"kind": "a"})
    keys = {"none": ["all"], "hash": ["0", "1"], "static": ["a"]}[partitions["by"]]
    reports = {key: build_documents(spec, key, FIELDS, client=None, store=store) for key in keys}
    assert [key for key, report in reports.items() if report.rejects] == where
    assert sum(report.rows for report in reports.values()) == 49
    unplaced = build_unplaced(spec, client=None, store=store)
    assert (unplaced is not None and unplaced.rejects == {"corrupt BSON": 1}) == (not where)
