"""What a picture is of, in a few words: the first category of its document, for those who look at it."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

from assets.spec import DatasetSpec
from assets.spec.columns import CategoryColumn
from shards import TableReader


def labels_of(spec: DatasetSpec, documents: TableReader, rows: Iterable[int]) -> dict[int, str]:
    """Give the labels of some rows; nothing where the dataset has no category, or the document no value."""
    column = next((name for name, found in spec.columns.items() if isinstance(found, CategoryColumn)), None)
    labels: dict[int, str] = {}
    wanted = sorted(set(rows))
    first = 0
    for batch in documents.batches():
        if column is None or column not in batch.schema.names:
            return {}
        for row in wanted:
            if first <= row < first + len(batch) and (text := _text(batch.column(column)[row - first])):
                labels[row] = text
        first += len(batch)
    return labels


def _text(value: pa.Scalar) -> str:
    if isinstance(value, pa.StructScalar):  # one of several types: the one that is given
        return next((text for name in value if (text := _text(value[name]))), "")
    return str(value.as_py()) if value.is_valid else ""
