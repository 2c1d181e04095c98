"""Rows that say the same: duplicates within the dataset, and leaks of one content across splits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from assets.columns import kernels
from assets.columns.hashing import Hashes

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Duplicates:
    """Rows left out because an earlier one has the same key: `rows[i]` repeats `firsts[i]`."""

    rows: IntArray
    firsts: IntArray


def find_duplicates(low: Hashes, high: Hashes, candidates: BoolArray) -> Duplicates:
    """Find, among the candidates, every row whose 128-bit key an earlier one has."""
    rows = np.flatnonzero(candidates)
    if _surely_differ(low[rows]):
        return Duplicates(np.zeros(0, np.int64), np.zeros(0, np.int64))
    order = rows[np.lexsort((rows, high[rows], low[rows]))]
    same = (low[order[1:]] == low[order[:-1]]) & (high[order[1:]] == high[order[:-1]])
    start = np.concatenate(([True], ~same))
    firsts = order[np.flatnonzero(start)[np.cumsum(start) - 1]]
    repeated = np.flatnonzero(~start)
    pairs = np.argsort(order[repeated], kind="stable")
    return Duplicates(order[repeated][pairs], firsts[repeated][pairs])


@dataclass(frozen=True, slots=True)
class Leaks:
    """Contents that occur in more than one split.

    Parameters
    ----------
    num_contents
        Distinct contents concerned.
    num_rows
        Rows that hold them.
    pairs
        Rows by pair of splits, "a|b": rows of b whose content is in a too, a before b.
    rows
        Some of the rows, at most the number asked for, those of one content together.
    """

    num_contents: int
    num_rows: int
    pairs: dict[str, int]
    rows: list[int]


def find_leaks(content: Hashes, splits: npt.NDArray[np.int8], names: tuple[str, ...], limit: int) -> Leaks:
    """Find contents that rows of different splits share; rows of split -1 are left out."""
    rows = np.flatnonzero(splits >= 0)
    if _surely_differ(content[rows]):
        return Leaks(0, 0, {}, [])
    order = rows[np.argsort(content[rows], kind="stable")]
    keys, codes = content[order], splits[order].astype(np.int64)
    starts = np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1])))
    group = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(keys))))
    table = np.zeros((len(starts), len(names)), np.bool_)
    table[group, codes] = True
    leaked = table.sum(axis=1) > 1
    concerned = leaked[group]
    pairs: dict[str, int] = {}
    for first in range(len(names)):
        for second in range(first + 1, len(names)):
            both = table[:, first] & table[:, second]
            count = int(np.count_nonzero(both[group] & (codes == second)))
            if count:
                pairs[f"{names[first]}|{names[second]}"] = count
    shown = order[concerned][:limit].tolist()
    return Leaks(int(np.count_nonzero(leaked)), int(np.count_nonzero(concerned)), pairs, shown)


def _surely_differ(hashes: Hashes) -> bool:
    """Tell that no hash occurs twice, the usual case, without sorting them with their rows."""
    return bool(kernels.surely_differ(hashes, np.empty_like(hashes)))
