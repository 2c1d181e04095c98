"""PNG framing (ISO/IEC 15948): size, and the checksum of every part, which decoders often skip."""

from __future__ import annotations

import zlib
from typing import Final

from assets.vision.errors import PictureError

_MAX_PARTS: Final = 1_000_000
_DEPTHS: Final = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}


def read(data: bytes) -> tuple[int, int]:
    """Give width and height; every part must be whole, with a right checksum, up to IEND."""
    if data[12:16] != b"IHDR" or len(data) < 33:
        raise PictureError(
            "bad_header", expected="IHDR as the first part", got=data[12:16].hex() or "nothing"
        )
    depth, color = data[24], data[25]
    if depth not in _DEPTHS.get(color, ()):
        raise PictureError(
            "bad_header", expected="a bit depth and colour type of PNG", got=f"{depth} and {color}"
        )
    _check_parts(data)
    return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")


def _check_parts(data: bytes) -> None:
    view = memoryview(data)
    at, has_pixels = 8, False
    for _ in range(_MAX_PARTS):
        if at + 12 > len(data):
            raise PictureError("truncated", expected="IEND", got="the end of the file")
        length = int.from_bytes(view[at : at + 4], "big")
        end = at + 8 + length
        if end + 4 > len(data):
            raise PictureError("truncated", expected=f"{length} bytes of a part", got=f"{len(data) - at - 8}")
        kind = bytes(view[at + 4 : at + 8])
        if zlib.crc32(view[at + 4 : end]) != int.from_bytes(view[end : end + 4], "big"):
            raise PictureError("corrupt", expected="the checksum of the part", got=f"another for {kind!r}")
        has_pixels = has_pixels or kind == b"IDAT"
        if kind == b"IEND":
            if not has_pixels:
                raise PictureError("truncated", expected="pixels before IEND", got="none")
            return
        at = end + 4
    raise PictureError("bad_header", expected=f"at most {_MAX_PARTS} parts", got="more")
