"""How often each value occurs: exact up to a cap of distinct values, heavy hitters with a bound beyond it.

Beyond the cap, the counter of Misra and Gries in the mergeable form of Agarwal et al. ("Mergeable summaries",
2013): no count is too high, and none is too low by more than `error`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Value: TypeAlias = str | int | bool

CAP = 1_024
MAX_CHARACTERS = 200


@dataclass(slots=True)
class Counts:
    """Counts by value.

    Parameters
    ----------
    counts
        Value to count; at most `CAP` values.
    total
        Values counted, those without an entry as well.
    error
        Upper bound of how much a count is too low; 0 while counts are exact.
    """

    counts: dict[Value, int] = field(default_factory=dict)
    total: int = 0
    error: int = 0

    def add(self, values: list[Any], counts: list[int]) -> None:
        """Count values, each given once with its number."""
        for value, count in zip(values, counts, strict=True):
            key = short(value)
            self.counts[key] = self.counts.get(key, 0) + count
            self.total += count
        self._shrink()

    def merge(self, other: Counts) -> Counts:
        """Give the counts of both together."""
        counts = dict(self.counts)
        for value, count in other.counts.items():
            counts[value] = counts.get(value, 0) + count
        merged = Counts(counts, self.total + other.total, self.error + other.error)
        merged._shrink()
        return merged

    def _shrink(self) -> None:
        if len(self.counts) <= CAP:
            return
        cut = sorted(self.counts.values(), reverse=True)[CAP]
        self.counts = {value: count - cut for value, count in self.counts.items() if count > cut}
        self.error += cut

    def top(self, num_values: int) -> list[tuple[Value, int]]:
        """Most frequent values, ties in the order of the values' text."""
        ranked = sorted(self.counts.items(), key=lambda pair: (-pair[1], str(pair[0])))
        return ranked[:num_values]

    def to_json(self) -> dict[str, Any]:
        """Write as JSON, most frequent first."""
        pairs = self.top(CAP)
        return {
            "values": [value for value, _ in pairs],
            "counts": [count for _, count in pairs],
            "total": self.total,
            "error": self.error,
        }

    @classmethod
    def from_json(cls, written: Mapping[str, Any]) -> Counts:
        """Read what `to_json` wrote."""
        return cls(
            dict(zip(written["values"], written["counts"], strict=True)), written["total"], written["error"]
        )


def short(value: Any) -> Value:
    """Cut a long string, so that statistics stay small; the length keeps most of them apart."""
    if isinstance(value, str) and len(value) > MAX_CHARACTERS:
        return f"{value[:MAX_CHARACTERS]}… ({len(value)} characters)"
    return value if isinstance(value, (str, int, bool)) else str(value)
