"""Pictures of image columns: as arrays, as files, in a terminal, on a contact sheet."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from shards import png
from shards.errors import InvalidArgument
from shards.schema import Column

_SHEET_PX = 128
_TERMINAL_PX = 40
_KINDS = ("image", "mask_image")


def is_picture(column: Column) -> bool:
    """Whether the rows of a column are pictures."""
    return column.kind in _KINDS


def encoded(column: Column, value: Any) -> tuple[bytes, str]:
    """Bytes of a picture's file and its suffix: as stored when it is stored encoded, else PNG."""
    if column.attributes.get("format") == "encoded":
        data = bytes(_plain(value) or b"")
        return data, "jpg" if data[:2] == b"\xff\xd8" else "png" if data[1:4] == b"PNG" else "img"
    return png.encode(_canonical(column, value)), "png"


def pixels(column: Column, value: Any) -> npt.NDArray[np.uint8]:
    """Picture as uint8 of shape (height, width, 3)."""
    if column.attributes.get("format") == "encoded":
        return _decode(bytes(_plain(value) or b""))
    array = _canonical(column, value)
    if array.dtype == np.uint16:
        array = (array >> 8).astype(np.uint8)
    if array.shape[2] != 3:
        array = np.repeat(array[:, :, :1], 3, axis=2) if array.shape[2] < 3 else array[:, :, :3]
    return array


def _plain(value: Any) -> Any:
    return value.as_py() if isinstance(value, pa.Scalar) else value


def _canonical(column: Column, value: Any) -> npt.NDArray[Any]:
    """Height, width, channels of uint8 or uint16."""
    if isinstance(value, pa.Scalar):
        members = value.as_py() or {"data": b"", "shape": [0, 0, 1]}
        dtype = np.dtype(str(column.attributes.get("dtype", "|u1")))
        value = np.frombuffer(members["data"], dtype).reshape(members["shape"])
    array = np.asarray(value)
    if array.ndim == 3 and column.attributes.get("layout") == "chw":
        array = array.transpose(1, 2, 0)
    if array.ndim == 2:
        array = array[:, :, None]
    if array.dtype.kind == "f":
        array = (np.clip(array, 0, 1) * 255).round().astype(np.uint8)
    return array


def _decode(data: bytes) -> npt.NDArray[np.uint8]:
    try:
        from PIL import Image
    except ImportError:
        raise InvalidArgument(
            "these pictures are stored encoded; showing them needs pillow: pip install pillow"
        ) from None
    with Image.open(io.BytesIO(data)) as picture:
        return np.asarray(picture.convert("RGB"), np.uint8)


def fitted(picture: npt.NDArray[np.uint8], height: int, width: int) -> npt.NDArray[np.uint8]:
    """Nearest pixels of a picture that fits into height and width, in its proportions."""
    if not picture.size:
        return np.zeros((1, 1, 3), np.uint8)
    scale = min(height / picture.shape[0], width / picture.shape[1])
    rows = max(1, int(picture.shape[0] * scale))
    columns = max(1, int(picture.shape[1] * scale))
    down = np.arange(rows) * picture.shape[0] // rows
    across = np.arange(columns) * picture.shape[1] // columns
    small: npt.NDArray[np.uint8] = picture[down[:, None], across]
    return small


def _grid(pictures: list[npt.NDArray[np.uint8]], cell_px: int, across: int) -> npt.NDArray[np.uint8]:
    """Every picture in a square of its own, so many in a row."""
    down = math.ceil(len(pictures) / across)
    sheet = np.zeros((down * cell_px, across * cell_px, 3), np.uint8)
    for position, picture in enumerate(pictures):
        small = fitted(picture, cell_px, cell_px)
        top, left = position // across * cell_px, position % across * cell_px
        sheet[top : top + small.shape[0], left : left + small.shape[1]] = small
    return sheet


def in_terminal(pictures: list[npt.NDArray[np.uint8]], width: int) -> str:
    """Pictures side by side as half blocks in 24-bit colour, two pixels a character, at most `width` wide."""
    cell = max(2, min(_TERMINAL_PX, width)) // 2 * 2
    sheet = _grid(pictures, cell, max(1, min(len(pictures), width // cell)))
    lines = []
    for upper, lower in zip(sheet[::2], sheet[1::2], strict=True):
        cells = (
            f"\x1b[38;2;{a[0]};{a[1]};{a[2]};48;2;{b[0]};{b[1]};{b[2]}m\u2580"
            for a, b in zip(upper.tolist(), lower.tolist(), strict=True)
        )
        lines.append("".join(cells) + "\x1b[0m")
    return "\n".join(lines)


def contact_sheet(pictures: list[npt.NDArray[np.uint8]]) -> bytes:
    """PNG of all pictures in a grid, each in a square of 128 pixels."""
    return png.encode(_grid(pictures, _SHEET_PX, max(1, math.ceil(math.sqrt(len(pictures))))))
