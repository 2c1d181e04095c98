"""From whatever a decoder gives to the declared mode: alpha, palettes, 16 bits, ICC profiles, CMYK, Lab."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from typing import Final

import numpy as np
import xxhash
from PIL import Image, ImageCms

from assets.vision.errors import PictureError
from assets.vision.recipe import Recipe

_DEEP: Final = frozenset({"I;16", "I;16L", "I;16B", "I;16N"})
_WITH_ALPHA: Final = frozenset({"RGBA", "LA", "La", "PA", "RGBa"})
_SPACES: Final = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK"}
_MAX_PROFILE_BYTES: Final = 4 << 20
_SRGB: Final = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def to_mode(image: Image.Image, recipe: Recipe) -> Image.Image:
    """Give the picture in the Pillow mode that resizing works in.

    Returns
    -------
    PIL.Image.Image
        "RGB", "L" or "RGBA" with 8 bits a channel; "F" for mode keep16 (values 0 to 65,535) and for grey
        floating point sources of dtype float32 (values as they are); for masks "L" with class numbers.
    """
    if recipe.mode == "mask":
        return _mask(image)
    if recipe.mode == "keep16":
        return _deep(image, recipe)
    if image.mode == "F" and recipe.mode == "gray" and recipe.dtype == "float32":
        return image
    image = _eight_bits(image)
    profile = image.info.get("icc_profile")
    if has_alpha(image):
        rgba = image.convert("RGBA")
        if profile:
            alpha = rgba.getchannel("A")
            rgba = to_srgb(rgba.convert("RGB"), profile)
            rgba.putalpha(alpha)
        if recipe.mode == "rgba":
            return rgba
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, (*recipe.alpha_color, 255)), rgba)
        image = image.convert("RGB")
    else:
        if image.mode == "P":
            image = image.convert("RGB")
        elif image.mode == "LAB":
            image = _lab(image)
        if profile:
            image = to_srgb(image, profile)
    wanted = {"rgb": "RGB", "gray": "L", "rgba": "RGBA"}[recipe.mode]
    if image.mode != wanted:
        # Pillow has no way from some modes (CMYK, YCbCr) to L and RGBA but through RGB
        image = image if image.mode in ("1", "L", "RGB") else image.convert("RGB")
        image = image.convert(wanted)
    return image


def has_alpha(image: Image.Image) -> bool:
    """Whether some pixels may be transparent: an alpha channel, or a colour or palette entry declared so."""
    return image.mode in _WITH_ALPHA or "transparency" in image.info


def to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """Convert by an embedded ICC profile; one that is damaged, or of another colour space, counts as none."""
    if len(profile) > _MAX_PROFILE_BYTES or image.mode not in _SPACES:
        return image
    transform = _TRANSFORMS.get(profile, image.mode)
    if transform is None:
        return image
    converted = transform.apply(image)
    converted.info.pop("icc_profile", None)
    return converted


class _Transforms(threading.local):
    """Compiled transforms of the profiles seen last, by thread; None for profiles that change nothing."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[int, str], ImageCms.ImageCmsTransform | None] = OrderedDict()

    def get(self, profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
        key = xxhash.xxh3_128_intdigest(profile), mode
        if key not in self._kept:
            self._kept[key] = _compile(profile, mode)
            if len(self._kept) > 16:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]


_TRANSFORMS: Final = _Transforms()


def _compile(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if source.profile.xcolor_space.strip() != _SPACES[mode]:
            return None
        transform = ImageCms.buildTransform(source, _SRGB, mode, "RGB")
    except (ImageCms.PyCMSError, OSError):
        return None
    return None if mode == "RGB" and _is_identity(transform) else transform


def _is_identity(transform: ImageCms.ImageCmsTransform) -> bool:
    """Whether a transform of colours moves none of a lattice of 17 x 17 x 17 by more than one level."""
    axis = np.linspace(0, 255, 17).round().astype(np.uint8)
    lattice = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(17, -1, 3)
    moved = np.asarray(transform.apply(Image.fromarray(lattice)))
    return int(np.abs(moved.astype(np.int16) - lattice).max()) <= 1


def _lab(image: Image.Image) -> Image.Image:
    lab = ImageCms.createProfile("LAB")
    converted = ImageCms.profileToProfile(image, ImageCms.ImageCmsProfile(lab), _SRGB, outputMode="RGB")
    if converted is None:
        raise PictureError("corrupt", expected="Lab colours", got="none that can be converted")
    converted.info.pop("icc_profile", None)
    return converted


def _eight_bits(image: Image.Image) -> Image.Image:
    """Bring 16-bit grey to 8 bits by rounding; Pillow's own conversion would clip it to white."""
    if image.mode not in _DEEP:
        return image
    values = np.asarray(image).astype(np.uint32)
    return Image.fromarray(((values * 255 + 32_767) // 65_535).astype(np.uint8))


def _deep(image: Image.Image, recipe: Recipe) -> Image.Image:
    """One channel of 16 bits, as floats that Pillow can resize; 8-bit sources are widened by 257."""
    if image.mode in _DEEP:
        return Image.fromarray(np.asarray(image).astype(np.float32))
    if image.mode in ("I", "F"):
        return Image.fromarray(np.clip(np.asarray(image).astype(np.float32), 0, 65_535))
    eight = Recipe(mode="gray", alpha_color=recipe.alpha_color)
    return Image.fromarray(np.asarray(to_mode(image, eight)).astype(np.float32) * 257)


def _mask(image: Image.Image) -> Image.Image:
    if image.mode == "1":
        return Image.fromarray(np.asarray(image).astype(np.uint8))
    if image.mode in ("L", "P"):
        return Image.fromarray(np.asarray(image))
    if image.mode in _DEEP or image.mode == "I":
        values = np.asarray(image)
        if values.size and (values.max() > 255 or values.min() < 0):
            raise PictureError("not_a_mask", expected="classes 0 to 255", got=f"class {values.max()}")
        return Image.fromarray(values.astype(np.uint8))
    raise PictureError("not_a_mask", expected="one channel of class numbers", got=f"mode {image.mode}")
