"""Encoders of `category` and `multilabel` columns: int32 codes, and rows of zeros and ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from assets.columns.hashing import hash_rows, hash_values, seed_of
from assets.columns.kinds.base import (
    AnyArray,
    BoolArray,
    Encoded,
    Encoder,
    array_of,
    count_missing,
    presence,
    select,
)
from assets.columns.rejects import Fault
from assets.columns.stats.counts import CAP, Counts
from assets.columns.stats.summary import NumberSummary, Summary
from assets.spec.columns import CategoryColumn, MultilabelColumn

UNKNOWN_DECLARED = -1
UNKNOWN_OPEN = 0
BUCKET_KEY = "category"
LISTED_BUCKETS = 256
"""Buckets are counted one by one up to so many."""
ARROW = {"string": pa.large_string(), "int64": pa.int64(), "bool": pa.bool_()}


def vocabulary_table(name: str) -> str:
    """Name of the table that holds a partition's distinct values of an open category."""
    return f"vocabulary_{name}"


class DeclaredEncoder(Encoder):
    """A category of declared values: the code is the position."""

    def __init__(self, name: str, spec: CategoryColumn) -> None:
        super().__init__(name, spec)
        self.values = list(spec.values or [])
        self.columns = (
            self.column(
                "<i4",
                values=self.values if len(self.values) <= CAP else None,
                num_codes=len(self.values),
                unknown_code=None if spec.rejects_unknown and spec.missing != "mask" else UNKNOWN_DECLARED,
            ),
            *self.mask_columns(),
        )
        self.default = None if spec.default is None else self.values.index(spec.default)

    def encode(self, batch: pa.RecordBatch) -> Encoded:
        """Look every value up among the declared ones."""
        array = array_of(batch, self.name)
        present = presence(array)
        codes = lookup(array, self.values)
        unknown = codes < 0
        faults = []
        if present is not None:
            unknown &= present
            codes[~present] = UNKNOWN_DECLARED if self.default is None else self.default
            present = present if self.default is None else None
        if self.spec.rejects_unknown and unknown.any():
            rows = np.flatnonzero(unknown)
            codes[rows] = 0
            got = [scalar_of(array[row]) for row in rows.tolist()]
            faults.append(Fault(self.name, self.path, rows, "unknown category", one_of(self.values), got))
        return Encoded(self.stored(codes, present), present=present, faults=faults, seen=codes)

    def summarise(self, encoded: Encoded, rows: BoolArray) -> Summary:
        """Count the codes."""
        picked = select(encoded.seen, rows, encoded.present)
        counts = Counts()
        numbers = np.bincount(picked + 1, minlength=len(self.values) + 1)
        found = np.flatnonzero(numbers)
        labels = ["(unknown)", *(label(value) for value in self.values)]
        counts.add([labels[index] for index in found.tolist()], numbers[found].tolist())
        missing = count_missing(encoded.present, rows)
        return Summary(int(np.count_nonzero(rows)), missing, counts=counts)


class HashedEncoder(Encoder):
    """A category hashed into buckets."""

    def __init__(self, name: str, spec: CategoryColumn) -> None:
        super().__init__(name, spec)
        self.buckets = int(spec.hash_buckets or 1)
        self.seed = seed_of(BUCKET_KEY)
        self.columns = (self.column("<i4", num_codes=self.buckets, hashed=True), *self.mask_columns())

    def encode(self, batch: pa.RecordBatch) -> Encoded:
        """Hash every value into its bucket."""
        array = array_of(batch, self.name)
        present = presence(array)
        if present is not None and self.spec.default is not None:
            array, present = array.fill_null(pa.scalar(self.spec.default, array.type)), None
        if pa.types.is_large_string(array.type):
            hashes = hash_values(array, self.seed)
        else:
            values = array.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
            hashes = hash_rows(values, self.seed)
        # The high bits times the number of buckets: as even as a remainder, and cheaper.
        codes = (((hashes >> np.uint64(32)) * np.uint64(self.buckets)) >> np.uint64(32)).astype(np.int32)
        if present is not None:
            codes[~present] = 0
        return Encoded(self.stored(codes, present), present=present, seen=codes)

    def summarise(self, encoded: Encoded, rows: BoolArray) -> Summary:
        """Count the buckets, when there are few enough to list."""
        counts = None
        if self.buckets <= LISTED_BUCKETS:
            numbers = np.bincount(select(encoded.seen, rows, encoded.present), minlength=self.buckets)
            found = np.flatnonzero(numbers)
            counts = Counts()
            counts.add(found.tolist(), numbers[found].tolist())
        missing = count_missing(encoded.present, rows)
        return Summary(int(np.count_nonzero(rows)), missing, counts=counts)


