"""Documents that belong to no partition: their partition field is missing, of another type, or out of range.

No partition would ever read them, so they are looked for as a whole and listed as rejects of their own.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any

from pymongo import MongoClient

from assets.mongo.connect import PREFERENCES
from assets.mongo.dump_parts import unplaced_of
from assets.mongo.ranges import Placement, placement
from assets.mongo.rejects import LENIENT, Reject, extended_json, rejects_batch
from assets.mongo.schema import REJECTS
from assets.report import Report
from assets.spec import DatasetSpec
from assets.versions import code_version
from shards import Provenance, ShardStore

ASSET = "unplaced"
BATCH = 10_000


def build_unplaced(
    spec: DatasetSpec, *, client: MongoClient[Any] | None, store: ShardStore, run_id: str = ""
) -> Report | None:
    """List the documents of no partition as a version of the asset `unplaced`, in its table `rejects`.

    Parameters
    ----------
    spec
        The dataset.
    client
        Connected client; None when the source is a dump.
    store
        Receives the version.
    run_id
        Kept as provenance.

    Returns
    -------
    Report or None
        None where nothing is looked for: every document has a partition, or a pipeline makes them.
    """
    began = time.monotonic()
    source, wanted = spec.source, placement(spec)
    if wanted is None or source.pipeline is not None:
        return None
    found = _asked(spec, wanted, client) if source.dump is None else iter(unplaced_of(spec, wanted))
    reasons: Counter[str] = Counter()
    with store.begin(spec.name, ASSET) as attempt:
        table = attempt.table("rejects", REJECTS)
        while batch := list(islice(found, BATCH)):
            reasons.update(reject.reason for reject in batch)
            table.append(rejects_batch(batch))
        metadata = {"rejects": dict(sorted(reasons.items()))}
        provenance = Provenance(
            source_alias=source.alias, code_version=code_version(spec, "documents"), run_id=run_id or None
        )
        commit = attempt.commit(provenance=provenance, metadata=metadata)
    version = commit.version
    return Report(
        dataset=spec.name,
        asset=ASSET,
        partition=version.partition,
        version=version.number,
        created=commit.created,
        content_hash=version.content_hash,
        rows=0,
        rejects=dict(reasons),
        size_bytes=version.size_bytes,
        seconds=time.monotonic() - began,
        metadata=metadata,
    )


def _asked(spec: DatasetSpec, wanted: Placement, client: MongoClient[Any] | None) -> Iterator[Reject]:
    """The documents of a server, collection after collection, in `_id` order."""
    source = spec.source
    assert client is not None
    assert source.database is not None
    condition = wanted.outside(source.filter)
    shown = {"_id": True, "type": {"$type": f"${wanted.field}"}, "value": f"${wanted.field}"}
    for name in source.collections or [source.collection or ""]:
        collection = client[source.database].get_collection(
            name, LENIENT, read_preference=PREFERENCES[source.read_preference]()
        )
        comment = f"shardmill {spec.name}/{ASSET}"
        with collection.find(condition, shown, comment=comment).sort("_id") as documents:
            for document in documents:
                identifier = extended_json(document["_id"])
                yield wanted.reject(identifier, document["type"], document.get("value"))
