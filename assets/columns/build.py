"""The `records` asset: one partition's documents made into columns, batch by batch."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from assets.columns.encoders import encoders_of
from assets.columns.errors import NotMaterialized
from assets.columns.fields import fields_of_records
from assets.columns.kinds.base import BoolArray
from assets.columns.rejects import REJECTS, Rejects
from assets.columns.rows import ROWS, rows_of, rows_schema
from assets.columns.splits import split_names, train_code
from assets.columns.tally import Tally, encoded_ahead, pool_of_threads
from assets.progress import Progress, silent
from assets.provenance import provenance_of
from assets.quality.guard import Draft, admit
from assets.report import Report
from assets.spec import DatasetSpec
from shards import ShardStore, Version

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
    noted = _Noted(spec)
    with store.begin(spec.name, RECORDS, partition, shard_bytes=spec.storage.shard_mb << 20) as attempt:
        writers = {column.name: attempt.column(column) for one in encoders for column in one.columns}
        rows_writer = attempt.table(ROWS, rows_schema(spec))
        rejects_writer = attempt.table("rejects", REJECTS)
        pending_fields = [field for one in encoders for field in one.pending]
        pending_writer = attempt.table(PENDING, pa.schema(pending_fields)) if pending_fields else None
        done, total = 0, documents.num_rows
        with pool_of_threads() as pool:
            tally = Tally(encoders, pool)
            for batch, encoded in encoded_ahead(encoders, batches_of(documents), pool):
                rows = rows_of(spec, batch, encoders, encoded)
                faults = [fault for one in encoded for fault in one.faults]
                valid, rejected = noted.rejects.batch(batch.column(0), faults)
                tally.note(encoded, *noted.splits_of(rows.column(0).to_numpy(), valid))
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
                done += batch.num_rows
                progress(done, total, "rows")
            statistics = tally.statistics()
        for encoder in encoders:
            for name, table in encoder.tables().items():
                writer = attempt.table(name, table.schema)
                writer.append(table.cast(writer.schema))
        metadata, reasons = noted.metadata(statistics), dict(noted.rejects.by_reason)
        draft = Draft(partition, total, sum(reasons.values()), reasons, statistics=statistics)
        findings = admit(spec, RECORDS, draft)
        commit = attempt.commit(
            provenance=provenance_of(spec, RECORDS, documents, run_id),
            inputs={DOCUMENTS: documents.number},
            statistics=statistics,
            metadata=metadata,
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
        metadata=metadata,
        findings=findings,
    )


class _Noted:
    """What is counted while the batches of one partition pass."""

    def __init__(self, spec: DatasetSpec) -> None:
        self.names, self.train = split_names(spec), train_code(spec)
        self.rejects = Rejects()
        self.splits: Counter[int] = Counter()

    def splits_of(self, codes: npt.NDArray[np.int8], valid: BoolArray) -> tuple[BoolArray, BoolArray]:
        """Count a batch's valid rows by split; tell which are train rows, and which the other valid ones."""
        found = np.bincount(codes[valid].astype(np.int64) + 1)
        self.splits.update({code - 1: int(count) for code, count in enumerate(found.tolist()) if count})
        train = valid & (codes == self.train)
        return train, valid & ~train

    def metadata(self, statistics: Mapping[str, Any]) -> dict[str, Any]:
        """Give the rows of each split, rejects by reason, and missing values by column."""
        missing = {
            name: found["train"]["missing"] + found["rest"]["missing"] for name, found in statistics.items()
        }
        return {
            "splits": {name: self.splits[code] for code, name in enumerate(self.names)},
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