class OpenEncoder(Encoder):
    """A category whose vocabulary grows: rows wait, under the partition's own codes, for the snapshot's.

    The partition's codes are positions in its table of distinct values, in order of appearance; null is none.
    """

    columns = ()

    def __init__(self, name: str, spec: CategoryColumn) -> None:
        super().__init__(name, spec)
        self.pending = (pa.field(name, pa.int32()),)
        self.code_of: dict[Any, int] = {}
        self.num_train = np.zeros(0, np.int64)
        self.num_rest = np.zeros(0, np.int64)

    def encode(self, batch: pa.RecordBatch) -> Encoded:
        """Give every value its code in the partition, new ones at the end."""
        array = array_of(batch, self.name)
        present = presence(array)
        if present is not None and self.spec.default is not None:
            array, present = array.fill_null(pa.scalar(self.spec.default, array.type)), None
        encoded = array.dictionary_encode()
        known = self.code_of
        table = np.array(
            [known.setdefault(value, len(known)) for value in encoded.dictionary.to_pylist()] or [0], np.int32
        )
        indices = encoded.indices.fill_null(0).to_numpy(zero_copy_only=False)
        codes = table[indices]
        rows = pa.array(codes, mask=None if present is None else ~present)
        return Encoded({}, {self.name: rows}, present=present, seen=codes, content=encoded)

    def observe(self, encoded: Encoded, train: BoolArray, rest: BoolArray) -> None:
        """Count every value of the vocabulary, in train and elsewhere."""
        num = len(self.code_of)
        self.num_train = self._add(self.num_train, select(encoded.seen, train, encoded.present), num)
        self.num_rest = self._add(self.num_rest, select(encoded.seen, rest, encoded.present), num)

    @staticmethod
    def _add(total: AnyArray, codes: AnyArray, num: int) -> AnyArray:
        counted = np.bincount(codes, minlength=num)
        counted[: len(total)] += total
        return counted

    def summarise(self, encoded: Encoded, rows: BoolArray) -> Summary:
        """Count rows; values are counted over the whole partition by `counts`."""
        return Summary(int(np.count_nonzero(rows)), count_missing(encoded.present, rows))

    def counts(self, *, train: bool) -> Counts:
        """Count the values over all batches so far."""
        numbers = self.num_train if train else self.num_rest
        order = np.argsort(-numbers, kind="stable")[: 4 * CAP]
        order = order[numbers[order] > 0]
        values = list(self.code_of)
        counts = Counts()
        counts.add([label(values[index]) for index in order.tolist()], numbers[order].tolist())
        counts.total = int(numbers.sum())
        if len(np.flatnonzero(numbers)) > len(order):
            counts.error += int(numbers[order[-1]])
        return counts

    def tables(self) -> Mapping[str, pa.Table]:
        """Give the partition's distinct values with their counts."""
        num = len(self.code_of)
        table = pa.table(
            {
                "value": pa.array(list(self.code_of), ARROW[self.spec.type]),
                "num_train": pa.array(np.resize(self.num_train, num) if num else [], pa.int64()),
                "num_rest": pa.array(np.resize(self.num_rest, num) if num else [], pa.int64()),
            }
        )
        return {vocabulary_table(self.name): table}


