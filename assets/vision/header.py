"""Reading a picture's header without decoding anything: format, size, frames and the cost of decoding it.

Everything here is arithmetic on at most a few hundred bytes (for PNG also a checksum over the file), so that
a picture that is too large, cut short or absurd is refused before a decoder sees it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from assets.vision import boxes_header, jpeg_header, png_header, tiff_header
from assets.vision.errors import PictureError
from assets.vision.signature import Format, format_of

MAX_SIDE_PX: Final = 65_535
MAX_SCANS: Final = 64
"""Progressive JPEGs with more scans are decoded in a child process, under the time limit."""


@dataclass(frozen=True, slots=True)
class Header:
    """What is known of a picture before it is decoded.

    Parameters
    ----------
    format
        One of the allowed formats.
    width, height
        Pixels as stored, before any orientation is applied.
    orientation
        EXIF orientation, 1 to 8, where it is read from the header (JPEG); 0 where the decoder has to say.
    num_components
        Components of a JPEG (1 grey, 3 colour, 4 CMYK or YCCK); 0 for other formats.
    has_profile
        Whether a JPEG carries an ICC profile; False for other formats, where the decoder says.
    isolated
        Whether it is decoded in a child process: a decoder without a bound on its time, or of complex data.
    """

    format: Format
    width: int
    height: int
    orientation: int = 0
    num_components: int = 0
    has_profile: bool = False
    isolated: bool = False

    @property
    def num_pixels(self) -> int:
        """Pixels that decoding makes."""
        return self.width * self.height


def inspect(data: bytes, *, max_pixels: int, max_bytes: int) -> Header:
    """Read a header and hold it against the caps.

    Parameters
    ----------
    data
        The whole encoded picture.
    max_pixels, max_bytes
        Caps; a picture beyond one of them is refused.

    Raises
    ------
    PictureError
        With the reason; see `assets.vision.errors.Reason`.
    """
    if len(data) > max_bytes:
        raise PictureError("too_many_bytes", expected=f"at most {max_bytes} bytes", got=f"{len(data)} bytes")
    header = _READERS[format_of(data)](data)
    check_size(header.width, header.height, max_pixels)
    return header


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Refuse a picture without area, with a side above 65,535 or with more pixels than allowed."""
    if not (0 < width <= MAX_SIDE_PX and 0 < height <= MAX_SIDE_PX):
        raise PictureError(
            "bad_header", expected=f"sides of 1 to {MAX_SIDE_PX} pixels", got=f"{width}x{height}"
        )
    if width * height > max_pixels:
        raise PictureError(
            "too_many_pixels", expected=f"at most {max_pixels} pixels", got=f"{width}x{height}"
        )


def _jpeg(data: bytes) -> Header:
    found = jpeg_header.read(data)
    return Header(
        "JPEG",
        found.width,
        found.height,
        orientation=found.orientation,
        num_components=found.num_components,
        has_profile=found.has_profile,
        isolated=found.progressive and data.count(b"\xff\xda") > MAX_SCANS,
    )


def _png(data: bytes) -> Header:
    return Header("PNG", *png_header.read(data))


def _gif(data: bytes) -> Header:
    if len(data) < 13:
        raise PictureError("truncated", expected="a GIF header of 13 bytes", got=f"{len(data)} bytes")
    return Header(
        "GIF", int.from_bytes(data[6:8], "little"), int.from_bytes(data[8:10], "little"), isolated=True
    )


def _bmp(data: bytes) -> Header:
    if len(data) < 26:
        raise PictureError("truncated", expected="a BMP header of 26 bytes", got=f"{len(data)} bytes")
    if int.from_bytes(data[14:18], "little") == 12:
        size = int.from_bytes(data[18:20], "little"), int.from_bytes(data[20:22], "little")
    else:
        size = int.from_bytes(data[18:22], "little"), abs(int.from_bytes(data[22:26], "little", signed=True))
    return Header("BMP", *size, isolated=True)


def _webp(data: bytes) -> Header:
    return Header("WEBP", *boxes_header.read_webp(data), isolated=True)


def _avif(data: bytes) -> Header:
    return Header("AVIF", *boxes_header.read_avif(data), isolated=True)


def _tiff(data: bytes) -> Header:
    return Header("TIFF", *tiff_header.read(data), isolated=True)


_READERS: Final[dict[Format, Callable[[bytes], Header]]] = {
    "JPEG": _jpeg,
    "PNG": _png,
    "GIF": _gif,
    "BMP": _bmp,
    "WEBP": _webp,
    "AVIF": _avif,
    "TIFF": _tiff,
}
