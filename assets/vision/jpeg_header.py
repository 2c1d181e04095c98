"""JPEG markers up to the first scan (ITU-T T.81, annex B): size, components, orientation, ICC profile."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from assets.vision import tiff_header
from assets.vision.errors import PictureError

_SOF: Final = frozenset({0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF})
_DECODABLE: Final = frozenset({0xC0, 0xC1, 0xC2})
_PROGRESSIVE: Final = 0xC2
_SOS, _EOI, _APP1, _APP2 = 0xDA, 0xD9, 0xE1, 0xE2
_ALONE: Final = frozenset({0x01, *range(0xD0, 0xD9)})
_MAX_MARKERS: Final = 4096
_XMP_ORIENTATION: Final = re.compile(rb"tiff:Orientation(?:=\"|>)([1-8])")


@dataclass(slots=True)
class JpegHeader:
    """What the markers say."""

    width: int = 0
    height: int = 0
    num_components: int = 0
    progressive: bool = False
    orientation: int = 1
    has_profile: bool = False


def read(data: bytes) -> JpegHeader:
    """Walk the markers; `PictureError` when they run out, contradict each other or cannot be decoded."""
    found = JpegHeader()
    exif, xmp = b"", b""
    at = 2
    for _ in range(_MAX_MARKERS):
        at = _next_marker(data, at)
        marker = data[at + 1]
        at += 2
        if marker in _ALONE:
            continue
        if marker == _EOI:
            raise PictureError("truncated", expected="a scan before the end of the picture", got="none")
        length = int.from_bytes(data[at : at + 2], "big")
        if length < 2 or at + length > len(data):
            raise PictureError("truncated", expected=f"{length} bytes of a segment", got=f"{len(data) - at}")
        body = at + 2
        if marker in _SOF:
            _frame(data, body, length, marker, found)
        elif marker == _APP1 and data.startswith(b"Exif\x00\x00", body):
            exif = exif or data[body + 6 : at + length]
        elif marker == _APP1 and data.startswith(b"http://ns.adobe.com/xap/1.0/\x00", body):
            xmp = xmp or data[body : at + length]
        elif marker == _APP2 and data.startswith(b"ICC_PROFILE\x00", body):
            found.has_profile = True
        elif marker == _SOS:
            if not found.num_components:
                raise PictureError("bad_header", expected="a frame before the first scan", got="none")
            found.orientation = _orientation(exif, xmp)
            return found
        at += length
    raise PictureError("bad_header", expected=f"at most {_MAX_MARKERS} segments", got="more")


def _next_marker(data: bytes, at: int) -> int:
    """Position of the 0xFF before the next marker code; fill bytes may stand before it."""
    if at + 2 > len(data):
        raise PictureError("truncated", expected="a scan", got="the end of the file")
    if data[at] != 0xFF:
        raise PictureError("corrupt", expected="a marker", got=f"byte {data[at]:02x}")
    while data[at + 1] == 0xFF:
        at += 1
        if at + 2 > len(data):
            raise PictureError("truncated", expected="a scan", got="the end of the file")
    return at


def _frame(data: bytes, body: int, length: int, marker: int, found: JpegHeader) -> None:
    if found.num_components:
        raise PictureError("bad_header", expected="one frame", got="two")
    if length < 8:
        raise PictureError("bad_header", expected="a frame header of 8 bytes or more", got=f"{length} bytes")
    if marker not in _DECODABLE:
        raise PictureError(
            "format_not_allowed", expected="baseline or progressive JPEG", got=f"SOF{marker - 0xC0}"
        )
    if data[body] != 8:
        raise PictureError("format_not_allowed", expected="JPEG of 8 bits", got=f"{data[body]} bits")
    found.height = int.from_bytes(data[body + 1 : body + 3], "big")
    found.width = int.from_bytes(data[body + 3 : body + 5], "big")
    found.num_components = data[body + 5]
    found.progressive = marker == _PROGRESSIVE
    if found.num_components not in (1, 3, 4):
        raise PictureError("bad_header", expected="1, 3 or 4 components", got=str(found.num_components))


def _orientation(exif: bytes, xmp: bytes) -> int:
    """Orientation by EXIF, else by XMP, else 1; a damaged block counts as none."""
    value = tiff_header.orientation(exif) if exif else 0
    if not value and xmp and (match := _XMP_ORIENTATION.search(xmp)):
        value = int(match[1])
    return value or 1
