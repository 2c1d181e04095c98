"""Pictures of the previous version that need not be made again: the same source bytes and the same recipe."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from assets.vision.plan import ImagePlan
from shards import ColumnReader, Version

Rows: TypeAlias = npt.NDArray[np.int64]


class Previous:
    """What a version holds, by column and source hash; nothing where there is none. Thread-safe.

    Parameters
    ----------
    version
        The version before this one, or None.
    plans
        The image columns of now; a column made by another recipe is not taken over.
    """

    def __init__(self, version: Version | None, plans: list[ImagePlan]) -> None:
        self._version = version
        self._index: dict[str, tuple[npt.NDArray[np.uint64], Rows, npt.NDArray[np.uint64]]] = {}
        if version is None:
            return
        for plan in plans:
            for name in (plan.name, *(mask.name for mask in plan.masks)):
                known = version.columns.get(name)
                if (
                    known is not None
                    and known.attributes.get("recipe") == plan.fingerprint
                    and f"{name}__source" in version.columns
                ):
                    self._index[name] = _index(version.column(f"{name}__source"))

    @property
    def number(self) -> int | None:
        """Number of the version, None where there is none."""
        return None if self._version is None else self._version.number

    def find(self, name: str, digest: bytes) -> int | None:
        """Row whose column was made of a source with this hash, if any."""
        if name not in self._index:
            return None
        sorted_low, rows, high = self._index[name]
        low, rest = np.frombuffer(digest, "<u8")
        first = int(np.searchsorted(sorted_low, low))
        while first < len(sorted_low) and sorted_low[first] == low:
            if high[first] == rest:
                return int(rows[first])
            first += 1
        return None

    def column(self, name: str) -> ColumnReader:
        """Reader of a column of the previous version."""
        assert self._version is not None
        return self._version.column(name)


def _index(reader: ColumnReader) -> tuple[npt.NDArray[np.uint64], Rows, npt.NDArray[np.uint64]]:
    """Low halves of the hashes, sorted, with rows and high halves; rows without a picture are left out."""
    hashes: npt.NDArray[Any] = np.ascontiguousarray(reader.read()).view("<u8").reshape(-1, 2)
    rows = np.flatnonzero(hashes.any(axis=1))
    order = rows[np.argsort(hashes[rows, 0], kind="stable")]
    return hashes[order, 0].copy(), order.astype(np.int64), hashes[order, 1].copy()
