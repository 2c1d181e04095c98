"""A quantile sketch: the merging t-digest with the arcsine scale.

Dunning, "The t-digest: efficient estimates of distributions", 2021. At most `COMPRESSION` centroids, narrow
at the tails: the rank error is about 1/COMPRESSION in the middle and far less at the ends. Minimum and
maximum are exact. The result depends, within that error, on how rows were cut into batches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]

COMPRESSION = 200
_EDGES = (1.0 - np.cos(np.pi * np.arange(1, COMPRESSION) / COMPRESSION)) / 2.0


@dataclass(slots=True)
class Digest:
    """Centroids of one number, in increasing order.

    Parameters
    ----------
    means, weights
        Centroids: mean of the values and how many they are.
    minimum, maximum
        Extremes of all values.
    """

    means: Floats
    weights: Floats
    minimum: float
    maximum: float

    @classmethod
    def empty(cls) -> Digest:
        """Give the digest of no values."""
        return cls(np.zeros(0), np.zeros(0), np.inf, -np.inf)

    @classmethod
    def of_sorted(cls, values: Floats) -> Digest:
        """Summarise increasing values without NaN."""
        if not len(values):
            return cls.empty()
        ends = np.unique(np.ceil(_EDGES * len(values)).astype(np.int64))
        starts = np.concatenate(([0], ends[(ends > 0) & (ends < len(values))]))
        weights = np.diff(np.concatenate((starts, [len(values)]))).astype(np.float64)
        return cls(np.add.reduceat(values, starts) / weights, weights, float(values[0]), float(values[-1]))

    def merge(self, other: Digest) -> Digest:
        """Give the digest of both sets of values together."""
        if not len(self.means):
            return other
        if not len(other.means):
            return self
        means = np.concatenate((self.means, other.means))
        weights = np.concatenate((self.weights, other.weights))
        order = np.argsort(means, kind="stable")
        means, weights = means[order], weights[order]
        total = weights.sum()
        middle = (np.cumsum(weights) - weights / 2.0) / total
        group = np.searchsorted(_EDGES, middle, side="right")
        starts = np.flatnonzero(np.concatenate(([True], group[1:] != group[:-1])))
        merged = np.add.reduceat(weights, starts)
        return Digest(
            np.add.reduceat(means * weights, starts) / merged,
            merged,
            min(self.minimum, other.minimum),
            max(self.maximum, other.maximum),
        )

    def quantile(self, share: float | Floats) -> Floats:
        """Value below which a share of the values lies; NaN when there are none."""
        if not len(self.means):
            return np.full(np.shape(share), np.nan)
        total = self.weights.sum()
        position = np.concatenate(([0.0], (np.cumsum(self.weights) - self.weights / 2.0) / total, [1.0]))
        values = np.concatenate(([self.minimum], self.means, [self.maximum]))
        return np.asarray(np.interp(share, position, values), np.float64)

    def share_below(self, value: float | Floats) -> Floats:
        """Share of the values that lie below a value; the inverse of `quantile`."""
        if not len(self.means):
            return np.full(np.shape(value), np.nan)
        total = self.weights.sum()
        position = np.concatenate(([0.0], (np.cumsum(self.weights) - self.weights / 2.0) / total, [1.0]))
        values = np.concatenate(([self.minimum], self.means, [self.maximum]))
        last = np.concatenate((values[1:] != values[:-1], [True]))
        return np.asarray(np.interp(value, values[last], position[last], left=0.0, right=1.0), np.float64)

    def to_json(self) -> dict[str, Any]:
        """Write as JSON."""
        return {
            "means": self.means.tolist(),
            "weights": [int(weight) for weight in self.weights],
            "min": self.minimum if len(self.means) else None,
            "max": self.maximum if len(self.means) else None,
        }

    @classmethod
    def from_json(cls, written: Mapping[str, Any]) -> Digest:
        """Read what `to_json` wrote."""
        if not written["means"]:
            return cls.empty()
        return cls(
            np.asarray(written["means"], np.float64),
            np.asarray(written["weights"], np.float64),
            float(written["min"]),
            float(written["max"]),
        )
