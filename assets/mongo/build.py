"""Build the `documents` asset of one partition: rows, rejects, and what is known about how they were read."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from bson import json_util
from bson.timestamp import Timestamp
from pymongo import MongoClient

from assets.mongo.columns import Columns
from assets.mongo.connect import PREFERENCES
from assets.mongo.errors import ReadFailed, SourceError
from assets.mongo.extract import Extraction, Pace, Query
from assets.mongo.fields import Field
from assets.mongo.ranges import partition_filter
from assets.mongo.rejects import rejects_batch
from assets.mongo.schema import ID, REJECTS, documents_schema
from assets.mongo.server import count, guarantee
from assets.progress import Progress, silent
from assets.report import Report
from assets.spec import DatasetSpec
from shards import Provenance, ShardStore

ASSET = "documents"


def build_documents(
    spec: DatasetSpec,
    partition: str,
    fields: Sequence[Field],
    *,
    client: MongoClient[Any] | None,
    store: ShardStore,
    run_id: str = "",
    cluster_time: Timestamp | None = None,
    progress: Progress = silent,
) -> Report:
    """Read one partition and publish it as a version of the asset `documents`.

    Parameters
    ----------
    spec
        The dataset.
    partition
        Partition key; `all` where there are no partitions.
    fields
        What to take from every document.
    client
        Connected client; None when the source is a dump.
    store
        Receives the version: the table `documents` (`_id`, then a column a field, in `_id` order) and the table
        `rejects` (documents that do not fit, with path and reason).
    run_id
        Kept as provenance.
    cluster_time
        Read as of this time, so that partitions of one refresh agree; the present by default.
    progress
        Told the number of documents read.

    Raises
    ------
    SourceError
        The source as declared cannot be read; trying again does not help.
    ReadFailed
        Reading failed; nothing was published and another try may succeed.
    """
    began = time.monotonic()
    source = spec.source
    if client is None or source.database is None:
        raise SourceError(f"{spec.name}: a server is read through a client, got none")
    database = client.get_database(source.database)
    pace = Pace(
        batch_bytes=min(4 << 20, source.memory_budget_mb << 20 >> 6),
        max_documents_per_second=source.max_documents_per_second,
        read_preference=PREFERENCES[source.read_preference](),
        comment=f"shardmill {spec.name}/{partition}",
    )
    condition = partition_filter(spec, partition)
    names = source.collections or [source.collection or ""]
    at = guarantee(client, database, names[0], cluster_time)
    reasons: Counter[str] = Counter()
    num_resumed = 0
    counted = 0
    with store.begin(spec.name, ASSET, partition, shard_bytes=spec.storage.shard_mb << 20) as attempt:
        documents = attempt.table("documents", documents_schema(fields))
        rejects = attempt.table("rejects", REJECTS)
        columns = Columns([ID, *fields], documents.append, flush_bytes=source.memory_budget_mb << 20 >> 4)
        for name in names:
            query = Query(
                source.database,
                name,
                condition,
                source.pipeline,
                tuple(dict.fromkeys(field.path.split(".")[0] for field in fields)),
                order=("_id",) if source.unwound_by is None else ("_id", source.unwound_by),
                allow_disk_use=source.allow_disk_use,
            )
            extraction = Extraction(client, query, at, columns, pace, progress)
            num_documents = extraction.run()
            columns.flush()
            taken = columns.take_rejects()
            reasons.update(reject.reason for reject in taken)
            if taken:
                rejects.append(rejects_batch(taken))
            num_resumed += extraction.num_resumed
            if source.pipeline is None:
                expected = count(
                    database,
                    name,
                    condition,
                    at,
                    session=None,
                    comment=pace.comment,
                    read_preference=pace.read_preference,
                )
                if at.cluster_time is not None and expected != num_documents:
                    raise ReadFailed(
                        f"{source.database}.{name}: {num_documents} documents were read, the server counts "
                        f"{expected} at the same cluster time; nothing was published"
                    )
                counted += expected
        metadata: dict[str, Any] = {
            "guarantee": at.name,
            "resumed": num_resumed,
            "server_count": counted,
            "rejects": dict(sorted(reasons.items())),
        }
        provenance = Provenance(
            source_alias=source.alias,
            collection=".".join([source.database, ",".join(names)]),
            query_fingerprint=fingerprint(spec, partition, fields),
            cluster_time=None if at.cluster_time is None else f"{at.cluster_time.time}.{at.cluster_time.inc}",
            run_id=run_id or None,
        )
        commit = attempt.commit(provenance=provenance, metadata=metadata)
    version = commit.version
    return Report(
        dataset=spec.name,
        asset=ASSET,
        partition=partition,
        version=version.number,
        created=commit.created,
        content_hash=version.content_hash,
        rows=version.num_rows,
        rejects=dict(reasons),
        size_bytes=version.size_bytes,
        seconds=time.monotonic() - began,
        metadata=metadata,
    )


def fingerprint(spec: DatasetSpec, partition: str, fields: Sequence[Field]) -> str:
    """Hash of what is asked for: two versions with the same one differ only by what the collection held."""
    asked = [
        spec.source.database,
        spec.source.collection,
        spec.source.collections,
        spec.source.dump,
        json_util.dumps(partition_filter(spec, partition), sort_keys=True),
        json_util.dumps(spec.source.pipeline, sort_keys=True),
        spec.source.unwound_by,
        [repr(field) for field in fields],
    ]
    return hashlib.sha256(repr(asked).encode()).hexdigest()[:32]


