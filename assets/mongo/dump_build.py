"""A partition out of a dump: chosen here, put in `_id` order where the file is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from assets.mongo.columns import Columns
from assets.mongo.dump import find_files, read_dump, scan_dump
from assets.mongo.dump_parts import choose
from assets.mongo.errors import SourceError
from assets.mongo.fields import Field
from assets.mongo.merge import reject_key
from assets.mongo.order import is_ordered, order_keys
from assets.mongo.schema import ID, documents_schema
from assets.mongo.sinks import Sink, Spool
from assets.progress import Progress
from assets.spec import DatasetSpec

SORTED_TOGETHER = 16_384


class OutOfOrder(Exception):
    """A dump is not in `_id` order."""


@dataclass(slots=True)
class _Ordered:
    """Passes rows on as long as they come in `_id` order."""

    sink: Sink
    last: bytes | None = None

    def rows(self, batch: pa.RecordBatch) -> None:
        ids = batch.column(0)
        if not is_ordered(ids, self.last):
            raise OutOfOrder
        self.last = ids[-1].as_py()
        self.sink.rows(batch)


def check_dump(spec: DatasetSpec) -> None:
    """Refuse what only a server can do.

    Raises
    ------
    SourceError
        The source has a pipeline.
    """
    if spec.source.pipeline:
        raise SourceError(
            f"{spec.name}: pipeline cannot be used with source.dump, which is read without a server; "
            "restore the dump into one, or dump what the pipeline makes"
        )


def read_ordered(
    spec: DatasetSpec,
    partition: str,
    fields: Sequence[Field],
    open_sink: Callable[[], Sink],
    progress: Progress,
) -> tuple[Sink, int]:
    """Read a partition of a dump into a sink in `_id` order; the sink and the number of documents.

    Parameters
    ----------
    open_sink
        Gives an empty sink; called again when the dump turns out not to be in order, what the first one has
        received is then void.
    """
    check_dump(spec)
    sink = open_sink()
    try:
        return sink, _read(spec, partition, fields, sink, _Ordered(sink).rows, progress)
    except OutOfOrder:
        sink = open_sink()
    with Spool(documents_schema(fields)) as spool:
        num_documents = _read(spec, partition, fields, spool, spool.rows, progress)
        for batch in _sorted(spool):
            sink.rows(batch)
        sink.rejects(sorted(spool.rejected, key=reject_key))
    return sink, num_documents


def _read(
    spec: DatasetSpec,
    partition: str,
    fields: Sequence[Field],
    sink: Sink,
    rows: Callable[[pa.RecordBatch], None],
    progress: Progress,
) -> int:
    columns = Columns([ID, *fields], rows, flush_bytes=spec.source.memory_budget_mb << 20 >> 4)
    chosen = choose(spec, partition, columns)
    num_documents = 0
    for file in find_files(str(spec.source.dump), spec.source.database):
        if chosen is None:
            num_documents += read_dump(file, columns, progress, num_documents)
        else:
            with columns.written_behind():
                num_documents += scan_dump(file, chosen.feed, progress, num_documents)
        columns.flush()
        sink.rejects(columns.take_rejects())
    return num_documents


def _sorted(spool: Spool) -> Iterator[pa.RecordBatch]:
    """Rows of a spool in `_id` order, a block at a time; of the rows only the keys are in memory at once."""
    table = spool.table()
    keys = [key for chunk in table.column("_id").chunks for key in order_keys(chunk)]
    order = sorted(range(len(keys)), key=keys.__getitem__)
    for start in range(0, len(order), SORTED_TOGETHER):
        part = table.take(pa.array(order[start : start + SORTED_TOGETHER], pa.int64()))
        yield from part.combine_chunks().to_batches()


def describe(spec: DatasetSpec) -> str:
    """Name of the dump for provenance: the last part of its path."""
    return Path(str(spec.source.dump)).name
