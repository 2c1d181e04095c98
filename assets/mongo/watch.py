"""Which partitions the changes of a collection touch, by its change stream.

An event names a document; its partition is where it is now, where it was before (from the event where the
collection keeps pre-images, else from the versions in the store), or both when it moved.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pymongo import MongoClient
from pymongo.errors import OperationFailure

from assets.mongo.errors import SourceError
from assets.mongo.ids import raw_id
from assets.mongo.observe import group_expression, key_of, plain
from assets.mongo.ranges import window
from assets.mongo.rejects import extended_json
from assets.mongo.server import snapshot_time
from assets.spec import DatasetSpec
from assets.spec.partitions import NoPartitions, TimePartitions
from shards import ShardStore

HISTORY_LOST = {286, 280, 136, 260, 50811, 40576, 40585, 40649, 50795}
"""ChangeStreamHistoryLost and its kin: the token is too old, or no token of this stream."""

MAX_EVENTS = 50_000


@dataclass(frozen=True, slots=True)
class Touched:
    """What a look at the change stream found.

    Parameters
    ----------
    partitions
        Keys of partitions with changed documents, or that held them before.
    token
        Where the next look begins; keep it only after the partitions have been asked for.
    num_events
        Changes seen.
    lost
        True when the stream could not be continued: everything may have changed, observe instead.
    """

    partitions: frozenset[str]
    token: Mapping[str, Any] | None
    num_events: int
    lost: bool = False


@dataclass(slots=True)
class _Changes:
    """Documents that changed: those whose partition is known, and those to look up."""

    living: list[Any] = field(default_factory=list)
    before: list[Any] = field(default_factory=list)
    everything: bool = False


def can_watch(client: MongoClient[Any]) -> bool:
    """Whether the deployment has change streams (a replica set or a sharded cluster)."""
    hello = client.admin.command("hello")
    return "setName" in hello or hello.get("msg") == "isdbgrid"


def touched_partitions(
    spec: DatasetSpec,
    client: MongoClient[Any],
    store: ShardStore,
    token: Mapping[str, Any] | None,
    *,
    keys: list[str] | None = None,
    max_events: int = MAX_EVENTS,
    wait_seconds: float = 1.0,
) -> Touched:
    """Read the change stream from a token on, until it is drained.

    Parameters
    ----------
    store
        Tells where documents were before: the `_id` columns of the latest versions are searched.
    token
        Of the last look; None begins now and finds nothing.
    keys
        Partition keys that exist; needed to name time windows. Without them, every value is one.
    max_events
        Most events of one look; the rest is left to the next one.
    wait_seconds
        How long the server may wait for a first event.
    """
    source = spec.source
    if source.database is None:
        raise SourceError(f"{spec.name}: a dump has no change stream")
    names = source.collections or [source.collection or ""]
    options: dict[str, Any] = {"max_await_time_ms": int(wait_seconds * 1000), "full_document": "updateLookup"}
    options["full_document_before_change"] = "whenAvailable"
    if token is None:
        options["start_at_operation_time"] = snapshot_time(client)
    else:
        options["resume_after"] = dict(token)
    stages = [{"$match": {"ns.coll": {"$in": names}}}]
    changes = _Changes()
    num_events = 0
    try:
        with client[source.database].watch(
            stages, comment=f"shardmill {spec.name}, watch", **options
        ) as stream:
            while num_events < max_events:
                event = stream.try_next()
                if event is None:
                    break
                num_events += 1
                _note(spec, event, changes)
            following = stream.resume_token
    except OperationFailure as error:
        if error.code in HISTORY_LOST or error.has_error_label("NonResumableChangeStreamError"):
            return Touched(frozenset(), None, num_events, lost=True)
        raise
    if changes.everything:
        return Touched(frozenset(), following, num_events, lost=True)
    if isinstance(spec.partitions, NoPartitions):
        touched = {"all"} if num_events else set()
    else:
        touched = _now(spec, client, names, changes.living, keys or [])
        touched |= _stored(spec, store, changes.before)
    return Touched(frozenset(touched), following, num_events)


def _note(spec: DatasetSpec, event: Mapping[str, Any], changes: _Changes) -> None:
    kind = event["operationType"]
    if kind not in ("insert", "update", "replace", "delete"):
        # Dropped, renamed, invalidated: no list of documents says what that means.
        changes.everything = True
        return
    key = event["documentKey"]["_id"]
    if kind != "delete":
        changes.living.append(key)
    if kind != "insert":
        changes.before.append(key)


def _now(
    spec: DatasetSpec, client: MongoClient[Any], names: list[str], ids: list[Any], keys: list[str]
) -> set[str]:
    """Partitions in which documents are at present."""
    by_group: dict[Any, str] = {key: key for key in keys}
    if isinstance(spec.partitions, TimePartitions):
        by_group = {window(spec.partitions, key)[0]: key for key in keys}
    found = set()
    for start in range(0, len(ids), 10_000):
        for name in names:
            stages: list[dict[str, Any]] = [
                {"$match": {"_id": {"$in": ids[start : start + 10_000]}}},
                {"$group": {"_id": group_expression(spec)}},
            ]
            for row in client[str(spec.source.database)][name].aggregate(stages):
                group = plain(row["_id"])
                key = key_of(spec, group, by_group)
                if key is None and not keys and isinstance(group, str | int):
                    key = str(group)
                if key:
                    found.add(key)
    return found


def _stored(spec: DatasetSpec, store: ShardStore, ids: list[Any]) -> set[str]:
    """Partitions whose latest version holds one of the documents, as a row or as a reject."""
    if not ids:
        return set()
    wanted = pa.array({raw_id(value) for value in ids}, pa.large_binary())
    texts = pa.array({extended_json(value) for value in ids}, pa.large_string())
    found = set()
    for partition in store.partitions(spec.name, "documents"):
        version = store.latest(spec.name, "documents", partition)
        if version is None:
            continue
        held = any(
            pc.any(pc.is_in(batch.column("_id"), value_set=wanted)).as_py()
            for batch in version.table("documents").batches()
        )
        if not held:
            rejects = version.table("rejects").read().column("_id")
            held = bool(pc.any(pc.is_in(rejects, value_set=texts)).as_py())
        if held:
            found.add(partition)
    return found
