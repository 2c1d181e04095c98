"""How pictures of `store: auto` are stored: as pixels where the declared disk allows it, else encoded.

The choice is made of nothing but the specification, so that it is the same for every partition, refresh and
machine, and changes only where somebody changes the file.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from assets.spec.images import ImageColumn

if TYPE_CHECKING:
    from assets.spec.dataset import DatasetSpec

CHANNELS = {"rgb": 3, "gray": 1, "rgba": 4}
KIB, GIB = 1 << 10, 1 << 30


def encoded_columns(spec: DatasetSpec) -> frozenset[str]:
    """Name the image columns whose pictures stay encoded.

    A column of `store: auto` is stored in the smaller form; where that is the encoded one, columns become
    pixels in the order of their declaration, each while the disk that is left takes the difference.
    """
    encoded = {name for name, column in _pictures(spec).items() if column.store == "encoded"}
    left = budget_bytes(spec) - least_bytes(spec)
    for name, column in automatic(spec).items():
        pixels, files = _row_bytes(column)
        extra = max(0.0, pixels - files) * (spec.storage.expected_rows or 0)
        if extra <= left:
            left -= extra
        else:
            encoded.add(name)
    return frozenset(encoded)


def least_bytes(spec: DatasetSpec) -> float:
    """Bytes that columns of `store: auto` take at least, over all expected rows."""
    rows = spec.storage.expected_rows or 0
    return sum(rows * min(_row_bytes(column)) for column in automatic(spec).values())


def budget_bytes(spec: DatasetSpec) -> float:
    """Bytes that they may take."""
    return float(spec.storage.pictures_gb or 0) * GIB


def automatic(spec: DatasetSpec) -> dict[str, ImageColumn]:
    """Give the columns of `store: auto`."""
    return {name: column for name, column in _pictures(spec).items() if column.store == "auto"}


def _pictures(spec: DatasetSpec) -> dict[str, ImageColumn]:
    return {name: column for name, column in spec.columns.items() if isinstance(column, ImageColumn)}


def _row_bytes(column: ImageColumn) -> tuple[float, float]:
    """Bytes of one picture as pixels, and encoded."""
    return math.prod(column.size or ()) * CHANNELS[column.mode], float(column.encoded_kb or 0) * KIB
