"""Which rows a snapshot keeps, and statistics over exactly these.

A partition's records and pictures were summarised before it was known which of their rows a snapshot drops:
those that repeat an earlier row, that another asset cannot use, or whose category is too rare. Where a
partition loses no row that was counted, its statistics stand; elsewhere they are made again, from the
documents that the records were made from, by the same encoders and over the kept rows alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from assets.columns.build import PENDING, batches_of
from assets.columns.duplicates import Duplicates, find_duplicates
from assets.columns.encoders import encoders_of
from assets.columns.keys import duplicate_keys
from assets.columns.kinds.base import BoolArray
from assets.columns.pins import Pinned
from assets.columns.splits import train_code
from assets.columns.tally import Tally, encoded_ahead, pool_of_threads
from assets.columns.vocabulary import codes_of_partition, counts_in_train, extend_vocabulary
from assets.spec import DatasetSpec
from assets.spec.columns import CategoryColumn
from shards import Version


@dataclass(frozen=True, slots=True)
class Kept:
    """Rows of the pinned partitions, one after another.

    Parameters
    ----------
    valid
        Rows that every asset can use.
    duplicates
        Those of them that repeat an earlier one.
    train
        Rows of the split that fits are made from, dropped ones as well.
    offsets
        First row of every partition and, last, the number of rows.
    """

    valid: BoolArray
    duplicates: Duplicates
    train: BoolArray
    offsets: tuple[int, ...]

    def of(self, partition: int) -> tuple[BoolArray, BoolArray]:
        """Give, of the rows of one partition, the train rows that are kept, and the other kept rows."""
        rows = slice(self.offsets[partition], self.offsets[partition + 1])
        kept = self.valid[rows].copy()
        first, end = np.searchsorted(self.duplicates.rows, (rows.start, rows.stop))
        kept[self.duplicates.rows[first:end] - rows.start] = False
        return kept & self.train[rows], kept & ~self.train[rows]


def keep(
    spec: DatasetSpec, pinned: Sequence[Pinned], tables: Sequence[pa.Table], previous: Version | None
) -> tuple[Kept, dict[str, pa.Array]]:
    """Find the rows that a snapshot keeps, and extend the vocabularies of open categories over them.

    A value gets its code from the train rows that assets can use and that repeat no other. Where a category
    rejects what has no code, such rows are dropped then, and rows that repeated only these are kept.

    Parameters
    ----------
    tables
        The table `rows` of every partition.
    previous
        The snapshot before, whose codes stay.
    """
    versions = [one.versions() for one in pinned]
    keys = duplicate_keys(spec, tables, versions)

    def without(valid: BoolArray) -> Kept:
        none = Duplicates(np.zeros(0, np.int64), np.zeros(0, np.int64))
        found = none if keys is None else find_duplicates(*keys, valid)
        return Kept(valid, found, train, offsets)

    offsets = (0, *np.cumsum([one.documents.num_rows for one in pinned]).tolist())
    train = np.concatenate([table["split"].to_numpy() for table in tables]) == train_code(spec)
    kept = without(np.concatenate([one.validity() for one in pinned]))
    vocabularies = {}
    usable = np.ones(len(kept.valid), np.bool_)
    for name, column in spec.record_columns.items():
        if not isinstance(column, CategoryColumn) or not column.is_open:
            continue
        records = {at: one.records for at, one in enumerate(pinned) if one.records is not None}
        counts = [
            counts_in_train(name, one, None if is_whole(one, *kept.of(at)) else kept.of(at)[0])
            for at, one in records.items()
        ]
        vocabularies[name] = extend_vocabulary(name, column, counts, previous)
        if column.rejects_unknown:
            for at, one in records.items():
                usable[offsets[at] : offsets[at + 1]] &= _coded(name, vocabularies[name], one)
    return kept if usable.all() else without(kept.valid & usable), vocabularies


def is_whole(version: Version, train: BoolArray, rest: BoolArray) -> bool:
    """Whether a snapshot keeps every row that the version can use, so that its statistics stand."""
    return bool(np.array_equal(version.validity(), train | rest))


def statistics_of(spec: DatasetSpec, one: Pinned, train: BoolArray, rest: BoolArray) -> Mapping[str, Any]:
    """Give the statistics of a partition's records over the rows that are kept.

    Memory is bounded as it is when records are built.
    """
    assert one.records is not None
    if is_whole(one.records, train, rest):
        return one.records.statistics
    encoders = encoders_of(spec)
    first = 0
    with pool_of_threads() as pool:
        tally = Tally(encoders, pool)
        for batch, encoded in encoded_ahead(encoders, batches_of(one.documents), pool):
            rows = slice(first, first + batch.num_rows)
            tally.note(encoded, train[rows], rest[rows])
            first += batch.num_rows
        return tally.statistics()


def _coded(name: str, vocabulary: pa.Array, records: Version) -> npt.NDArray[np.bool_]:
    """Tell which rows have a code in the vocabulary, or no value."""
    table = codes_of_partition(name, vocabulary, records) != 0
    table[-1] = True
    parts = [np.zeros(0, np.bool_)]
    for batch in records.table(PENDING).batches():
        local = batch.column(name).fill_null(len(table) - 1).to_numpy(zero_copy_only=False)
        parts.append(table[local])
    return np.concatenate(parts)
