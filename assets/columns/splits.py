"""Which split a row belongs to: a function of the document alone, so a row never moves as data are added."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from assets.columns.hashing import hash_raw, seed_of
from assets.columns.raw import decode_raw
from assets.mongo.fields import Field
from assets.spec import DatasetSpec
from assets.spec.splits import FieldSplits, HashSplits, TimeSplits, utc

SPLIT_FIELD = "_split"


def split_names(spec: DatasetSpec) -> tuple[str, ...]:
    """Names of the splits, in the order of their codes."""
    splits = spec.splits
    if isinstance(splits, HashSplits):
        return tuple(splits.fractions)
    return tuple(splits.until if isinstance(splits, TimeSplits) else splits.values)


def train_code(spec: DatasetSpec) -> int:
    """Code of the split that fits are made from: the one named `train`, else the first."""
    names = split_names(spec)
    return names.index("train") if "train" in names else 0


def fields_of_splits(spec: DatasetSpec) -> list[Field]:
    """List what a document must give so that its split is known."""
    splits = spec.splits
    if isinstance(splits, HashSplits):
        return [] if splits.group is None else [Field(SPLIT_FIELD, splits.group, "raw")]
    if isinstance(splits, TimeSplits):
        return [Field(SPLIT_FIELD, splits.field, "timestamp")]
    return [Field(SPLIT_FIELD, splits.field, "raw")]


def assign_splits(spec: DatasetSpec, documents: pa.Table | pa.RecordBatch) -> npt.NDArray[np.int8]:
    """Give every document the code of its split, -1 for none.

    Parameters
    ----------
    spec
        The dataset; `spec.splits` says how rows are divided.
    documents
        Rows with the column `_id` and those of `fields_of_splits`.

    Returns
    -------
    numpy.ndarray
        int8, one code a row: a position in `split_names(spec)`.
    """
    splits = spec.splits
    if isinstance(splits, HashSplits):
        name = "_id" if splits.group is None else SPLIT_FIELD
        return _by_hash(splits, one_array(documents, name))
    column = one_array(documents, SPLIT_FIELD)
    return _by_time(splits, column) if isinstance(splits, TimeSplits) else _by_field(splits, column)


def one_array(documents: pa.Table | pa.RecordBatch, name: str) -> pa.Array:
    """Give a column as one Arrow array.

    Raises
    ------
    KeyError
        There is no such column; the message names those there are.
    """
    index = documents.schema.get_field_index(name)
    if index < 0:
        raise KeyError(
            f"documents have no column {name!r}, only {', '.join(documents.schema.names)}; "
            "materialize the documents asset with this specification first"
        )
    column = documents.column(index)
    if isinstance(column, pa.ChunkedArray):
        return (
            column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks or [_empty(column)])
        )
    return column


def _empty(column: pa.ChunkedArray) -> pa.Array:
    return pa.array([], column.type)


def _by_hash(splits: HashSplits, values: pa.Array) -> npt.NDArray[np.int8]:
    hashes = hash_raw(values, seed_of(splits.key))
    position = (hashes >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return codes_at(position, list(splits.fractions.values()))


def codes_at(position: npt.NDArray[np.float64], fractions: Sequence[float]) -> npt.NDArray[np.int8]:
    """Map positions in [0, 1) to split codes by cumulated fractions, -1 above their sum."""
    ends = np.cumsum(np.asarray(fractions, np.float64))
    if abs(ends[-1] - 1.0) < 1e-9:
        ends[-1] = 1.0
    codes = np.searchsorted(ends, position, side="right").astype(np.int8)
    codes[codes == len(ends)] = -1
    return codes


def _by_time(splits: TimeSplits, moments: pa.Array) -> npt.NDArray[np.int8]:
    ends = [int(utc(end).timestamp() * 1000) for end in splits.until.values() if end is not None]
    milliseconds = moments.cast(pa.timestamp("ms", tz="UTC")).cast(pa.int64()).fill_null(0)
    codes: npt.NDArray[np.int8] = np.searchsorted(
        np.asarray(ends, np.int64), milliseconds.to_numpy(zero_copy_only=False), side="right"
    ).astype(np.int8)
    if moments.null_count:
        codes[moments.is_null().to_numpy(zero_copy_only=False)] = -1
    return codes


def _by_field(splits: FieldSplits, values: pa.Array) -> npt.NDArray[np.int8]:
    code_of: dict[tuple[bool, object], int] = {
        (isinstance(value, str), value): code
        for code, (_, members) in enumerate(splits.values.items())
        for value in members
    }
    encoded = values.dictionary_encode()
    table = np.full(len(encoded.dictionary) + 1, -1, np.int8)
    for index, raw in enumerate(encoded.dictionary.to_pylist()):
        value = decode_raw(raw)
        if isinstance(value, (str, int, float)) and not isinstance(value, bool):
            table[index] = code_of.get((isinstance(value, str), value), -1)
    codes: npt.NDArray[np.int8] = table[
        encoded.indices.fill_null(len(table) - 1).to_numpy(zero_copy_only=False)
    ]
    return codes
