"""How encoded bytes become pixels: one immutable value with a fingerprint."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import xxhash

from assets.spec.images import ImageColumn
from shards.placement import Fit

PIXELS_REVISION: Final = 1
"""Raised whenever the same recipe gives other pixels than before."""

Filter: TypeAlias = Literal["bilinear", "bicubic", "lanczos", "area", "nearest"]
Mode: TypeAlias = Literal["rgb", "gray", "rgba", "keep16", "mask"]

_LIMITS: Final = ("max_pixels", "max_bytes", "timeout_seconds")


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides the pixels of one column; see the fields of the same names of `ImageColumn`.

    Parameters
    ----------
    size
        Height and width, pixels; None where `fit` is "none".
    mode
        "mask" keeps class numbers: palette indices and grey values are not turned into colours.
    """

    size: tuple[int, int] | None = None
    fit: Fit = "cover"
    filter: Filter = "bilinear"
    shorter_side: int | None = None
    pad_color: tuple[int, int, int] = (0, 0, 0)
    alpha_color: tuple[int, int, int] = (255, 255, 255)
    mode: Mode = "rgb"
    layout: Literal["hwc", "chw"] = "hwc"
    dtype: Literal["uint8", "uint16", "float32"] = "uint8"
    fast: bool = False
    max_pixels: int = 89_478_485
    max_bytes: int = 64 << 20
    timeout_seconds: float = 20.0

    @staticmethod
    def of(column: ImageColumn) -> Recipe:
        """Take the recipe out of a column specification."""
        names = [field.name for field in dataclasses.fields(Recipe)]
        return Recipe(**{name: getattr(column, name) for name in names})

    def for_mask(self) -> Recipe:
        """Give the recipe of a mask image that belongs to a picture of this recipe."""
        return dataclasses.replace(
            self, mode="mask", filter="nearest", dtype="uint8", pad_color=(0, 0, 0), fast=False
        )

    @property
    def num_channels(self) -> int:
        """Channels of the pixels; a mask has one that is not stored as an axis."""
        return {"rgb": 3, "rgba": 4}.get(self.mode, 1)

    @property
    def padding(self) -> tuple[int, ...]:
        """The colour around a picture, one value a channel."""
        if self.mode == "rgb":
            return self.pad_color
        if self.mode == "rgba":
            return (*self.pad_color, 255)
        red, green, blue = self.pad_color
        luma = (red * 19_595 + green * 38_470 + blue * 7_471 + 0x8000) >> 16  # ITU-R 601, as Pillow rounds it
        return (luma * 257 if self.mode == "keep16" else luma,)

    @property
    def shape(self) -> tuple[int, ...] | None:
        """Shape of the stored pixels; None where every picture has its own."""
        return None if self.size is None else self.shape_of(*self.size)

    def shape_of(self, height: int, width: int) -> tuple[int, ...]:
        """Shape of the pixels of a picture that is made this large."""
        if self.mode == "mask":
            return height, width
        channels = self.num_channels
        return (height, width, channels) if self.layout == "hwc" else (channels, height, width)

    @property
    def fingerprint(self) -> str:
        """Hash of what decides the pixels (not of the caps), 32 hexadecimal digits."""
        members = {key: value for key, value in self.to_json().items() if key not in _LIMITS}
        text = json.dumps({"revision": PIXELS_REVISION, **members}, sort_keys=True)
        return xxhash.xxh3_128_hexdigest(text.encode())

    def to_json(self) -> dict[str, Any]:
        """Give the recipe as JSON."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_json(members: dict[str, Any]) -> Recipe:
        """Give back what `to_json` made."""
        lists = {key: tuple(value) for key, value in members.items() if isinstance(value, list)}
        return Recipe(**{**members, **lists})
