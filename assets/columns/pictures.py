"""What a snapshot takes from image columns: their channel statistics, merged exactly, and their fit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from assets.columns.kinds.base import BoolArray
from assets.columns.pins import Pinned
from assets.columns.recount import Kept
from assets.spec import DatasetSpec
from shards import Version

SUMS = "{name}__sums"
"""Column of the `images` asset: pixels of each row's picture, sums and sums of squares by channel."""


def merge_pictures(spec: DatasetSpec, pinned: Sequence[Pinned], kept: Kept) -> dict[str, dict[str, Any]]:
    """Merge the sums over the pixels of train rows of every image column; columns without are left out.

    Where a partition loses rows, the sums of those that are kept are added up from their companion column.
    """
    totals: dict[str, dict[str, Any]] = {}
    for at, one in enumerate(pinned):
        if one.images is None:
            continue
        train, rest = kept.of(at)
        whole = bool((train | rest).all())
        for name, written in one.images.statistics.items():
            part: Any = written.get("train", written) if isinstance(written, dict) else None
            if not isinstance(part, dict) or name not in spec.columns or not part.get("num_pixels"):
                continue
            total = totals.setdefault(name, {"num_pixels": 0, "sum": None, "sum_squares": None})
            if not whole:
                part = _sums_of(one.images, name, train)
            total["num_pixels"] += part["num_pixels"]
            for key in ("sum", "sum_squares"):
                before = total[key] or [0] * len(part[key])
                total[key] = [first + second for first, second in zip(before, part[key], strict=True)]
    totals = {name: total for name, total in totals.items() if total["num_pixels"]}
    for total in totals.values():
        total["mean"], total["std"] = _moments(total["num_pixels"], total["sum"], total["sum_squares"])
    return totals


def _sums_of(images: Version, name: str, rows: BoolArray) -> dict[str, Any]:
    """Add up the pixels of some rows' pictures: whole numbers exactly, however large."""
    present = f"{name}__present"
    if present in images.columns:
        rows = rows & np.asarray(images.column(present).read())
    sums = images.column(SUMS.format(name=name)).read()[rows]
    if sums.dtype.kind == "f":
        number, *values = sums.sum(axis=0).tolist()
    else:
        high, low = (sums >> 32).sum(axis=0).tolist(), (sums & 0xFFFFFFFF).sum(axis=0).tolist()
        number, *values = [(first << 32) + second for first, second in zip(high, low, strict=True)]
    channels = len(values) // 2
    return {"num_pixels": int(number), "sum": values[:channels], "sum_squares": values[channels:]}


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
