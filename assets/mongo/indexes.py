"""Whether the server can find a partition by an index, and what to do when it cannot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pymongo.database import Database
from pymongo.errors import OperationFailure

from assets.mongo.replies import RAW, elements, read_cursor
from assets.spec import DatasetSpec
from assets.spec.partitions import DynamicPartitions, HashPartitions, NoPartitions, StaticPartitions

SAMPLE = 64
WORTH = 0.8
"""Fields that make up more of the documents than this are not projected: it would buy too little."""


def partition_field(spec: DatasetSpec) -> str | None:
    """Field that an index should lead with, None where `_id` serves."""
    partitions = spec.partitions
    if isinstance(partitions, NoPartitions | HashPartitions) or partitions.field == "_id":
        return None
    return partitions.field


def find_hint(spec: DatasetSpec, database: Database[Any], collection: str) -> str | None:
    """Name of an index that leads with the partition field and holds every document; None for none."""
    field = partition_field(spec)
    if field is None:
        return None
    try:
        indexes = list(database[collection].list_indexes())
    except OperationFailure:
        return None  # views and time-series collections have none of their own
    for index in indexes:
        leads = next(iter(index["key"].items()))
        special = {"partialFilterExpression", "sparse", "collation", "hidden"} & set(index)
        if leads[0] == field and leads[1] in (1, -1) and not special:
            return str(index["name"])
    return None


def index_warning(spec: DatasetSpec, database: Database[Any], command: Mapping[str, Any]) -> str | None:
    """Say how to make the index that a partition's read lacks, None when the server uses one.

    Asks the server how it would run the command.
    """
    field = partition_field(spec)
    if field is None or "find" not in command:
        return None
    asked = {key: value for key, value in command.items() if key not in ("readConcern", "comment")}
    try:
        plan = database.command("explain", asked, verbosity="queryPlanner")
    except OperationFailure:
        return None
    used = [stage.get("keyPattern", {}) for stage in _stages(plan) if stage.get("stage") == "IXSCAN"]
    if any(next(iter(keys), None) == field for keys in used):
        return None
    several = isinstance(spec.partitions, StaticPartitions | DynamicPartitions)
    return (
        f"no index of {database.name}.{command['find']} leads with {field!r}: every "
        f"{'value' if several else 'window'} reads the whole collection; make one with "
        f'db.getCollection("{command["find"]}").createIndex({{ "{field}": 1 }})'
    )


def _stages(plan: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(plan, Mapping):
        if "stage" in plan:
            yield plan
        for value in plan.values():
            yield from _stages(value)
    elif isinstance(plan, list):
        for value in plan:
            yield from _stages(value)


def projected(
    database: Database[Any], collection: str, condition: Mapping[str, Any], names: tuple[str, ...]
) -> tuple[str, ...] | None:
    """The names to project, None where they make up nearly everything: found out on a few documents.

    Only members at the top are ever projected: below them, a projection hides values of the wrong type.
    """
    reply = database.command(
        {
            "find": collection,
            "filter": dict(condition),
            "limit": SAMPLE,
            "batchSize": SAMPLE,
            "comment": "shardmill, plan",
        },
        codec_options=RAW,
    )
    _, batch = read_cursor(memoryview(reply.raw))
    wanted = total = 0
    names_wanted = {name.encode() for name in names} | {b"_id"}
    place = batch.start
    while place < batch.stop:
        while batch.data[place]:
            place += 1
        place += 1
        for _, name, start, end in elements(batch.data, place):
            size = end - start + len(name) + 2
            total += size
            wanted += size if name in names_wanted else 0
        place += int.from_bytes(batch.data[place : place + 4], "little")
    return None if wanted > WORTH * total else names
