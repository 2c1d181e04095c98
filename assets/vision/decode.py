"""Decoding: JPEG by libjpeg-turbo, strictly; everything else by the one Pillow class of its format."""

from __future__ import annotations

import io
import struct
import threading
import zlib
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from assets.vision.errors import PictureError
from assets.vision.header import Header, check_size
from assets.vision.signature import Format

# The classes are called directly: `Image.open` would try other formats, and warns of large pictures, which
# the caps have already dealt with.
_CLASSES: Final[dict[Format, Callable[[io.BytesIO], ImageFile.ImageFile]]] = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "AVIF": AvifImagePlugin.AvifImageFile,
}
_ORIENTATION: Final = 0x0112
_SCRATCH_BYTES: Final = 16 << 20
_SHARPNESS: Final = 2.0
"""A JPEG decoded smaller keeps at least this many pixels a pixel of the result and axis."""

# What Pillow's decoders raise over damaged data; everything else is a defect and shall be seen.
_DAMAGE: Final = (
    OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, AttributeError, EOFError,
    OverflowError, ZeroDivisionError, RuntimeError, NotImplementedError, struct.error, zlib.error,
    Image.DecompressionBombError,
)  # fmt: skip


class _Scratch(threading.local):
    """Memory of one thread that pictures are decoded into: fresh memory costs as much as half of a resize."""

    def __init__(self) -> None:
        self._memory = np.empty(0, np.uint8)

    def of(self, num_bytes: int) -> npt.NDArray[np.uint8] | None:
        """Give memory for a picture; None for large ones, which shall not be held on to."""
        if num_bytes > _SCRATCH_BYTES:
            return None
        if len(self._memory) < num_bytes:
            self._memory = np.empty(num_bytes, np.uint8)
        return self._memory


_SCRATCH: Final = _Scratch()


def jpeg_pixels(
    data: bytes, header: Header, resized: tuple[int, int] | None = None, *, scratch: bool = False
) -> npt.NDArray[np.uint8]:
    """Decode a JPEG of one or three components, refusing what only warns elsewhere (damage in the middle).

    Parameters
    ----------
    resized
        Width and height that the whole picture will be resized to; given, the picture may be decoded at a
        fraction of its size, at least twice as large as that.
    scratch
        Whether the pixels may lie in memory that the next call of this thread overwrites.

    Returns
    -------
    numpy.ndarray
        (H, W, 3) for colour, (H, W, 1) for grey, uint8.
    """
    space = {1: "GRAY", 3: "RGB", 4: "CMYK"}[header.num_components]
    smallest = {}
    if resized is not None:
        smallest = {
            "min_width": min(header.width, int(resized[0] * _SHARPNESS)),
            "min_height": min(header.height, int(resized[1] * _SHARPNESS)),
        }
    memory = _SCRATCH.of(header.num_pixels * len(space)) if scratch else None
    try:
        pixels: npt.NDArray[np.uint8] = simplejpeg.decode_jpeg(data, space, buffer=memory, **smallest)
    except ValueError as error:
        raise _damaged(error) from None
    except MemoryError:
        raise _too_large(header.format, header.width, header.height) from None
    return pixels


def jpeg_image(data: bytes, header: Header) -> Image.Image:
    """Decode any JPEG as a Pillow image that carries its ICC profile."""
    pixels = jpeg_pixels(data, header)
    if header.num_components == 4:
        inks = 255 - pixels  # Adobe stores them inverted
        image = Image.frombytes("CMYK", (pixels.shape[1], pixels.shape[0]), inks.tobytes())
    else:
        image = Image.fromarray(pixels[..., 0] if header.num_components == 1 else pixels)
    if header.has_profile:
        profile = _opened(data, "JPEG").info.get("icc_profile")
        if profile:
            image.info["icc_profile"] = profile
    return image


def pillow_image(data: bytes, header: Header, max_pixels: int) -> tuple[Image.Image, int]:
    """Decode the first frame; give it with its EXIF orientation, which is not applied yet."""
    image = _opened(data, header.format)
    check_size(image.width, image.height, max_pixels)
    try:
        image.seek(0)
        image.load()
    except MemoryError:
        raise _too_large(header.format, image.width, image.height) from None
    except _DAMAGE as error:
        raise _damaged(error) from None
    check_size(image.width, image.height, max_pixels)
    return image, _orientation(image)


def _opened(data: bytes, name: Format) -> ImageFile.ImageFile:
    try:
        return _CLASSES[name](io.BytesIO(data))
    except _DAMAGE as error:
        raise _damaged(error) from None


def _orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 where the block is absent or damaged."""
    try:
        value: Any = image.getexif().get(_ORIENTATION, 1)
    except _DAMAGE:
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _damaged(error: Exception) -> PictureError:
    text = " ".join(str(error).split())[:120]
    cut = any(word in text.lower() for word in ("truncated", "premature end", "not enough", "unexpected end"))
    return PictureError("truncated" if cut else "corrupt", expected="a picture that decodes", got=text)


def _too_large(name: Format, width: int, height: int) -> PictureError:
    return PictureError("out_of_memory", expected=f"memory to decode a {name}", got=f"{width}x{height}")
