"""Pictures stored as they came: encoded ones are decoded and resized, others only get their shape back."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from loaders import cells
from loaders.errors import DecodeFailed, InvalidOption
from loaders.pool import Pool
from shards import Column
from shards.placement import Fit, place

try:
    import simplejpeg
except ImportError:  # decodes JPEG faster than Pillow; nothing else needs it
    simplejpeg = None

JPEG = b"\xff\xd8\xff"
CHANNELS = {"rgb": 3, "gray": 1, "rgba": 4}
MODES = {"rgb": "RGB", "gray": "L", "rgba": "RGBA"}  # Pillow's names
FITS = ("contain", "cover", "stretch", "none")
FILTERS = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3, "area": 4}  # Pillow's own numbers


Fitted: TypeAlias = "Callable[[torch.Tensor], torch.Tensor]"
"""Applies to one picture what the snapshot holds."""


def is_picture(column: Column) -> bool:
    """Whether the rows of a column are pictures, masks of others among them."""
    return column.kind in ("image", "mask_image")


def is_encoded(column: Column) -> bool:
    """Whether the column holds the bytes of picture files."""
    return column.attributes.get("format") == "encoded"


def channels_first(column: Column) -> bool:
    """Whether pictures are handed out as (channels, height, width)."""
    return column.attributes.get("layout") == "chw"


@dataclass(frozen=True, slots=True)
class Finish:
    """What is done to a decoded picture, as the attributes of its column say (docs/format.md).

    Parameters
    ----------
    name, mode
        Of the column; its colour channels.
    size
        Height and width that all pictures are brought to; None where each keeps its own.
    fit, shorter_side
        See `shards.placement.place`.
    filter
        How pixels are resampled.
    padding
        One value a channel, around a picture that does not fill its canvas.
    channels_first
        Whether pictures are handed out as (channels, height, width).
    """

    name: str
    mode: str
    size: tuple[int, int] | None
    fit: Fit
    shorter_side: int | None
    filter: str
    padding: tuple[int, ...]
    channels_first: bool

    @classmethod
    def of(cls, column: Column) -> Finish:
        """Read the attributes of a column; InvalidOption where this release does not know what they say."""
        about: dict[str, Any] = {"mode": "rgb", "fit": "none", "filter": "bilinear", **column.attributes}
        for key, allowed in (("mode", CHANNELS), ("fit", FITS), ("filter", FILTERS)):
            if about[key] not in allowed:
                raise InvalidOption(
                    f"column {column.name}: {key} {about[key]!r} is not known; allowed: "
                    f"{', '.join(allowed)}; a newer release may have written this version"
                )
        return cls(
            column.name,
            about["mode"],
            tuple(about["size"]) if about.get("size") else None,
            about["fit"],
            about.get("shorter_side"),
            about["filter"],
            tuple(about.get("padding") or (0,)),
            channels_first(column),
        )

    def decoded(self, data: bytes) -> npt.NDArray[np.uint8]:
        """Decode and resize one picture to (height, width, channels)."""
        return self._resized(decode(data, self.mode, self.name))

    def _resized(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        placement = place(pixels.shape[1], pixels.shape[0], self.size, self.fit, self.shorter_side)
        (x, y), (width, height) = placement.corner, placement.kept
        if placement.resized == placement.source:
            part = pixels[y : y + height, x : x + width]
        elif self.filter == "nearest":
            columns, rows = placement.nearest()
            part = pixels[rows[:, np.newaxis], columns]
        else:
            from PIL import Image  # here, so that nothing but encoded pictures needs Pillow

            image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
            resized = image.resize(placement.kept, FILTERS[self.filter], box=placement.box)
            part = np.asarray(resized).reshape(height, width, -1)
        if placement.kept == placement.canvas:
            return part
        canvas = np.empty((placement.canvas[1], placement.canvas[0], pixels.shape[2]), np.uint8)
        canvas[...] = self.padding
        x, y = placement.offset
        canvas[y : y + height, x : x + width] = part
        return canvas


def has_size(column: Column) -> bool:
    """Whether encoded pictures are handed out in one size."""
    return is_encoded(column) and bool(column.attributes.get("size"))


def handed_out(column: Column) -> Column:
    """Describe encoded pictures of one size as they are handed out: as if pixels were stored."""
    if not has_size(column):
        return column
    finish = Finish.of(column)
    assert finish.size is not None
    channels = CHANNELS[finish.mode]
    shape = (channels, *finish.size) if finish.channels_first else (*finish.size, channels)
    return replace(column, encoding="npy", dtype="|u1", shape=shape, arrow_type="")


def decode_into(out: npt.NDArray[np.uint8], column: Column, found: cells.Cells) -> None:
    """Decode pictures into rows of one size; a row that the pipeline could not use becomes zeros.

    Raises
    ------
    DecodeFailed
        Bytes are no picture that the installed decoders read.
    """
    assert isinstance(found, cells.Text)
    finish, whole = Finish.of(column), found.values.data
    for row, (low, high) in zip(out, pairwise(found.bounds.tolist()), strict=True):
        if low == high:
            row[...] = 0
        else:
            target = row.transpose(1, 2, 0) if finish.channels_first else row
            target[...] = finish.decoded(bytes(whole[low:high]))


def tensors(column: Column, found: cells.Cells, fit: Fitted | None) -> list[torch.Tensor]:
    """Give one tensor a picture, in the layout of the column, each by itself through its fits.

    Raises
    ------
    DecodeFailed
        Bytes are no picture that the installed decoders read.
    """
    if isinstance(found, cells.Text):
        whole = found.values.tobytes()
        pairs = pairwise(found.bounds.tolist())
        finish = Finish.of(column)
        decoded = (finish.decoded(whole[low:high]) for low, high in pairs)
        turned = (pixels.transpose(2, 0, 1) if finish.channels_first else pixels for pixels in decoded)
        shown = [torch.from_numpy(np.ascontiguousarray(pixels)) for pixels in turned]
    elif isinstance(found, cells.Record) and {"data", "shape"} <= set(found.members):
        shown = _shaped(column, found)
    else:
        raise InvalidOption(
            f"column {column.name}: an image of Arrow type {column.arrow_type} cannot be loaded"
        )
    return shown if fit is None else [fit(picture) for picture in shown]


def decode(data: bytes, mode: str, name: str = "image") -> npt.NDArray[np.uint8]:
    """Decode one picture to uint8 (height, width, channels); JPEG by simplejpeg where it is installed.

    A row that the pipeline could not use has no bytes; it becomes one black pixel.
    """
    if not data:
        return np.zeros((1, 1, CHANNELS.get(mode, 3)), np.uint8)
    try:
        colors: npt.NDArray[np.uint8] | None = None
        if simplejpeg is not None and data.startswith(JPEG):
            colors = simplejpeg.decode_jpeg(data)
            if mode == "rgb":
                return colors
        from PIL import Image  # here, so that nothing but encoded pictures needs Pillow

        with Image.open(io.BytesIO(data)) if colors is None else Image.fromarray(colors) as picture:
            array = np.array(picture.convert(MODES.get(mode, "RGB")))
    except (ValueError, OSError, SyntaxError) as error:
        raise DecodeFailed(f"column {name}: {len(data)} bytes cannot be decoded: {error}") from error
    return array if array.ndim == 3 else array[:, :, None]


def pad(column: Column, pictures: list[torch.Tensor], pool: Pool) -> dict[str, Any]:
    """Lay pictures into one tensor, filled with zeros at the bottom and at the right, with their sizes."""
    first = int(channels_first(column))
    sizes = np.array([picture.shape[first : first + 2] for picture in pictures], np.int64).reshape(-1, 2)
    shapes = np.array([picture.shape for picture in pictures], np.int64)
    shape = tuple(shapes.max(axis=0).tolist()) if len(pictures) else (0, 0, 0)
    kind = pictures[0].numpy().dtype if pictures else np.dtype(np.uint8)
    tensor, array = pool.zeros((len(pictures), *shape), kind)
    for position, picture in enumerate(pictures):
        corner: tuple[slice, ...] = tuple(slice(size) for size in picture.shape)
        array[position][corner] = picture.numpy()
    return {column.name: tensor, f"{column.name}__sizes": torch.from_numpy(sizes)}


def _shaped(column: Column, found: cells.Record) -> list[torch.Tensor]:
    data, shape = found.members["data"], found.members["shape"]
    assert isinstance(data, cells.Text)
    assert isinstance(shape, cells.FixedList)
    assert isinstance(shape.elements, cells.Fixed)
    dtype = np.dtype(str(column.attributes.get("dtype", "|u1")))
    shapes = shape.elements.values.reshape(-1, shape.size).tolist()
    found_tensors = []
    for (low, high), dimensions in zip(pairwise(data.bounds.tolist()), shapes, strict=True):
        array = data.values[low:high]
        if low % dtype.itemsize:  # a view of wider numbers must begin at a multiple of their size
            array = array.copy()
        found_tensors.append(torch.from_numpy(array.view(dtype).reshape(dimensions)))
    return found_tensors
