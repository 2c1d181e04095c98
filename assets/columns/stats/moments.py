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


@dataclass(slots=True)
class Moments:
    """Moments of `width` elements; every member is an array of shape (width,).

    Parameters
    ----------
    count
        Numbers seen, NaN left out.
    mean, m2
        Mean, and sum of squared deviations from it.
    minimum, maximum
        Extremes; +inf and -inf where `count` is 0.
    """

    count: npt.NDArray[np.int64]
    mean: Floats
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
            np.full(width, np.inf),
            np.full(width, -np.inf),
        )

    @classmethod
    def of(cls, values: npt.NDArray[Any]) -> Moments:
        """Summarise an array of shape (rows, width); NaN is left out.

        Rows are taken a few thousand at a time, so that a float64 copy stays in the processor's cache.
        """
        total = cls.empty(values.shape[1])
        for start in range(0, len(values), BLOCK_ROWS):
            total = total.merge(cls._of_block(values[start : start + BLOCK_ROWS].astype(np.float64)))
        return total

    @classmethod
    def _of_block(cls, block: Floats) -> Moments:
        num_rows = len(block)
        mean = block.mean(axis=0)
        if np.isfinite(mean).all():
            minimum, maximum = block.min(axis=0), block.max(axis=0)
            block -= mean
            m2 = np.einsum("ij,ij->j", block, block)
            rest = block.sum(axis=0)
            return cls(
                np.full(block.shape[1], num_rows, np.int64),
                mean,
                m2 - rest * rest / num_rows,
                minimum,
                maximum,
            )
        present = ~np.isnan(block)
        count = present.sum(axis=0)
        safe = np.maximum(count, 1)
        filled = np.where(present, block, 0.0)
        mean = filled.sum(axis=0) / safe
        with np.errstate(invalid="ignore"):
            deviation = np.where(present, block - mean, 0.0)
        return cls(
            count.astype(np.int64),
            mean,
            np.einsum("ij,ij->j", deviation, deviation),
            np.where(present, block, np.inf).min(axis=0),
            np.where(present, block, -np.inf).max(axis=0),
        )

    def merge(self, other: Moments) -> Moments:
        """Give the moments of both sets of rows together."""
        count = self.count + other.count
        safe = np.maximum(count, 1)
        difference = other.mean - self.mean
        share = other.count / safe
        return Moments(
            count,
            self.mean + difference * share,
            self.m2 + other.m2 + difference * difference * (self.count * share),
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
            np.asarray(written["m2"], np.float64),
            np.asarray([np.inf if value is None else value for value in written["min"]], np.float64),
            np.asarray([-np.inf if value is None else value for value in written["max"]], np.float64),
        )
