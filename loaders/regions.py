"""Which huge pages of mapped files rows lie in, and how much of each they take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from loaders.files import Rows
from loaders.pages import HUGE, PAGE

Span: TypeAlias = "tuple[int, int]"
"""Addresses at which memory begins and ends."""


class Regions:
    """The files of some maps cut into regions of a huge page each, numbered through.

    Parameters
    ----------
    extents
        Addresses at which each map begins and ends.
    """

    def __init__(self, extents: Sequence[Span]) -> None:
        self._starts, self._stops = np.array(extents, np.int64).reshape(-1, 2).T
        ends = np.cumsum(-(-(self._stops - self._starts) // HUGE))
        self._firsts = np.concatenate([[0], ends])
        maps = np.repeat(np.arange(len(extents)), np.diff(self._firsts))
        self.begins: Rows = self._starts[maps] + (np.arange(len(maps)) - self._firsts[maps]) * HUGE
        """Address at which each region begins."""
        self.ends: Rows = np.minimum(self.begins + HUGE, self._stops[maps])
        """Address at which each region ends."""

    def of(self, maps: Rows, addresses: Rows) -> Rows:
        """Give the region of each address, which lies in a map of a known number."""
        found: Rows = self._firsts[maps] + (addresses - self._starts[maps]) // HUGE
        return found

    def taken(self, first: Rows, last: Rows, addresses: Rows, row_bytes: int) -> Rows:
        """Give how many bytes of each region belong to rows that begin at `addresses`, in these regions."""
        taken = np.zeros(len(self.begins), np.int64)
        for step in range(int((last - first).max(initial=0)) + 1):
            here = first + step <= last
            region, start = (first + step)[here], addresses[here]
            part = np.minimum(start + row_bytes, self.ends[region]) - np.maximum(start, self.begins[region])
            taken += np.bincount(region, part, len(taken)).astype(np.int64)
        return taken

    def spans(self, is_chosen: npt.NDArray[np.bool_]) -> list[Span]:
        """Give chosen regions as spans of addresses."""
        return runs(self.begins[is_chosen], self.ends[is_chosen], 0)

    def without(
        self, is_chosen: npt.NDArray[np.bool_], first: Rows, last: Rows, starts: Rows, stops: Rows
    ) -> tuple[Rows, Rows]:
        """Give what is left of stretches, from a region to another each, without chosen regions."""
        starts = np.where(is_chosen[first], self.ends[first], starts)
        stops = np.where(is_chosen[last], self.begins[last], stops)
        is_left = starts < stops
        return starts[is_left], stops[is_left]


def runs(starts: Rows, stops: Rows, bridged_bytes: int) -> list[Span]:
    """Join what begins and ends at these addresses, over gaps that are not longer, from starts of pages."""
    if not len(starts):
        return []
    order = np.argsort(starts)
    starts, stops = starts[order] - starts[order] % PAGE, stops[order]
    breaks = np.flatnonzero(starts[1:] - stops[:-1] > bridged_bytes)
    firsts = starts[np.concatenate([[0], breaks + 1])].tolist()
    lasts = stops[np.concatenate([breaks, [len(stops) - 1]])].tolist()
    return list(zip(firsts, lasts, strict=True))
