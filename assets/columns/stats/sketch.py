"""A sketch of quantiles that merges exactly: counts of values by the leading bits of their floats.

Floats in increasing order have increasing words; a cell holds the values whose words are equal but for their
last `level` bits. The level is the smallest at which at most `NUM_CELLS` cells hold a value. Cells of a part
are never more than those of the whole, so however rows are cut, merged cells are those of all rows, count by
count (the uniform collapse of Epicoco et al., "UDDSketch", 2020, over words instead of logarithms).

A quantile lies in the cell of the true one: it is exact where at most `NUM_CELLS` values differ, and else
off by no more than a cell is wide, 2**(level - 52) of the value. Offsets of values in their cells are added
up as well, to place the values of a cell.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from assets.columns import kernels

Floats: TypeAlias = npt.NDArray[np.float64]
Words: TypeAlias = npt.NDArray[np.uint64]
Numbers: TypeAlias = npt.NDArray[np.int64]

NUM_CELLS = 512
_SIGN = np.uint64(1 << 63)
_FINE = np.uint64(kernels.FINE_BITS)


@dataclass(slots=True)
class Sketch:
    """Cells of one number, in increasing order.

    Parameters
    ----------
    level
        Last bits of a word that a cell leaves out.
    cells
        Their other bits.
    counts
        Values in each cell.
    offsets
        Sums of how far the values lie from the begin of their cell, in steps of 2**16 words.
    minimum, maximum
        Extremes of all values.
    """

    level: int
    cells: Words
    counts: Numbers
    offsets: Numbers
    minimum: float
    maximum: float

    @classmethod
    def empty(cls) -> Sketch:
        """Give the sketch of no values."""
        none = np.zeros(0, np.int64)
        return cls(0, none.astype(np.uint64), none, none, np.inf, -np.inf)

    @classmethod
    def of_sorted(cls, values: Floats) -> Sketch:
        """Summarise increasing finite values."""
        if not len(values):
            return cls.empty()
        cells = np.empty(NUM_CELLS, np.uint64)
        counts, offsets = np.zeros(NUM_CELLS, np.int64), np.zeros(NUM_CELLS, np.int64)
        words = np.ascontiguousarray(values, np.float64).view(np.uint64)
        level, num = kernels.cells_of_sorted(words, cells, counts, offsets)
        found = cells[:num].copy(), counts[:num].copy(), offsets[:num].copy()
        return cls(int(level), *found, float(values[0]), float(values[-1]))

    def merge(self, other: Sketch) -> Sketch:
        """Give the sketch of both sets of values together."""
        if not len(self.cells):
            return other
        if not len(other.cells):
            return self
        level = max(self.level, other.level)
        parts = [self._coarse(level), other._coarse(level)]
        cells, counts, offsets = (np.concatenate(pair) for pair in zip(*parts, strict=True))
        order = np.argsort(cells, kind="stable")
        low, high = min(self.minimum, other.minimum), max(self.maximum, other.maximum)
        merged = Sketch(level, *_grouped(cells[order], counts[order], offsets[order]), low, high)
        while len(merged.cells) > NUM_CELLS:
            level += 1
            merged = Sketch(level, *merged._coarse(level), low, high)
        return merged

    def _coarse(self, level: int) -> tuple[Words, Numbers, Numbers]:
        """Give the cells, counts and offsets of a higher level."""
        shift = np.uint64(level - self.level)
        cells = self.cells >> shift
        moved = (_begins(self.cells, self.level) >> _FINE) - (_begins(cells, level) >> _FINE)
        return _grouped(cells, self.counts, self.offsets + self.counts * moved.astype(np.int64))

    def quantile(self, share: float | Floats) -> Floats:
        """Value below which a share of the values lies; NaN when there are none.

        Values of a cell are spread evenly around their mean, as far as the cell reaches.
        """
        if not len(self.cells):
            return np.full(np.shape(share), np.nan)
        begins, middles, ends = self._words()
        low, mean, high = _floats(begins), _floats(middles), _floats(ends)
        reach = np.fmin(mean - low, high - mean)  # the last word of a cell may be no number
        values = np.stack([mean - reach, mean, mean + reach], axis=1)
        values[0, 0], values[-1, 2] = self.minimum, self.maximum
        before = np.cumsum(self.counts) - self.counts
        half = (self.counts - 1) / 2.0
        places = np.stack([before + 0.5, before + half + 0.5, before + 2 * half + 0.5], axis=1)
        values = np.clip(values, self.minimum, self.maximum)
        return _between(np.asarray(share) * self.counts.sum(), places.reshape(-1), values.reshape(-1))

    def _words(self) -> tuple[Words, Words, Words]:
        """Give the first word of each cell, the mean of its values, and the last word.

        Steps are counted down, so half of one is added; not where all values are at the begin, as whole
        numbers are, and zero among the smallest floats of all.
        """
        begins = _begins(self.cells, self.level)
        ends = begins + np.uint64((1 << self.level) - 1)
        step_bits = min(kernels.FINE_BITS, self.level)
        at_begin = (self.offsets == 0) & (self.level > kernels.FINE_BITS) | (begins == _SIGN)
        steps = self.offsets / self.counts * 2.0**kernels.FINE_BITS
        middles = begins + np.where(at_begin, 0.0, steps + 2.0**step_bits / 2.0).astype(np.uint64)
        return begins, np.minimum(middles, ends), ends

    def to_json(self) -> dict[str, Any]:
        """Write as JSON."""
        return {
            "level": self.level,
            "cells": [int(word) for word in np.diff(self.cells, prepend=np.uint64(0))],
            "counts": self.counts.tolist(),
            "offsets": self.offsets.tolist() if self.offsets.any() else [],
            "min": self.minimum if len(self.cells) else None,
            "max": self.maximum if len(self.cells) else None,
        }

    @classmethod
    def from_json(cls, written: Mapping[str, Any]) -> Sketch:
        """Read what `to_json` wrote."""
        if not written["cells"]:
            return cls.empty()
        cells = np.cumsum(np.array(written["cells"], np.uint64), dtype=np.uint64)
        offsets = np.array(written["offsets"] or [0] * len(cells), np.int64)
        counts = np.array(written["counts"], np.int64)
        return cls(
            int(written["level"]), cells, counts, offsets, float(written["min"]), float(written["max"])
        )


def _between(x: Floats, places: Floats, values: Floats) -> Floats:
    """Interpolate; as `np.interp`, whose slopes overflow."""
    right = np.clip(np.searchsorted(places, x), 1, len(places) - 1)
    left = right - 1
    width = np.maximum(places[right] - places[left], 0.5)
    part = np.clip((x - places[left]) / width, 0.0, 1.0)
    found = values[left] * (1.0 - part) + values[right] * part
    return np.asarray(np.clip(found, values[left], values[right]), np.float64)


def _begins(cells: Words, level: int) -> Words:
    """Give the first word of each cell."""
    return cells << np.uint64(level)


def _floats(words: Words) -> Floats:
    """Give back the floats of words in their order."""
    return np.where(words >> np.uint64(63), words ^ _SIGN, ~words).view(np.float64)


def _grouped(cells: Words, counts: Numbers, offsets: Numbers) -> tuple[Words, Numbers, Numbers]:
    starts = np.flatnonzero(np.concatenate(([True], cells[1:] != cells[:-1])))
    return cells[starts], np.add.reduceat(counts, starts), np.add.reduceat(offsets, starts)
