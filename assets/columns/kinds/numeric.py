"""Numbers made into a declared dtype: exactly, or rounded in the last place, or rejected.

A value outside the dtype is rejected. Whole numbers up to 2**53 must be exact in the dtype (16,777,217 is no
float32) unless `round: true` is declared: they are counts, codes and times, where one more is an error.
Numbers with a fraction, and doubles above 2**53, are measurements: they are rounded to the nearest value of
the float dtype, which is what declaring it means, but never to zero or infinity.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from assets.columns import kernels
from assets.columns.kinds.base import AnyArray, BoolArray

EXACT_WHOLE = 2.0**53


@dataclass(frozen=True, slots=True)
class Cast:
    """How numbers become a dtype.

    Parameters
    ----------
    dtype
        NumPy dtype by name.
    minimum, maximum
        Declared bounds, inclusive.
    keep_non_finite
        Whether infinities are stored; NaN needs `keep_nan` or this.
    keep_nan
        Whether NaN is stored.
    round
        Whether whole numbers may be rounded.
    """

    dtype: str
    minimum: float | None = None
    maximum: float | None = None
    keep_non_finite: bool = False
    keep_nan: bool = False
    round: bool = False

    @property
    def stored(self) -> str:
        """The dtype as shards spell it."""
        return np.dtype(self.dtype).str

    def apply(self, values: AnyArray) -> tuple[AnyArray, list[tuple[str, str, BoolArray]]]:
        """Convert an array of int64, uint64 or float64.

        Returns
        -------
        numpy.ndarray
            The values in the dtype, zero where they do not fit.
        list
            Reason, what is allowed, and which values are affected, for each reason that occurs.
        """
        if not values.size:
            return values.astype(self.dtype), []
        faults: list[tuple[str, str, BoolArray]] = []
        if self.dtype.startswith("float"):
            if self._is_plain(values):
                return values.astype(self.dtype), []
            faults = self._float_faults(values)
        else:
            info = np.iinfo(self.dtype)
            low, high = info.min, info.max
            if self.minimum is not None:
                low = max(low, int(np.ceil(self.minimum)))
            if self.maximum is not None:
                high = min(high, int(np.floor(self.maximum)))
            if int(values.min()) < low or int(values.max()) > high:
                faults = [("out of range", f"{self.dtype} from {low} to {high}", _outside(values, low, high))]
        if not faults:
            return values.astype(self.dtype), []
        bad = np.logical_or.reduce([mask for _, _, mask in faults])
        return np.where(bad, values.dtype.type(0), values).astype(self.dtype), faults

    def _is_plain(self, values: AnyArray) -> bool:
        """Whether nothing needs a closer look: in range, and either exact as a whole number or a fraction."""
        info = np.finfo(self.dtype)
        low, high = -float(info.max), float(info.max)
        low = low if self.minimum is None else max(low, self.minimum)
        high = high if self.maximum is None else min(high, self.maximum)
        exact = float(info.max) if self.round or self.dtype == "float64" else 2.0 ** (info.nmant + 1)
        flat = np.ascontiguousarray(values).reshape(-1)
        return bool(kernels.all_plain(flat, low, high, exact, float(info.smallest_subnormal)))

    def _float_faults(self, values: AnyArray) -> list[tuple[str, str, BoolArray]]:
        found: list[tuple[str, str, BoolArray]] = []
        lowest, highest = float(values.min()), float(values.max())
        if not (np.isfinite(lowest) and np.isfinite(highest)):
            bad = self._not_finite(values)
            if bad is not None:
                found.append(("not finite", "a finite number", bad))
            values = np.where(np.isfinite(values), values, 0.0)
            lowest, highest = float(values.min()), float(values.max())
        limit = float(np.finfo(self.dtype).max)
        low = -limit if self.minimum is None else max(-limit, self.minimum)
        high = limit if self.maximum is None else min(limit, self.maximum)
        if lowest < low or highest > high:
            found.append(
                ("out of range", f"{self.dtype} from {low:g} to {high:g}", _outside(values, low, high))
            )
            values = np.clip(values, -limit, limit)
        inexact = self._inexact(values, max(-lowest, highest))
        if inexact is not None:
            found.append(inexact)
        return found

    def _not_finite(self, values: AnyArray) -> BoolArray | None:
        if self.keep_non_finite:
            return None
        bad: BoolArray = np.isinf(values) if self.keep_nan else ~np.isfinite(values)
        return bad if bad.any() else None

    def _inexact(self, values: AnyArray, largest: float) -> tuple[str, str, BoolArray] | None:
        if self.dtype == "float64":
            return None
        rounded = values.astype(self.dtype)
        vanished: BoolArray | None = None
        if np.count_nonzero(rounded) != np.count_nonzero(values):
            vanished = (rounded == 0) & (values != 0)
        digits = np.finfo(self.dtype).nmant + 1
        if not self.round and largest > 2.0**digits:
            whole = (
                (rounded.astype(np.float64) != values)
                & (values == np.floor(values))
                & (np.abs(values) <= EXACT_WHOLE)
            )
            if whole.any():
                bad = whole if vanished is None else whole | vanished
                return (
                    "inexact",
                    f"a whole number that {self.dtype} holds exactly; declare float64 or round: true",
                    bad,
                )
        if vanished is not None:
            return "inexact", f"a number that {self.dtype} does not round to zero; declare float64", vanished
        return None


def _outside(values: AnyArray, low: float, high: float) -> BoolArray:
    outside: npt.NDArray[np.bool_] = (values < low) | (values > high)
    return outside
