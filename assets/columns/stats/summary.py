"""What is known about a column over some rows: the unit that partitions store and snapshots merge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from assets.columns.sorting import sorted_finite
from assets.columns.stats.counts import Counts
from assets.columns.stats.histogram import Histogram
from assets.columns.stats.moments import Moments
from assets.columns.stats.sketch import Sketch


@dataclass(slots=True)
class NumberSummary:
    """Moments of `width` elements, quantiles of each where asked for, a histogram of a single one."""

    moments: Moments
    sketches: list[Sketch] | None
    histogram: Histogram | None

    @classmethod
    def empty(cls, width: int | None, quantiles: bool) -> NumberSummary:
        """Give the summary of no rows; `width` is None for one number a row."""
        num = 1 if width is None else width
        return cls(
            Moments.empty(num),
            [Sketch.empty() for _ in range(num)] if quantiles else None,
            Histogram.empty() if width is None else None,
        )

    @classmethod
    def of(
        cls, values: npt.NDArray[Any], quantiles: bool, rows: npt.NDArray[np.bool_] | None = None
    ) -> NumberSummary:
        """Summarise values of shape (rows,) or (rows, width), or those where `rows` is True.

        NaN and infinities are left out.
        """
        if values.ndim == 1:
            numbers = sorted_finite(values, rows)
            sketches = [Sketch.of_sorted(numbers)] if quantiles else None
            return cls(Moments.of_sorted(numbers), sketches, Histogram.of_sorted(numbers))
        sketches = None
        if quantiles:
            sketches = [Sketch.of_sorted(sorted_finite(column, rows)) for column in values.T]
        return cls(Moments.of(values, rows), sketches, None)

    def merge(self, other: NumberSummary) -> NumberSummary:
        """Give the summary of both sets of rows together."""
        sketches = None
        if self.sketches is not None and other.sketches is not None:
            sketches = [
                first.merge(second) for first, second in zip(self.sketches, other.sketches, strict=True)
            ]
        histogram = None
        if self.histogram is not None and other.histogram is not None:
            histogram = self.histogram.merge(other.histogram)
        return NumberSummary(self.moments.merge(other.moments), sketches, histogram)

    def to_json(self) -> dict[str, Any]:
        """Write as JSON, with the standard deviation for readers."""
        written: dict[str, Any] = {**self.moments.to_json(), "std": self.moments.std.tolist()}
        if self.sketches is not None:
            written["sketches"] = [sketch.to_json() for sketch in self.sketches]
        if self.histogram is not None:
            written["histogram"] = self.histogram.to_json()
        return written

    @classmethod
    def from_json(cls, written: Mapping[str, Any]) -> NumberSummary:
        """Read what `to_json` wrote."""
        sketches, histogram = written.get("sketches"), written.get("histogram")
        return cls(
            Moments.from_json(written),
            None if sketches is None else [Sketch.from_json(sketch) for sketch in sketches],
            None if histogram is None else Histogram.from_json(histogram),
        )


@dataclass(slots=True)
class Summary:
    """A column over some rows.

    Parameters
    ----------
    rows, missing, non_finite
        Rows seen, those without a value, and NaN or infinite numbers kept on request.
    values
        The stored numbers.
    spaces
        The numbers after the fixed steps at the head of the column's transform, by the steps' text, where
        a fit is made from them.
    lengths
        Characters of a text, elements of a list, bytes of a binary value, tokens.
    counts
        How often each value occurs.
    """

    rows: int = 0
    missing: int = 0
    non_finite: int = 0
    values: NumberSummary | None = None
    spaces: dict[str, NumberSummary] = field(default_factory=dict)
    lengths: NumberSummary | None = None
    counts: Counts | None = None

    def merge(self, other: Summary) -> Summary:
        """Give the summary of both sets of rows together."""
        spaces = dict(self.spaces)
        for name, summary in other.spaces.items():
            spaces[name] = spaces[name].merge(summary) if name in spaces else summary
        return Summary(
            self.rows + other.rows,
            self.missing + other.missing,
            self.non_finite + other.non_finite,
            _merge(self.values, other.values),
            spaces,
            _merge(self.lengths, other.lengths),
            _merge(self.counts, other.counts),
        )

    def to_json(self) -> dict[str, Any]:
        """Write as JSON."""
        written: dict[str, Any] = {"rows": self.rows, "missing": self.missing, "non_finite": self.non_finite}
        if self.values is not None:
            written["values"] = self.values.to_json()
        if self.spaces:
            written["spaces"] = {name: summary.to_json() for name, summary in self.spaces.items()}
        if self.lengths is not None:
            written["lengths"] = self.lengths.to_json()
        if self.counts is not None:
            written["counts"] = self.counts.to_json()
        return written

    @classmethod
    def from_json(cls, written: Mapping[str, Any]) -> Summary:
        """Read what `to_json` wrote."""
        values, lengths, counts = written.get("values"), written.get("lengths"), written.get("counts")
        return cls(
            int(written["rows"]),
            int(written["missing"]),
            int(written["non_finite"]),
            None if values is None else NumberSummary.from_json(values),
            {name: NumberSummary.from_json(part) for name, part in written.get("spaces", {}).items()},
            None if lengths is None else NumberSummary.from_json(lengths),
            None if counts is None else Counts.from_json(counts),
        )


def _merge(first: Any, second: Any) -> Any:
    if first is None or second is None:
        return second if first is None else first
    return first.merge(second)
