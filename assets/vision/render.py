"""One picture from encoded bytes to the pixels of its column."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from assets.vision import decode, resize
from assets.vision.color import to_mode
from assets.vision.errors import PictureError
from assets.vision.geometry import Placement, place, shown_size
from assets.vision.header import Header
from assets.vision.recipe import Recipe

_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True, slots=True)
class Rendered:
    """Pixels, and the frame of the source that boxes, points and masks refer to.

    Parameters
    ----------
    pixels
        Shape `Recipe.shape` (or, of varying shape, the same axes), C order, dtype `Recipe.dtype`.
    width, height
        Of the source as stored, pixels.
    orientation
        EXIF orientation that was applied, 1 to 8.
    """

    pixels: npt.NDArray[Any]
    width: int
    height: int
    orientation: int


def render(data: bytes, header: Header, recipe: Recipe, orientation: int | None = None) -> Rendered:
    """Decode, orient, convert and resize one picture; holds no state, any number of threads may call it.

    Parameters
    ----------
    data, header
        The encoded picture, and what `inspect` found.
    recipe
        What to make of it.
    orientation
        Applied instead of the picture's own; for masks, which turn with their picture.

    Raises
    ------
    PictureError
        With the reason.
    """
    if _is_plain(header, recipe):
        return _plain_jpeg(data, header, recipe, orientation)
    if header.format == "JPEG":
        image, own = decode.jpeg_image(data, header), header.orientation
    else:
        image, own = decode.pillow_image(data, header, recipe.max_pixels)
    width, height = image.size
    turn = own if orientation is None else orientation
    image = _turned(to_mode(image, recipe), turn)
    placement = _placed(image.size, recipe)
    pixels = _paste(np.asarray(_resized(image, placement, recipe)), placement, recipe)
    return Rendered(_finish(pixels, recipe), width, height, turn)


def _is_plain(header: Header, recipe: Recipe) -> bool:
    """Whether this is a JPEG in colour without a profile, for a column in colour: most photographs."""
    return (
        header.format == "JPEG"
        and header.num_components == 3
        and not header.has_profile
        and recipe.mode == "rgb"
    )


def _plain_jpeg(data: bytes, header: Header, recipe: Recipe, orientation: int | None) -> Rendered:
    turn = header.orientation if orientation is None else orientation
    placement = _placed(shown_size(header.width, header.height, turn), recipe)
    swapped = shown_size(*placement.resized, turn)
    smaller = swapped if recipe.fast and recipe.filter != "nearest" else None
    pixels = decode.jpeg_pixels(data, header, smaller, scratch=True)
    scale = 1.0 if pixels.shape[:2] == (header.height, header.width) else _fraction(pixels.shape, header)
    if recipe.filter == "bilinear" and turn == 1 and placement.resized != placement.source:
        part = resize.resized(pixels, placement, scale)
    else:
        image = _turned(Image.fromarray(pixels), turn)
        part = np.asarray(resize.by_pillow(image, placement, recipe.filter, scale))
    return Rendered(_finish(_paste(part, placement, recipe), recipe), header.width, header.height, turn)


def _placed(size: tuple[int, int], recipe: Recipe) -> Placement:
    """Place a picture; a strip whose shorter side is enlarged must not grow beyond the cap either."""
    placement = place(*size, recipe)
    width, height = placement.canvas
    if recipe.size is None and width * height > recipe.max_pixels:
        raise PictureError(
            "too_many_pixels", expected=f"at most {recipe.max_pixels}", got=f"{width}x{height} when resized"
        )
    return placement


def _fraction(shape: tuple[int, ...], header: Header) -> float:
    """The k/8 that a JPEG was decoded at; its true extent is w*k/8, not the rounded number of pixels."""
    return next(
        k / 8
        for k in range(1, 9)
        if -(-header.width * k // 8) == shape[1] and -(-header.height * k // 8) == shape[0]
    )


def _turned(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(_TURNS[orientation]) if orientation in _TURNS else image


def _resized(image: Image.Image, placement: Placement, recipe: Recipe) -> Image.Image:
    return resize.by_pillow(image, placement, recipe.filter)


def _paste(part: npt.NDArray[Any], placement: Placement, recipe: Recipe) -> npt.NDArray[Any]:
    """Lay the part on the canvas, as (H, W, channels) or, with one channel, (H, W)."""
    if placement.kept == placement.canvas:
        return part
    width, height = placement.canvas
    canvas = np.empty((height, width, *part.shape[2:]), part.dtype)
    canvas[...] = _pad_value(recipe, part)
    (x, y), (kept_width, kept_height) = placement.offset, placement.kept
    canvas[y : y + kept_height, x : x + kept_width] = part
    return canvas


def _pad_value(recipe: Recipe, part: npt.NDArray[Any]) -> npt.NDArray[Any]:
    red, green, blue = recipe.pad_color
    if recipe.mode == "rgb":
        return np.array(recipe.pad_color, part.dtype)
    if recipe.mode == "rgba":
        return np.array((*recipe.pad_color, 255), part.dtype)
    luma = (red * 19_595 + green * 38_470 + blue * 7_471 + 0x8000) >> 16  # ITU-R 601, as Pillow rounds it
    return np.array(luma * 257 if recipe.mode == "keep16" else luma, part.dtype)


def _finish(pixels: npt.NDArray[Any], recipe: Recipe) -> npt.NDArray[Any]:
    """Bring (H, W[, channels]) into the declared layout and dtype, in C order."""
    if recipe.dtype == "float32":
        pixels = pixels.astype(np.float32, copy=False)
    elif recipe.dtype == "uint16":
        pixels = np.clip(np.rint(pixels), 0, 65_535).astype(np.uint16)
    if recipe.mode != "mask":
        if pixels.ndim == 2:
            pixels = pixels[..., np.newaxis]
        if recipe.layout == "chw":
            pixels = pixels.transpose(2, 0, 1)
    return np.ascontiguousarray(pixels)
