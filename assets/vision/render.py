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
from assets.vision.geometry import place, shown_size
from assets.vision.header import Header
from assets.vision.recipe import Recipe
from shards.placement import Placement

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
        Shape `Recipe.shape` (or, of varying shape, the same axes), dtype `Recipe.dtype`.
    width, height
        Of the source as stored, pixels.
    orientation
        EXIF orientation that was applied, 1 to 8.
    """

    pixels: npt.NDArray[Any]
    width: int
    height: int
    orientation: int


def render(
    data: bytes,
    header: Header,
    recipe: Recipe,
    orientation: int | None = None,
    out: npt.NDArray[Any] | None = None,
) -> Rendered:
    """Decode, orient, convert and resize one picture; holds no state, any number of threads may call it.

    Parameters
    ----------
    data, header
        The encoded picture, and what `inspect` found.
    recipe
        What to make of it.
    orientation
        Applied instead of the picture's own; for masks, which turn with their picture.
    out
        Memory that the pixels go to, of their shape and dtype; made when None.

    Raises
    ------
    PictureError
        With the reason.
    """
    if _is_plain(header, recipe):
        return _plain_jpeg(data, header, recipe, orientation, out)
    if header.format == "JPEG":
        image, own = decode.jpeg_image(data, header), header.orientation
    else:
        image, own = decode.pillow_image(data, header, recipe.max_pixels)
    width, height = image.size
    turn = own if orientation is None else orientation
    image = _turned(to_mode(image, recipe), turn)
    placement = _placed(image.size, recipe)
    pixels, target = _canvas(placement, recipe, out)
    _fill(target, np.asarray(resize.by_pillow(image, placement, recipe.filter)))
    return Rendered(pixels, width, height, turn)


def at_size(pixels: npt.NDArray[np.uint8], recipe: Recipe) -> npt.NDArray[Any]:
    """Resize a whole picture (H, W, channels), already in its mode, as `render` would have."""
    placement = _placed((pixels.shape[1], pixels.shape[0]), recipe)
    made, target = _canvas(placement, recipe, None)
    image = Image.fromarray(np.ascontiguousarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels))
    _fill(target, np.asarray(resize.by_pillow(image, placement, recipe.filter)))
    return made


def _is_plain(header: Header, recipe: Recipe) -> bool:
    """Whether this is a JPEG in colour without a profile, for a column in colour: most photographs."""
    return (
        header.format == "JPEG"
        and header.num_components == 3
        and not header.has_profile
        and recipe.mode == "rgb"
    )


def _plain_jpeg(
    data: bytes, header: Header, recipe: Recipe, orientation: int | None, out: npt.NDArray[Any] | None
) -> Rendered:
    turn = header.orientation if orientation is None else orientation
    placement = _placed(shown_size(header.width, header.height, turn), recipe)
    swapped = shown_size(*placement.resized, turn)
    smaller = swapped if recipe.fast and recipe.filter != "nearest" else None
    source = decode.jpeg_pixels(data, header, smaller, scratch=True)
    scale = 1.0 if source.shape[:2] == (header.height, header.width) else _fraction(source.shape, header)
    pixels, target = _canvas(placement, recipe, out)
    if recipe.filter == "bilinear" and turn == 1 and placement.resized != placement.source:
        part = target if target.dtype == np.uint8 else np.empty(target.shape, np.uint8)
        resize.into(part, source, placement, scale)
    else:
        image = _turned(Image.fromarray(source), turn)
        part = np.asarray(resize.by_pillow(image, placement, recipe.filter, scale))
    if part is not target:
        _fill(target, part)
    return Rendered(pixels, header.width, header.height, turn)


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


def _canvas(
    placement: Placement, recipe: Recipe, out: npt.NDArray[Any] | None
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Give the pixels, padding filled in, and of them the part that the picture goes to, channels last."""
    width, height = placement.canvas
    pixels = np.empty(recipe.shape_of(height, width), recipe.dtype) if out is None else out
    shown = pixels.transpose(1, 2, 0) if recipe.mode != "mask" and recipe.layout == "chw" else pixels
    if placement.kept != placement.canvas:
        shown[...] = recipe.padding
    (x, y), (kept_width, kept_height) = placement.offset, placement.kept
    return pixels, shown[y : y + kept_height, x : x + kept_width]


def _fill(target: npt.NDArray[Any], part: npt.NDArray[Any]) -> None:
    """Copy what was resized, (H, W) or (H, W, channels), in the declared dtype."""
    if target.dtype == np.uint16:
        part = np.clip(np.rint(part), 0, 65_535)
    target[...] = part[..., np.newaxis] if part.ndim < target.ndim else part
