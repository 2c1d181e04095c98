"""The `records` asset: one partition's documents made into columns, batch by batch."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from assets.columns.encoders import encoders_of
from assets.columns.errors import NotMaterialized
from assets.columns.fields import fields_of_records
from assets.columns.kinds.base import BoolArray, Encoded, Encoder
from assets.columns.kinds.category import OpenEncoder
from assets.columns.rejects import REJECTS, Rejects
from assets.columns.rows import ROWS, rows_of, rows_schema
from assets.columns.splits import split_names, train_code
from assets.columns.stats.summary import Summary
from assets.progress import Progress, silent
from assets.quality.guard import Draft, admit
from assets.report import Report
from assets.spec import DatasetSpec
from shards import Provenance, ShardStore, Version

__all__ = ["build_records", "fields_of_records"]

BATCH_ROWS = 65_536
DOCUMENTS, RECORDS, PENDING = "documents", "records", "pending"


def build_records(
    spec: DatasetSpec, partition: str, *, store: ShardStore, run_id: str = "", progress: Progress = silent
) -> Report:
    """Make the record columns of one partition from its latest documents.

    Memory is bounded by a few batches of 65,536 rows and the distinct values of open categories.

    Parameters
    ----------
    spec
        The dataset.
    partition
        Partition key.
    store
        Where documents are read from and records are published.
    run_id
        Name of the run, for provenance.
    progress
        Told the rows done.

    Returns
    -------
    Report
        Rows, rejects by reason, and in its metadata the rows of each split and missing values by column.

    Raises
    ------
    NotMaterialized
        There are no documents of this partition.
    assets.quality.guard.Unfit
        Too many rows cannot be used, or values are outside their limits; nothing is published.
    """
    began = time.perf_counter()
    documents = latest_documents(spec, partition, store)
    encoders = encoders_of(spec)
    work = _Work(spec, encoders)
    with store.begin(spec.name, RECORDS, partition, shard_bytes=spec.storage.shard_mb << 20) as attempt:
        writers = {column.name: attempt.column(column) for one in encoders for column in one.columns}
        rows_writer = attempt.table(ROWS, rows_schema(spec))
        rejects_writer = attempt.table("rejects", REJECTS)
        pending_fields = [field for one in encoders for field in one.pending]
        pending_writer = attempt.table(PENDING, pa.schema(pending_fields)) if pending_fields else None
        done, total = 0, documents.num_rows
        with ThreadPoolExecutor(max(1, min(4, os.cpu_count() or 1))) as pool:
            for encoded, rows, valid, rejected in work.take(batches_of(documents), pool):
                for one in encoded:
                    for name, values in one.stored.items():
                        writers[name].append(values)
                if pending_writer is not None:
                    waiting = {name: values for one in encoded for name, values in one.pending.items()}
                    arrays = [waiting[field.name] for field in pending_writer.schema]
                    pending_writer.append(pa.record_batch(arrays, schema=pending_writer.schema))
                rows_writer.append(rows)
                if rejected is not None:
                    rejects_writer.append(pa.record_batch(rejected.columns, schema=rejects_writer.schema))
                attempt.validity(valid)
                done += rows.num_rows
                progress(done, total, "rows")
        for encoder in encoders:
            for name, table in encoder.tables().items():
                writer = attempt.table(name, table.schema)
                writer.append(table.cast(writer.schema))
        statistics, reasons = work.statistics(), dict(work.rejects.by_reason)
        draft = Draft(partition, total, sum(reasons.values()), reasons, statistics=statistics)
        findings = admit(spec, RECORDS, draft)
        commit = attempt.commit(
            provenance=provenance_of(documents, run_id),
            inputs={DOCUMENTS: documents.number},
            statistics=statistics,
            metadata=work.metadata(),
        )
    return Report(
        dataset=spec.name,
        asset=RECORDS,
        partition=partition,
        version=commit.version.number,
        created=commit.created,
        content_hash=commit.version.content_hash,
        rows=commit.version.num_rows,
        rejects=reasons,
        size_bytes=commit.version.size_bytes,
        seconds=time.perf_counter() - began,
        metadata=work.metadata(),
        findings=findings,
    )


class _Work:
    """What one partition's batches leave behind."""

    def __init__(self, spec: DatasetSpec, encoders: Sequence[Encoder]) -> None:
        self.spec = spec
        self.encoders = encoders
        self.rejects = Rejects()
        self.summaries = {one.name: (Summary(), Summary()) for one in encoders}
        self.splits: Counter[int] = Counter()
        self.train = train_code(spec)
        self.noted: dict[str, Future[tuple[Summary, Summary]]] = {}

    def take(
        self, batches: Iterator[pa.RecordBatch], pool: ThreadPoolExecutor
    ) -> Iterator[tuple[list[Encoded], pa.RecordBatch, Any, pa.RecordBatch | None]]:
        """Encode batches and take note of them: columns, rows, which are valid, and the rejected ones.

        While the caller writes a batch, the pool encodes the next one and summarises this one.
        """
        batch = next(batches, None)
        encoding = self._encode(batch, pool)
        while batch is not None:
            encoded = [one.result() for one in encoding]
            rows = pool.submit(rows_of, self.spec, batch, self.encoders, encoded)
            ids, batch = batch.column(0), next(batches, None)
            encoding = self._encode(batch, pool)
            faults = [fault for one in encoded for fault in one.faults]
            valid, rejected = self.rejects.batch(ids, faults)
            self._note(encoded, rows.result().column(0).to_numpy(), valid, pool)
            yield encoded, rows.result(), valid, rejected
        self._merge_noted()

    def _encode(self, batch: pa.RecordBatch | None, pool: ThreadPoolExecutor) -> list[Future[Encoded]]:
        return [] if batch is None else [pool.submit(one.encode, batch) for one in self.encoders]

    def _note(self, encoded: list[Encoded], codes: Any, valid: BoolArray, pool: ThreadPoolExecutor) -> None:
        """Begin to summarise a batch, once the one before is done."""
        train = valid & (codes == self.train)
        rest = valid & ~train
        found = np.bincount(codes[valid].astype(np.int64) + 1)
        self.splits.update({code - 1: int(count) for code, count in enumerate(found.tolist()) if count})

        def note(encoder: Encoder, one: Encoded) -> tuple[Summary, Summary]:
            encoder.observe(one, train, rest)
            return encoder.summarise(one, train), encoder.summarise(one, rest)

        self._merge_noted()
        pairs = zip(self.encoders, encoded, strict=True)
        self.noted = {encoder.name: pool.submit(note, encoder, one) for encoder, one in pairs}

    def _merge_noted(self) -> None:
        for name, noted in self.noted.items():
            before, (train, rest) = self.summaries[name], noted.result()
            self.summaries[name] = (before[0].merge(train), before[1].merge(rest))
        self.noted = {}

    def statistics(self) -> dict[str, Any]:
        """Give the summaries of every column: of its train rows and of the rest."""
        written = {}
        for encoder in self.encoders:
            train, rest = self.summaries[encoder.name]
            if isinstance(encoder, OpenEncoder):
                train.counts, rest.counts = encoder.counts(train=True), encoder.counts(train=False)
            written[encoder.name] = {
                "kind": encoder.spec.kind,
                "train": train.to_json(),
                "rest": rest.to_json(),
            }
        return written

    def metadata(self) -> dict[str, Any]:
        """Give the rows of each split, rejects by reason, and missing values by column."""
        names = split_names(self.spec)
        missing = {name: pair[0].missing + pair[1].missing for name, pair in self.summaries.items()}
        return {
            "splits": {name: self.splits[code] for code, name in enumerate(names)},
            "no_split": self.splits[-1],
            "rejects": dict(self.rejects.by_reason),
            "missing": {name: count for name, count in missing.items() if count},
        }


def latest_documents(spec: DatasetSpec, partition: str, store: ShardStore) -> Version:
    """Give the newest documents of a partition; NotMaterialized when there are none."""
    documents = store.latest(spec.name, DOCUMENTS, partition)
    if documents is None:
        raise NotMaterialized(
            f"{spec.name}: partition {partition!r} has no documents; materialize {spec.name}/documents first"
        )
    return documents


def batches_of(documents: Version) -> Iterator[pa.RecordBatch]:
    """Give the documents in batches of at most 65,536 rows."""
    for batch in documents.table(DOCUMENTS).batches():
        for start in range(0, batch.num_rows, BATCH_ROWS):
            yield batch.slice(start, BATCH_ROWS)


def provenance_of(documents: Version, run_id: str) -> Provenance:
    """Give the provenance of the documents, with this run."""
    return replace(documents.provenance, run_id=run_id or None)
