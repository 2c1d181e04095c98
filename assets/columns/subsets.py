"""Subsets of a split: rows that satisfy an expression, limited to a stable sample, balanced by a category."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from assets.columns.errors import ExpressionError
from assets.columns.expression import select_rows
from assets.columns.hashing import Hashes
from assets.spec import DatasetSpec
from assets.spec.expression import columns_of
from assets.spec.splits import Subset
from shards import Column, Version

IntArray = npt.NDArray[np.int64]
FILTERABLE = ("number", "category", "bool", "datetime", "text", "id", "list", "binary")


def rows_of_subset(
    spec: DatasetSpec,
    subset: Subset,
    rows: IntArray,
    sample: Hashes,
    partitions: Sequence[Sequence[Version]],
    vocabularies: Mapping[str, pa.Array],
) -> IntArray:
    """Give the rows of a subset, ascending, repeated where balancing repeats them.

    Parameters
    ----------
    rows
        Rows of the split it is taken from, ascending.
    sample
        Hash of every row of the dataset; the smallest are taken first.
    partitions
        The versions that hold columns, partition by partition, in order of rows.
    vocabularies
        Values of open categories by code.
    """
    if subset.where is not None:
        names = columns_of(subset.where)
        found, first = [], 0
        for versions in partitions:
            columns = {name: filterable(spec, name, versions, vocabularies) for name in names}
            found.append(select_rows(subset.where, columns) + first)
            first += versions[0].num_rows
        rows = np.intersect1d(rows, np.concatenate(found), assume_unique=True)
    if subset.balance is not None:
        rows = _balanced(subset, rows, sample, codes_of(subset.balance, partitions))
    elif subset.limit is not None and len(rows) > subset.limit:
        rows = rows[np.argsort(sample[rows], kind="stable")[: subset.limit]]
    return np.sort(rows)


def _balanced(subset: Subset, rows: IntArray, sample: Hashes, codes: IntArray) -> IntArray:
    rows = rows[codes[rows] >= 0]
    rows = rows[np.lexsort((sample[rows], codes[rows]))]
    starts = np.flatnonzero(np.diff(codes[rows], prepend=-1))
    classes = np.split(rows, starts[1:]) if len(rows) else []
    if not classes:
        return rows
    sizes = [len(members) for members in classes]
    target = max(sizes) if subset.balance_to == "largest" else min(sizes)
    if subset.limit is not None:
        target = max(1, min(target, subset.limit // len(classes)))
    return np.concatenate([np.resize(members, target) for members in classes])


def codes_of(name: str, partitions: Sequence[Sequence[Version]]) -> IntArray:
    """Give the code of a category in every row, -1 where the value is missing or unknown."""
    parts = []
    for versions in partitions:
        version = holder(name, versions)
        column = version.columns[name]
        codes = np.asarray(version.column(name).read(), np.int64)
        if column.attributes.get("open"):
            codes = np.where(codes == 0, -1, codes)
        if column.mask is not None:
            codes = np.where(version.column(column.mask).read(), codes, -1)
        parts.append(codes)
    return np.concatenate(parts) if parts else np.zeros(0, np.int64)


def holder(name: str, versions: Sequence[Version]) -> Version:
    """Find the version of a partition that has a column."""
    for version in versions:
        if name in version.columns:
            return version
    known = sorted({column for version in versions for column in version.columns})
    raise ExpressionError(f"no column {name!r}; allowed are {', '.join(known)}")


def filterable(
    spec: DatasetSpec, name: str, versions: Sequence[Version], vocabularies: Mapping[str, pa.Array]
) -> pa.Array:
    """Give a column as expressions see it: categories by value, dates as dates, missing as null."""
    version = holder(name, versions)
    column = version.columns[name]
    if column.kind not in FILTERABLE or len(column.shape) > 0:
        raise ExpressionError(
            f"column {name!r} of kind {column.kind} cannot be filtered by; allowed are "
            + ", ".join(FILTERABLE)
        )
    values = version.column(name).read()
    missing = None
    if column.mask is not None:
        missing = ~np.asarray(version.column(column.mask).read())
    if column.kind == "category":
        return _category(column, spec.columns[name], np.asarray(values), missing, vocabularies.get(name))
    if isinstance(values, np.ndarray):
        kind = pa.timestamp(column.attributes["unit"], tz="UTC") if column.kind == "datetime" else None
        return pa.array(np.asarray(values), kind, mask=missing)
    if missing is not None:
        values = pa.compute.if_else(pa.array(missing), pa.scalar(None, values.type), values)
    return values


def _category(
    column: Column, declared: Any, codes: npt.NDArray[Any], missing: Any, vocabulary: pa.Array | None
) -> pa.Array:
    if column.attributes.get("hashed"):
        return pa.array(codes, mask=missing)
    values = vocabulary
    if values is None:
        members = list(declared.values)
        mixed = len({type(member) for member in members}) > 1
        values = pa.array([str(member) for member in members] if mixed else members)
    absent = codes < 0 if missing is None else (codes < 0) | missing
    return values.take(pa.array(codes, pa.int64(), mask=absent))
