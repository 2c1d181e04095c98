"""Aggregation pipelines as the source: joins and unwound rows keep their identity."""

from __future__ import annotations

from typing import Any

from pymongo import MongoClient

from assets.columns.build import build_records
from assets.columns.snapshot import build_snapshot
from assets.mongo.build import build_documents
from assets.plan import fields_of
from assets.spec import DatasetSpec
from shards import ShardStore, Snapshot


def spec_of(database: str) -> DatasetSpec:
    return DatasetSpec.model_validate(
        {
            "name": "lines",
            "source": {
                "database": database,
                "collection": "orders",
                "pipeline": [
                    {"$lookup": {"from": "people", "localField": "by", "foreignField": "_id", "as": "who"}},
                    {"$unwind": {"path": "$lines", "includeArrayIndex": "line"}},
                    {"$project": {"line": 1, "price": "$lines.price", "name": {"$first": "$who.name"}}},
                ],
                "unwound_by": "line",
            },
            "columns": {
                "price": {"kind": "number", "path": "price"},
                "line": {"kind": "number", "path": "line", "dtype": "int64"},
                "order": {"kind": "id", "path": "_id", "type": "int64"},
                "name": {"kind": "category", "path": "name"},
            },
        }
    )


def build(spec: DatasetSpec, client: MongoClient[Any], store: ShardStore) -> Snapshot:
    build_documents(spec, "all", fields_of(spec), client=client, store=store)
    build_records(spec, "all", store=store)
    build_snapshot(spec, ["all"], store=store)
    return store.snapshot("lines")


def rows_of(snapshot: Snapshot) -> dict[tuple[int, int], tuple[str, float]]:
    order, line = snapshot.column("order").read(), snapshot.column("line").read()
    price = snapshot.column("price").read()
    return {
        (int(order[row]), int(line[row])): (split, float(price[row]))
        for split in snapshot.splits
        for row in snapshot.index(split)
    }


def test_unwound_rows_keep_identity_and_split(
    database: Any, mongo_client: MongoClient[Any], store: ShardStore
) -> None:
    database.people.insert_many([{"_id": number, "name": f"person {number}"} for number in range(3)])

    def order(number: int) -> dict[str, Any]:
        lines = [{"price": float(number * 10 + line)} for line in range(number % 4)]
        return {"_id": number, "by": number % 3, "lines": lines}

    database.orders.insert_many([order(number) for number in range(1, 200)])
    spec = spec_of(database.name)
    first = build(spec, mongo_client, store)
    before = rows_of(first)
    assert len(before) == first.num_rows == sum(number % 4 for number in range(1, 200))
    assert before[(7, 2)][1] == 72.0
    assert sorted(first.vocabulary("name").to_pylist()[1:]) == ["person 0", "person 1", "person 2"]
    again = build(spec, mongo_client, store)
    assert again.number == first.number

    database.orders.insert_many([order(number) for number in range(200, 260)])
    database.orders.delete_one({"_id": 5})
    after = rows_of(build(spec, mongo_client, store))
    kept = {key: row for key, row in before.items() if key[0] != 5}
    assert {key: after[key] for key in kept} == kept
    splits_of_orders: dict[int, set[str]] = {}
    for (number, _), (split, _) in after.items():
        splits_of_orders.setdefault(number, set()).add(split)
    assert all(len(splits) == 1 for splits in splits_of_orders.values())