class MultilabelEncoder(Encoder):
    """A list of declared labels as zeros and ones."""

    def __init__(self, name: str, spec: MultilabelColumn) -> None:
        super().__init__(name, spec)
        self.values = list(spec.values)
        self.columns = (
            self.column("|u1", (len(self.values),), values=self.values if len(self.values) <= CAP else None),
            *self.mask_columns(),
        )

    def encode(self, batch: pa.RecordBatch) -> Encoded:
        """Mark the labels of every list."""
        array = array_of(batch, self.name)
        present = presence(array)
        num_rows = len(array)
        offsets = np.asarray(array.offsets.to_numpy(zero_copy_only=False), np.int64)
        lengths = np.diff(offsets)
        if present is not None:
            lengths = np.where(present, lengths, 0)
        flat = array.flatten()
        codes = lookup(flat, self.values)
        owners = np.repeat(np.arange(num_rows), lengths)
        faults = []
        unknown = codes < 0
        if unknown.any():
            if self.spec.unknown == "reject":
                where = np.flatnonzero(unknown)
                rows, first = np.unique(owners[where], return_index=True)
                got = [scalar_of(flat[where[index]]) for index in first.tolist()]
                faults.append(Fault(self.name, self.path, rows, "unknown category", one_of(self.values), got))
            owners, codes = owners[~unknown], codes[~unknown]
        marks = np.zeros((num_rows, len(self.values)), np.uint8)
        marks[owners, codes] = 1
        for fault in faults:
            marks[fault.rows] = 0
        return Encoded(self.stored(marks, present), present=present, faults=faults, seen=(marks, lengths))

    def summarise(self, encoded: Encoded, rows: BoolArray) -> Summary:
        """Count the labels and the labels a row."""
        marks, lengths = encoded.seen
        counts = Counts()
        numbers = select(marks, rows, encoded.present).sum(axis=0, dtype=np.int64)
        found = np.flatnonzero(numbers)
        counts.add([label(self.values[index]) for index in found.tolist()], numbers[found].tolist())
        return Summary(
            int(np.count_nonzero(rows)),
            count_missing(encoded.present, rows),
            lengths=NumberSummary.of(select(lengths, rows, encoded.present), quantiles=True),
            counts=counts,
        )


def category_encoder(name: str, spec: CategoryColumn) -> Encoder:
    """Choose the encoder of a category."""
    if spec.values is not None:
        return DeclaredEncoder(name, spec)
    return HashedEncoder(name, spec) if spec.hash_buckets is not None else OpenEncoder(name, spec)


def lookup(array: pa.Array, values: list[Any]) -> AnyArray:
    """Give every value its position among `values`, -1 for null and for a value that is not among them."""
    if not pa.types.is_struct(array.type):
        return _index(array, values, list(range(len(values))))
    codes = np.full(len(array), -1, np.int32)
    for position, child in enumerate(array.flatten()):
        kind = {"string": str, "int64": int, "bool": bool}[array.type.field(position).name]
        places = [place for place, value in enumerate(values) if type(value) is kind]
        found = _index(child, [values[place] for place in places], places)
        codes = np.where(found >= 0, found, codes)
    return codes


def _index(array: pa.Array, values: list[Any], places: list[int]) -> AnyArray:
    found = pc.index_in(array, value_set=pa.array(values, array.type), skip_nulls=True)
    table = np.array([*places, -1], np.int32)
    codes: AnyArray = table[found.fill_null(len(places)).to_numpy(zero_copy_only=False)]
    return codes


def scalar_of(value: pa.Scalar) -> Any:
    """Give the Python value of a scalar, of the alternative that is present when there are several."""
    got = value.as_py()
    return next((part for part in got.values() if part is not None), None) if isinstance(got, dict) else got


def label(value: Any) -> str | int:
    """Write a category's value for statistics: truth values as words, for JSON keeps 1 and true apart."""
    return str(value).lower() if isinstance(value, bool) else value


def one_of(values: list[Any]) -> str:
    """Say which values are declared."""
    shown = ", ".join(repr(value) for value in values[:8])
    return f"one of {shown}" + (f" and {len(values) - 8} more" if len(values) > 8 else "")
