"""Rows that a column cannot use: where, why, what was wanted and what was there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from assets.columns.raw import ids_of

REJECTS = pa.schema(
    [
        pa.field("_id", pa.large_string()),
        pa.field("path", pa.large_string()),
        pa.field("reason", pa.large_string()),
        pa.field("expected", pa.large_string()),
        pa.field("got", pa.large_string()),
        pa.field("field", pa.large_string()),
    ]
)
MAX_GOT_CHARACTERS = 120


@dataclass(frozen=True, slots=True)
class Fault:
    """Rows of one batch that one column cannot use, for one reason.

    Parameters
    ----------
    rows
        Positions in the batch, increasing.
    reason
        `out of range`, `inexact`, `not finite`, `unknown category` or `wrong type`.
    expected
        What is allowed.
    got
        What was there, one text a row.
    """

    column: str
    path: str
    rows: npt.NDArray[np.int64]
    reason: str
    expected: str
    got: Sequence[object]


class Rejects:
    """Gathers faults; a row with several faults is listed once, with the first column's."""

    def __init__(self) -> None:
        self.by_reason: Counter[str] = Counter()

    def batch(
        self, ids: pa.Array, faults: Sequence[Fault]
    ) -> tuple[npt.NDArray[np.bool_], pa.RecordBatch | None]:
        """Give the rows that are valid, and the rejected ones as a batch of the schema `REJECTS`."""
        valid = np.ones(len(ids), np.bool_)
        if not faults:
            return valid, None
        listed: dict[int, tuple[Fault, int]] = {}
        for fault in faults:
            for position, row in enumerate(fault.rows.tolist()):
                listed.setdefault(row, (fault, position))
        rows = sorted(listed)
        valid[rows] = False
        chosen = [listed[row] for row in rows]
        self.by_reason.update(fault.reason for fault, _ in chosen)
        columns = [
            ids_of(ids, rows),
            [fault.path for fault, _ in chosen],
            [fault.reason for fault, _ in chosen],
            [fault.expected for fault, _ in chosen],
            [describe(fault.got[position]) for fault, position in chosen],
            [fault.column for fault, _ in chosen],
        ]
        return valid, pa.record_batch(
            [pa.array(values, pa.large_string()) for values in columns], schema=REJECTS
        )


def describe(value: object) -> str:
    """Write a value for a reject, cut to a readable length."""
    text = value if isinstance(value, str) else repr(value)
    return (
        text if len(text) <= MAX_GOT_CHARACTERS else f"{text[:MAX_GOT_CHARACTERS]}… ({len(text)} characters)"
    )
