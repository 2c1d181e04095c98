"""Sizes in RIFF (WebP container specification) and ISO base media boxes (AVIF, ISO/IEC 23008-12)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from assets.vision.errors import PictureError

_MAX_BOXES: Final = 4096


def read_webp(data: bytes) -> tuple[int, int]:
    """Width and height of a WebP's canvas."""
    if len(data) < 30:
        raise PictureError("truncated", expected="a WebP header of 30 bytes", got=f"{len(data)} bytes")
    declared = int.from_bytes(data[4:8], "little") + 8
    if declared > len(data):
        raise PictureError("truncated", expected=f"{declared} bytes", got=f"{len(data)} bytes")
    kind = data[12:16]
    if kind == b"VP8X":
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    if kind == b"VP8L" and data[20] == 0x2F:
        bits = int.from_bytes(data[21:25], "little")
        return (bits & 0x3FFF) + 1, ((bits >> 14) & 0x3FFF) + 1
    if kind == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        width, height = int.from_bytes(data[26:28], "little"), int.from_bytes(data[28:30], "little")
        return width & 0x3FFF, height & 0x3FFF
    raise PictureError("bad_header", expected="VP8, VP8L or VP8X", got=repr(kind))


def read_avif(data: bytes) -> tuple[int, int]:
    """Largest width and height that any `ispe` property declares."""
    width = height = 0
    for kind, start, stop in _boxes(data, 0, len(data)):
        if kind != b"meta":
            continue
        for inner, inner_start, inner_stop in _boxes(data, start + 4, stop):
            if inner != b"iprp":
                continue
            for part, part_start, part_stop in _boxes(data, inner_start, inner_stop):
                if part != b"ipco":
                    continue
                for name, at, _ in _boxes(data, part_start, part_stop):
                    if name == b"ispe":
                        width = max(width, int.from_bytes(data[at + 4 : at + 8], "big"))
                        height = max(height, int.from_bytes(data[at + 8 : at + 12], "big"))
    if not width:
        raise PictureError("bad_header", expected="an ispe property", got="none")
    return width, height


def _boxes(data: bytes, start: int, stop: int) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and stop of the content of each box; a box that leaves its parent is `truncated`."""
    at = start
    for _ in range(_MAX_BOXES):
        if at + 8 > stop:
            return
        size, kind, body = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8], at + 8
        if size == 1:
            size, body = int.from_bytes(data[at + 8 : at + 16], "big"), at + 16
        elif size == 0:
            size = stop - at
        if size < body - at or at + size > stop:
            raise PictureError("truncated", expected=f"{size} bytes of {kind!r}", got=f"{stop - at} bytes")
        yield kind, body, at + size
        at += size
    raise PictureError("bad_header", expected=f"at most {_MAX_BOXES} boxes", got="more")
