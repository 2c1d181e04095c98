"""Pictures that stay encoded: the original bytes where any plain decoder gives the right pixels, else PNG."""

from __future__ import annotations

import io
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image

from assets.vision.recipe import Recipe
from assets.vision.signature import format_of

_KEPT: Final = frozenset({"JPEG", "PNG", "WEBP"})
_MODES: Final = {"rgb": "RGB", "gray": "L", "rgba": "RGBA"}


def keep_or_encode(data: bytes, pixels: npt.NDArray[Any], recipe: Recipe) -> bytes:
    """Give bytes that decode to `pixels` with nothing but a decoder and a conversion of mode.

    The original is kept when that holds for it; a picture that needs its orientation, its profile or a colour
    behind its transparent pixels is stored as PNG, without loss, with all of that applied.

    Parameters
    ----------
    data
        The original, which decodes.
    pixels
        (H, W, channels), as `render` gave them at full size.
    """
    if format_of(data) in _KEPT and _decodes_to(data, pixels, recipe):
        return data
    image = Image.fromarray(np.ascontiguousarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels))
    target = io.BytesIO()
    image.save(target, "PNG", compress_level=6)
    return target.getvalue()


def _decodes_to(data: bytes, pixels: npt.NDArray[Any], recipe: Recipe) -> bool:
    """Whether plain decoders, which are those of the loader, give exactly these pixels."""
    try:
        if format_of(data) == "JPEG":
            image = Image.fromarray(simplejpeg.decode_jpeg(data))
        else:
            image = Image.open(io.BytesIO(data), formats=sorted(_KEPT))
        plain = np.asarray(image.convert(_MODES[recipe.mode]))
    except (OSError, ValueError, Image.DecompressionBombError):
        return False
    return np.array_equal(plain.reshape(*plain.shape[:2], -1), pixels)
