"""Count, mean, sum of squared deviations, minimum and maximum of numbers, element by element.

Batches are merged by the update of Chan, Golub and LeVeque ("Updating formulae and a pairwise algorithm for
computing sample variances", 1979), which is as stable as two passes over all rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
BLOCK_ROWS = 4_096
LARGEST = float(np.finfo(np.float64).max)


@dataclass(slots=True)
class Moments:
    """Moments of `width` elements; every member is an array of shape (width,).

    Parameters
    ----------
    count
        Finite numbers seen; NaN and infinities are left out.
    mean, mean_rest
        Mean, and what is left of it beyond float64, so that merging loses nothing far from zero.
    m2
        Sum of squared deviations from the mean; saturates at the largest float64.
    minimum, maximum
        Extremes; +inf and -inf where `count` is 0.
    """

    count: npt.NDArray[np.int64]
    mean: Floats
    mean_rest: Floats
    m2: Floats
    minimum: Floats
    maximum: Floats

    @classmethod
    def empty(cls, width: int) -> Moments:
        """Give the moments of no rows."""
        return cls(
            np.zeros(width, np.int64),
            np.zeros(width),
            np.zeros(width),
            np.zeros(width),
            np.full(width, np.inf),
            np.full(width, -np.inf),
        )

    @classmethod
    def of(cls, values: npt.NDArray[Any]) -> Moments:
        """Summarise an array of shape (rows, width).

        Rows are taken a few thousand at a time, so that a float64 copy stays in the processor's cache.
        """
        total = cls.empty(values.shape[1])
        with np.errstate(over="ignore", invalid="ignore"):
            for start in range(0, len(values), BLOCK_ROWS):
                total = total.merge(cls._of_block(values[start : start + BLOCK_ROWS].astype(np.float64)))
        return total

    @classmethod
    def _of_block(cls, block: Floats) -> Moments:
        num_rows, width = block.shape
        mean = block.mean(axis=0)
        if np.isfinite(mean).all():
            minimum, maximum = block.min(axis=0), block.max(axis=0)
            block -= mean
            count = np.full(width, num_rows, np.int64)
        else:
            present = np.isfinite(block)
            count = present.sum(axis=0).astype(np.int64)
            minimum = np.where(present, block, np.inf).min(axis=0)
            maximum = np.where(present, block, -np.inf).max(axis=0)
            safe = np.maximum(count, 1)
            mean = (np.where(present, block, 0.0) / safe).sum(axis=0)
            block = np.where(present, block - mean, 0.0)
        rest = block.sum(axis=0) / np.maximum(count, 1)
        m2 = np.einsum("ij,ij->j", block, block) - rest * rest * count
        return cls(count, mean, np.nan_to_num(rest), np.nan_to_num(m2, nan=LARGEST), minimum, maximum)

    def merge(self, other: Moments) -> Moments:
        """Give the moments of both sets of rows together."""
        count = self.count + other.count
        share = other.count / np.maximum(count, 1)
        with np.errstate(over="ignore", invalid="ignore"):
            difference = (other.mean - self.mean) + (other.mean_rest - self.mean_rest)
            moved = self.mean_rest + difference * share
            mean = self.mean + moved
            rest = moved - (mean - self.mean)
            between = np.nan_to_num(difference * difference * (self.count * share), nan=LARGEST)
            m2 = np.nan_to_num(self.m2 + other.m2 + between, nan=LARGEST)
        first = self.count == 0
        mean, rest = np.where(first, other.mean, mean), np.where(first, other.mean_rest, rest)
        return Moments(
            count,
            np.nan_to_num(mean),
            np.nan_to_num(rest),
            m2,
            np.minimum(self.minimum, other.minimum),
            np.maximum(self.maximum, other.maximum),
        )

    @property
    def std(self) -> Floats:
        """Standard deviation of the rows as a population; 0 where there are none."""
        return np.sqrt(np.maximum(self.m2, 0.0) / np.maximum(self.count, 1))

    def to_json(self) -> dict[str, Any]:
        """Write as JSON; extremes of no rows are null."""
        present = self.count > 0
        return {
            "count": self.count.tolist(),
            "mean": self.mean.tolist(),
            "mean_rest": self.mean_rest.tolist(),
            "m2": self.m2.tolist(),
            "min": [value if ok else None for value, ok in zip(self.minimum.tolist(), present, strict=True)],
            "max": [value if ok else None for value, ok in zip(self.maximum.tolist(), present, strict=True)],
        }

    @classmethod
    def from_json(cls, written: Mapping[str, Any]) -> Moments:
        """Read what `to_json` wrote."""
        return cls(
            np.asarray(written["count"], np.int64),
            np.asarray(written["mean"], np.float64),
            np.asarray(written["mean_rest"], np.float64),
            np.asarray(written["m2"], np.float64),
            np.asarray([np.inf if value is None else value for value in written["min"]], np.float64),
            np.asarray([-np.inf if value is None else value for value in written["max"]], np.float64),
        )
