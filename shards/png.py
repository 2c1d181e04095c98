"""PNG files of 8 and 16 bits with the standard library alone; see RFC 2083."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

from shards.errors import InvalidArgument

_COLOR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}


def encode(pixels: npt.NDArray[Any]) -> bytes:
    """PNG of an array of shape (height, width) or (height, width, 1 to 4), uint8 or uint16."""
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    if pixels.ndim != 3 or pixels.shape[2] not in _COLOR_TYPES or pixels.dtype not in (np.uint8, np.uint16):
        raise InvalidArgument(
            f"picture of {pixels.dtype} {pixels.shape}: allowed are height, width, 1 to 4 of uint8, uint16"
        )
    height, width, channels = pixels.shape
    rows = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder(">")).reshape(height, -1).view(np.uint8)
    filtered = np.zeros((height, rows.shape[1] + 1), np.uint8)
    filtered[:, 1:] = rows
    depth = 8 * pixels.dtype.itemsize
    head = struct.pack(">IIBBBBB", width, height, depth, _COLOR_TYPES[channels], 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + _part(b"IHDR", head)
        + _part(b"IDAT", zlib.compress(filtered.tobytes(), 6))
        + _part(b"IEND", b"")
    )


def _part(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
