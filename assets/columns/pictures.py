"""What a snapshot takes from image columns: their channel statistics, merged exactly, and their fit."""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction
from typing import Any

from assets.spec import DatasetSpec
from shards import Version


def merge_pictures(spec: DatasetSpec, images: Iterable[Version]) -> dict[str, dict[str, Any]]:
    """Merge the sums over train pixels of every image column; columns without pixels are left out."""
    totals: dict[str, dict[str, Any]] = {}
    for version in images:
        for name, written in version.statistics.items():
            part: Any = written.get("train", written) if isinstance(written, dict) else None
            if not isinstance(part, dict) or name not in spec.columns or not part.get("num_pixels"):
                continue
            total = totals.setdefault(name, {"num_pixels": 0, "sum": None, "sum_squares": None})
            total["num_pixels"] += part["num_pixels"]
            for key in ("sum", "sum_squares"):
                before = total[key] or [0] * len(part[key])
                total[key] = [first + second for first, second in zip(before, part[key], strict=True)]
    for total in totals.values():
        total["mean"], total["std"] = _moments(total["num_pixels"], total["sum"], total["sum_squares"])
    return totals


def _moments(
    num_pixels: int, sums: list[int | float], squares: list[int | float]
) -> tuple[list[float], list[float]]:
    mean = [float(Fraction(total) / num_pixels) for total in sums]
    spread = [
        max(Fraction(0), Fraction(square) / num_pixels - (Fraction(total) / num_pixels) ** 2)
        for total, square in zip(sums, squares, strict=True)
    ]
    return mean, [math.sqrt(value) for value in spread]


def picture_transforms(
    spec: DatasetSpec, statistics: dict[str, dict[str, Any]]
) -> dict[str, list[dict[str, Any]]]:
    """Fit the transforms that image columns declare: mean and standard deviation of each channel.

    `axis` is the axis of the channels in a batch as it is stored.
    """
    transforms = {}
    for name, column in spec.image_columns.items():
        found = statistics.get(name)
        if "standardize" not in getattr(column, "transform", ()) or found is None:
            continue
        axis = 1 if column.layout == "chw" else -1
        std = [value if value > 0 else 1.0 for value in found["std"]]
        transforms[name] = [{"op": "standardize", "mean": found["mean"], "std": std, "axis": axis}]
    return transforms
