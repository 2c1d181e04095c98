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

from assets.columns import kernels
from assets.columns.sorting import sorted_finite

Floats: TypeAlias = npt.NDArray[np.float64]
BLOCK_BYTES = 2 << 20
"""Bytes of one pass, so that the second reading of them comes from the processor's cache."""
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
    def of(cls, values: npt.NDArray[Any], rows: npt.NDArray[np.bool_] | None = None) -> Moments:
        """Summarise an array of shape (rows, width), or those of its rows where `rows` is True."""
        num_rows, width = values.shape
        wanted = np.ones(num_rows, np.bool_) if rows is None else rows
        if values.dtype == np.float16:
            values = values.astype(np.float32)
        total = cls.empty(width)
        block_rows = max(1, BLOCK_BYTES // max(1, width * values.itemsize))
        for start in range(0, num_rows, block_rows):
            block = slice(start, start + block_rows)
            total = total.merge(cls._of_block(values[block], wanted[block]))
        return total

    @classmethod
    def of_sorted(cls, numbers: npt.NDArray[Any]) -> Moments:
        """Summarise increasing finite numbers, shape (rows,)."""
        if not len(numbers):
            return cls.empty(1)
        with np.errstate(over="ignore", invalid="ignore"):
            mean = _mean(numbers)
            deviations = numbers - mean
            rest = deviations.mean(dtype=np.float64)
            m2 = np.einsum("i,i->", deviations, deviations) - rest * rest * len(numbers)
        found = (mean, rest, m2, numbers[0], numbers[-1])
        return cls._finite(np.array([len(numbers)], np.int64), *(np.array([x], np.float64) for x in found))

    @classmethod
    def _of_block(cls, block: npt.NDArray[Any], wanted: npt.NDArray[np.bool_]) -> Moments:
        width = block.shape[1]
        num_rows = int(np.count_nonzero(wanted))
        if not num_rows:
            return cls.empty(width)
        total, rest, m2 = np.zeros(width), np.zeros(width), np.zeros(width)
        low, high = np.full(width, np.inf), np.full(width, -np.inf)
        kernels.extremes_and_sum(block, wanted, total, low, high)
        if not np.isfinite(total).all():
            found = [cls.of_sorted(sorted_finite(column, wanted)) for column in block.T]
            return cls(*(np.concatenate([getattr(one, name) for one in found]) for name in _MEMBERS))
        mean = total / num_rows
        kernels.deviations(block, wanted, mean, rest, m2)
        rest /= num_rows
        return cls._finite(
            np.full(width, num_rows, np.int64), mean, rest, m2 - rest * rest * num_rows, low, high
        )

    @classmethod
    def _finite(
        cls, count: npt.NDArray[np.int64], mean: Floats, rest: Floats, m2: Floats, low: Floats, high: Floats
    ) -> Moments:
        return cls(count, _saturated(mean, 0.0), _saturated(rest, 0.0), _saturated(m2, LARGEST), low, high)

    def merge(self, other: Moments) -> Moments:
        """Give the moments of both sets of rows together."""
        count = self.count + other.count
        share = other.count / np.maximum(count, 1)
        with np.errstate(over="ignore", invalid="ignore"):
            difference = (other.mean - self.mean) + (other.mean_rest - self.mean_rest)
            moved = self.mean_rest + difference * share
            mean = self.mean + moved
            rest = moved - (mean - self.mean)
            between = difference * difference * (self.count * share)
            m2 = _saturated(self.m2 + other.m2 + between, LARGEST)
        first = self.count == 0
        mean, rest = np.where(first, other.mean, mean), np.where(first, other.mean_rest, rest)
        return Moments(
            count,
            _saturated(mean, 0.0),
            _saturated(rest, 0.0),
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


_MEMBERS = ("count", "mean", "mean_rest", "m2", "minimum", "maximum")


def _mean(numbers: npt.NDArray[Any]) -> float:
    mean = float(numbers.mean(dtype=np.float64))
    return mean if np.isfinite(mean) else float((numbers / len(numbers)).sum(dtype=np.float64))


def _saturated(values: Floats, nan: float) -> Floats:
    """Replace infinities by the largest float64; the sum is a cheap way to see that there are none."""
    if np.isfinite(values.sum()):
        return values
    return np.nan_to_num(values, nan=nan, posinf=LARGEST, neginf=-LARGEST)
