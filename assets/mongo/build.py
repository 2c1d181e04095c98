"""Build the `documents` asset of one partition: rows, rejects, and what is known about how they were read."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from bson import json_util
from bson.timestamp import Timestamp
from pymongo import MongoClient

from assets.mongo.dump_build import describe, read_ordered
from assets.mongo.errors import SourceError
from assets.mongo.fields import Field
from assets.mongo.outcome import Outcome
from assets.mongo.ranges import partition_filter
from assets.mongo.schema import documents_schema
from assets.mongo.server import Guarantee
from assets.mongo.server_build import ServerRead
from assets.mongo.sinks import AttemptSink, Sink
from assets.progress import Progress, silent
from assets.quality.guard import Draft, admit
from assets.report import Report
from assets.spec import DatasetSpec
from assets.versions import code_version
from shards import Attempt, DamagedFile, Provenance, ShardStore, Version

ASSET = "documents"
PIECES = 1
"""Raised by one when pieces that an earlier release has put down cannot be used."""


def build_documents(
    spec: DatasetSpec,
    partition: str,
    fields: Sequence[Field],
    *,
    client: MongoClient[Any] | None,
    store: ShardStore,
    run_id: str = "",
    cluster_time: Timestamp | None = None,
    re_read: bool = False,
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
        Receives the version: the table `documents` (`_id`, then a column a field, in `_id` order) and the
        table `rejects` (documents that do not fit, with path and reason).
    run_id
        Kept as provenance.
    cluster_time
        Read as of this time, so that partitions of one refresh agree; the present by default.
    re_read
        Read every document, also where nothing seems to have changed since the version before.
    progress
        Told the number of documents read.

    Raises
    ------
    SourceError
        The source as declared cannot be read; trying again does not help.
    ReadFailed
        Reading failed; nothing was published and another try may succeed.
    assets.quality.guard.Unfit
        Too many documents are rejected; nothing was published.
    """
    began = time.monotonic()
    source = spec.source
    schema = documents_schema(fields)
    asked = fingerprint(spec, partition, fields)
    pieces = store.pieces(spec.name, ASSET, partition, f"{PIECES} {asked}")
    with ExitStack() as stack:
        attempts: list[Attempt] = []

        def open_sink() -> AttemptSink:
            if attempts:
                attempts.pop().abandon()
            attempt = store.begin(spec.name, ASSET, partition, shard_bytes=spec.storage.shard_mb << 20)
            attempts.append(stack.enter_context(attempt))
            return AttemptSink(attempt, schema)

        previous = None
        sink: Sink | None
        if source.dump is not None:
            sink, num_documents = read_ordered(spec, partition, fields, open_sink, progress)
            outcome = Outcome(Guarantee(None, "dump"), num_documents)
            where = describe(spec)
        else:
            if client is None:
                raise SourceError(f"{spec.name}: a server is read through a client, got none")
            if re_read:
                pieces.remove()
            else:
                previous = _previous(spec, partition, store, asked)
            read = ServerRead(spec, partition, fields, client, pieces, progress, cluster_time)
            sink, outcome = read.run(open_sink, previous)
            names = source.collections or [source.collection or ""]
            where = f"{source.database}.{','.join(names)}"
        if sink is None:
            assert previous is not None
            reasons = Counter(previous.table("rejects").read().column("reason").to_pylist())
            return _report(spec, previous, outcome, reasons, began, created=False)
        assert isinstance(sink, AttemptSink)
        sink.finish()
        at = outcome.guarantee.cluster_time
        reasons = sink.reasons
        admit(spec, ASSET, _draft(partition, sink.num_rows, outcome, reasons))
        commit = attempts[-1].commit(
            provenance=Provenance(
                source_alias=source.alias,
                collection=where,
                query_fingerprint=asked,
                cluster_time=None if at is None else f"{at.time}.{at.inc}",
                code_version=code_version(spec, ASSET),
                run_id=run_id or None,
            ),
            metadata=_facts(outcome, reasons),
        )
    pieces.remove()
    return _report(spec, commit.version, outcome, reasons, began, created=commit.created)


def _facts(outcome: Outcome, reasons: Mapping[str, int]) -> dict[str, Any]:
    return {
        "guarantee": outcome.guarantee.name,
        "mode": outcome.mode,
        "documents": outcome.num_documents,
        "server_count": outcome.server_count,
        "changed": outcome.num_changed,
        "resumed": outcome.num_resumed,
        "ranges": outcome.num_ranges,
        "read": outcome.num_read,
        "kept": outcome.num_kept,
        "rejects": dict(sorted(reasons.items())),
        "warnings": outcome.warnings,
    }


def _draft(partition: str, num_rows: int, outcome: Outcome, reasons: Mapping[str, int]) -> Draft:
    return Draft(partition, num_rows, sum(reasons.values()), reasons, outcome.server_count)


def _report(
    spec: DatasetSpec,
    version: Version,
    outcome: Outcome,
    reasons: Mapping[str, int],
    began: float,
    *,
    created: bool,
) -> Report:
    return Report(
        dataset=spec.name,
        asset=ASSET,
        partition=version.partition,
        version=version.number,
        created=created,
        content_hash=version.content_hash,
        rows=version.num_rows,
        rejects=dict(reasons),
        size_bytes=version.size_bytes,
        seconds=time.monotonic() - began,
        metadata=_facts(outcome, reasons),
        findings=admit(spec, ASSET, _draft(version.partition, version.num_rows, outcome, reasons)),
    )


def _previous(spec: DatasetSpec, partition: str, store: ShardStore, asked: str) -> Version | None:
    """The latest version, where it is whole and of the same query."""
    try:
        version = store.latest(spec.name, ASSET, partition)
    except DamagedFile:
        return None
    if version is None or version.provenance.query_fingerprint != asked:
        return None
    return version


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
