"""A histogram that merges exactly: bins are as wide as a power of two and begin at multiples of it.

The width is the smallest at which the values' range touches at most `NUM_BINS` bins, so it depends on
minimum and maximum alone, and a histogram merged from parts equals the one of all rows, count by count.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]

NUM_BINS = 64
_MANTISSA_BITS = 53
_SMALLEST = -1074


@dataclass(slots=True)
class Histogram:
    """Counts of bins [k * 2**exponent, (k + 1) * 2**exponent) for k = first, first + 1, ..."""

    exponent: int
    first: int
    counts: npt.NDArray[np.int64]

    @classmethod
    def empty(cls) -> Histogram:
        """Give the histogram of no values."""
        return cls(0, 0, np.zeros(0, np.int64))

    @classmethod
    def of_sorted(cls, values: Floats) -> Histogram:
        """Count increasing finite values."""
        if not len(values):
            return cls.empty()
        low, high = float(values[0]), float(values[-1])
        exponent = _exponent(low, high)
        first = _bin(low, exponent)
        num_bins = _bin(high, exponent) - first + 1
        edges = np.array([math.ldexp(first + index, exponent) for index in range(1, num_bins)])
        ends = np.concatenate((np.searchsorted(values, edges, side="left"), [len(values)]))
        return cls(exponent, first, np.diff(np.concatenate(([0], ends))).astype(np.int64))

    def merge(self, other: Histogram) -> Histogram:
        """Give the histogram of both sets of values together."""
        if not len(self.counts):
            return other
        if not len(other.counts):
            return self
        exponent = max(self.exponent, other.exponent)
        while True:
            parts = [self._coarse(exponent), other._coarse(exponent)]
            first = min(part.first for part in parts)
            end = max(part.first + len(part.counts) for part in parts)
            if end - first <= NUM_BINS:
                break
            exponent += 1
        counts = np.zeros(end - first, np.int64)
        for part in parts:
            counts[part.first - first : part.first - first + len(part.counts)] += part.counts
        return Histogram(exponent, first, counts)

    def _coarse(self, exponent: int) -> Histogram:
        shift = exponent - self.exponent
        if shift == 0:
            return self
        first = self.first >> shift
        counts = np.zeros(((self.first + len(self.counts) - 1) >> shift) - first + 1, np.int64)
        for index, count in enumerate(self.counts.tolist()):
            counts[((self.first + index) >> shift) - first] += count
        return Histogram(exponent, first, counts)

    @property
    def edges(self) -> list[float]:
        """Edges of the bins, one more than there are bins."""
        if not len(self.counts):
            return []
        return [math.ldexp(self.first + index, self.exponent) for index in range(len(self.counts) + 1)]

    def to_json(self) -> dict[str, Any]:
        """Write as JSON."""
        return {"exponent": self.exponent, "first": self.first, "counts": self.counts.tolist()}

    @classmethod
    def from_json(cls, written: Mapping[str, Any]) -> Histogram:
        """Read what `to_json` wrote."""
        return cls(int(written["exponent"]), int(written["first"]), np.asarray(written["counts"], np.int64))


def _bin(value: float, exponent: int) -> int:
    # The quotient is exact, and so is its floor, as long as it neither overflows nor is subnormal.
    mantissa, power = math.frexp(value)
    shift = power - _MANTISSA_BITS - exponent
    whole = int(math.ldexp(mantissa, _MANTISSA_BITS))
    return whole << shift if shift >= 0 else whole >> -shift


def _exponent(low: float, high: float) -> int:
    largest = max(abs(low), abs(high))
    exponent = max(math.frexp(largest)[1] - _MANTISSA_BITS, _SMALLEST) if largest else _SMALLEST
    span = high / NUM_BINS - low / NUM_BINS
    if span > 0:
        exponent = max(exponent, math.frexp(span)[1] - 2)
    while _bin(high, exponent) - _bin(low, exponent) + 1 > NUM_BINS:
        exponent += 1
    return exponent
