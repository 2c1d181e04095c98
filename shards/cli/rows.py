"""Rows of a version or snapshot as Arrow, whatever their encoding."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from shards.readers import ColumnReader
from shards.schema import Column
from shards.snapshot import Snapshot


def arrow_type(column: Column) -> pa.DataType:
    """Arrow type of a column's values, dense ones as nested lists of fixed size."""
    if column.encoding == "arrow":
        return column.pyarrow_type
    dtype = pa.from_numpy_dtype(np.dtype(column.dtype))
    for size in reversed(column.shape):
        dtype = pa.list_(dtype, size)
    return dtype


def arrow_values(column: Column, values: Any) -> pa.Array:
    """Values of a column, as its reader gives them, as an Arrow array of `arrow_type`."""
    if column.encoding == "arrow":
        return values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    array = pa.array(np.ascontiguousarray(values).reshape(-1))
    for size in reversed(column.shape):
        array = pa.FixedSizeListArray.from_arrays(array, size)
    return array


def table_of(readers: dict[str, ColumnReader], rows: npt.NDArray[Any]) -> pa.Table:
    """Rows by number, with a column for every reader."""
    arrays = {name: arrow_values(reader.column, reader.take(rows)) for name, reader in readers.items()}
    return pa.table(arrays)


def split_rows(snapshot: Snapshot, batch_rows: int) -> Iterator[tuple[str, Iterator[npt.NDArray[Any]]]]:
    """Every split and its rows, some at a time; one split `all` where the snapshot has none."""
    for split in snapshot.splits or ["all"]:
        rows = snapshot.index(split) if snapshot.splits else np.arange(snapshot.num_rows, dtype=np.uint64)
        yield split, (rows[start : start + batch_rows] for start in range(0, len(rows), batch_rows))
