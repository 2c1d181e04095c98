"""How far a distribution has moved: the population stability index of histograms and of counts.

PSI = sum over bins of (p - q) * ln(p / q), p and q the shares of the new and the old rows; below 0.1 nothing
has changed, above 0.25 much has (Siddiqi, "Credit Risk Scorecards", 2006). Every bin counts half a row more,
so that none is empty. What chance alone is expected to give, (bins - 1) * (1 / new rows + 1 / old rows), is
taken off (Yurdakul, "Statistical Properties of Population Stability Index", 2018): few rows are no drift.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from assets.columns.stats.counts import Counts
from assets.columns.stats.histogram import Histogram

MAX_BINS = 16
MIN_ROWS = 50
"""Fewer rows than this on either side say nothing about a distribution."""


def psi(new: npt.NDArray[Any], old: npt.NDArray[Any]) -> float:
    """Return the index of two arrays of counts over the same bins; 0 when either has too few rows."""
    if new.sum() < MIN_ROWS or old.sum() < MIN_ROWS:
        return 0.0
    p, q = (new + 0.5) / (new + 0.5).sum(), (old + 0.5) / (old + 0.5).sum()
    by_chance = (len(new) - 1) * (1 / new.sum() + 1 / old.sum())
    return max(0.0, float(np.sum((p - q) * np.log(p / q)) - by_chance))


def histogram_psi(new: Histogram, old: Histogram) -> float:
    """Return the index of two histograms, over at most sixteen bins that hold equal shares of `old`."""
    if not len(new.counts) or not len(old.counts):
        return 0.0
    both = new.merge(old)
    counts = [_on(part, both) for part in (new, old)]
    middle = (np.cumsum(counts[1]) - counts[1] / 2) / counts[1].sum()
    bins = np.minimum((middle * MAX_BINS).astype(np.int64), MAX_BINS - 1)
    grouped = [np.bincount(bins, weights=part, minlength=MAX_BINS) for part in counts]
    used = (grouped[0] + grouped[1]) > 0
    return psi(grouped[0][used], grouped[1][used])


def _on(part: Histogram, whole: Histogram) -> npt.NDArray[np.float64]:
    """Return the counts of `part` on the bins of `whole`, which is at least as coarse and covers it."""
    bins = ((part.first + np.arange(len(part.counts))) >> (whole.exponent - part.exponent)) - whole.first
    return np.bincount(bins, weights=part.counts, minlength=len(whole.counts)).astype(np.float64)


def counts_psi(new: Counts, old: Counts) -> float:
    """Return the index of two counts of values; rare values of both are taken together."""
    values = sorted(new.counts.keys() | old.counts.keys(), key=lambda value: -old.counts.get(value, 0))
    pairs = [(new.counts.get(value, 0), old.counts.get(value, 0)) for value in values]
    table = np.array(pairs, np.float64).reshape(-1, 2)
    rare = table[MAX_BINS - 1 :].sum(axis=0, keepdims=True)
    table = np.concatenate((table[: MAX_BINS - 1], rare if rare.any() else rare[:0]))
    return psi(table[:, 0], table[:, 1])
