"""Exact sums of pixels: mergeable, so that the fit over partitions equals one over all rows."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from assets.vision.recipe import Recipe

_LUMA = {1: (1.0,), 3: (0.299, 0.587, 0.114), 4: (0.299, 0.587, 0.114, 0.0)}


@dataclass(slots=True)
class Moments:
    """Number of pixels, and for each channel the sum and the sum of squares.

    Integers of any size for integer pixels, so that merging in any order gives the same; floats for float32.
    """

    num_pixels: int = 0
    sums: list[int | float] = field(default_factory=list)
    squares: list[int | float] = field(default_factory=list)

    def add(self, other: Moments) -> None:
        """Merge another one into this one."""
        if not self.sums:
            self.sums, self.squares = [0] * len(other.sums), [0] * len(other.squares)
        self.num_pixels += other.num_pixels
        self.sums = [mine + its for mine, its in zip(self.sums, other.sums, strict=True)]
        self.squares = [mine + its for mine, its in zip(self.squares, other.squares, strict=True)]

    def mean(self) -> list[float]:
        """Mean of each channel."""
        return [total / self.num_pixels for total in self.sums] if self.num_pixels else []

    def std(self) -> list[float]:
        """Population standard deviation of each channel; integers are subtracted before they are divided."""
        number = self.num_pixels
        return [
            math.sqrt(max(0, number * squares - total * total)) / number
            for total, squares in zip(self.sums, self.squares, strict=True)
        ]

    def brightness(self) -> float:
        """Mean luma (ITU-R 601) of these pixels."""
        weights = _LUMA.get(len(self.sums), (1.0,))
        return sum(weight * value for weight, value in zip(weights, self.mean(), strict=False))

    def to_row(self) -> list[int | float]:
        """Number of pixels, sums, sums of squares: a row of the companion column."""
        return [self.num_pixels, *self.sums, *self.squares]

    @staticmethod
    def from_row(row: npt.NDArray[Any]) -> Moments:
        """Give back what `to_row` made."""
        number, *values = row.tolist()
        channels = len(values) // 2
        return Moments(int(number), values[:channels], values[channels:])

    def to_json(self) -> dict[str, Any]:
        """What a manifest keeps: exact sums, and the mean and deviation that follow from them."""
        return {
            "num_pixels": self.num_pixels,
            "sum": self.sums,
            "sum_squares": self.squares,
            "mean": self.mean(),
            "std": self.std(),
        }


def moments_of(pixels: npt.NDArray[Any], recipe: Recipe) -> Moments:
    """Sum the pixels of one picture, channel by channel."""
    channels = recipe.num_channels
    num_pixels = pixels.size // channels
    if pixels.dtype == np.uint8:
        return _of_bytes(pixels, channels, num_pixels, recipe.layout)
    channels_first = pixels if recipe.layout == "chw" else np.moveaxis(pixels, -1, 0)
    flat = channels_first.reshape(channels, -1)
    if pixels.dtype == np.uint16:
        whole = flat.astype(np.uint64)
        return Moments(num_pixels, whole.sum(axis=1).tolist(), np.einsum("ij,ij->i", whole, whole).tolist())
    values = flat.astype(np.float64)
    return Moments(num_pixels, values.sum(axis=1).tolist(), np.einsum("ij,ij->i", values, values).tolist())


def _of_bytes(pixels: npt.NDArray[np.uint8], channels: int, num_pixels: int, layout: str) -> Moments:
    from assets.vision.totals import add_bytes  # not at import: decoding children do without the compiler

    sums, squares = np.zeros(channels, np.uint64), np.zeros(channels, np.uint64)
    if layout == "hwc":
        add_bytes(pixels.reshape(len(pixels), -1), sums, squares)
    else:
        for channel in range(channels):
            add_bytes(pixels[channel], sums[channel : channel + 1], squares[channel : channel + 1])
    return Moments(num_pixels, [*sums.tolist()], [*squares.tolist()])
