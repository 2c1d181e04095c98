"""Vocabularies of open categories: codes are only ever appended, so that a value keeps its code for ever.

Code 0 is unknown and has the value null. The vocabulary of the last snapshot comes first; new values follow,
those with the most train rows first, ties in order of the values. A value gets a code once `minimum_count`
train rows that a snapshot keeps have it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from assets.columns.build import PENDING
from assets.columns.kinds.category import ARROW, vocabulary_table
from assets.spec.columns import CategoryColumn
from shards import Version


def counts_in_train(name: str, records: Version, rows: npt.NDArray[np.bool_] | None) -> dict[Any, int]:
    """Count the values of a partition in its train rows, or in the given ones."""
    table = records.table(vocabulary_table(name)).read()
    if rows is None:
        numbers = table["num_train"].to_numpy()
    else:
        numbers, first = np.zeros(table.num_rows, np.int64), 0
        for batch in records.table(PENDING).batches():
            local = batch.column(name).filter(pa.array(rows[first : first + batch.num_rows])).drop_null()
            numbers += np.bincount(local.to_numpy(), minlength=len(numbers))
            first += batch.num_rows
    return dict(zip(table["value"].to_pylist(), numbers.tolist(), strict=True))


def extend_vocabulary(
    name: str, column: CategoryColumn, found: Iterable[Mapping[Any, int]], previous: Version | None
) -> pa.Array:
    """Give the vocabulary of a snapshot: values in the order of their codes.

    Parameters
    ----------
    found
        Train rows of every value, partition by partition.
    previous
        The snapshot before.
    """
    known: list[Any] = [None]
    kind = ARROW[column.type]
    if previous is not None and name in previous.vocabularies:
        before = previous.vocabulary(name)
        if before.type == kind and len(before) and not before[0].is_valid:
            known = before.to_pylist()
    counts: Counter[Any] = Counter()
    for one in found:
        counts.update(one)
    have = set(known[1:])
    new = [value for value, count in counts.items() if count >= column.minimum_count and value not in have]
    new.sort(key=lambda value: (-counts[value], value))
    return pa.array([*known, *new], kind)


def codes_of_partition(name: str, vocabulary: pa.Array, records: Version) -> npt.NDArray[np.int32]:
    """Give the snapshot's code of every value of a partition's own vocabulary, and 0 at the end for null."""
    code_of = {value: code for code, value in enumerate(vocabulary.to_pylist()) if code}
    local = records.table(vocabulary_table(name)).read()["value"].to_pylist()
    return np.array([*(code_of.get(value, 0) for value in local), 0], np.int32)
