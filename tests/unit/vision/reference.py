"""Pillow's own way, step by step and in full: what every faster way is held against."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image, ImageCms, ImageOps

from assets.vision.recipe import Recipe

FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "area": Image.Resampling.BOX,
    "nearest": Image.Resampling.NEAREST,
}
DEEP = ("I;16", "I;16B", "I;16L")
BACKGROUND = (255, 255, 255, 255)


def reference(data: bytes, recipe: Recipe) -> np.ndarray[Any, Any]:
    """Open, turn, convert, resize the whole picture, then cut or pad: (H, W, channels)."""
    image: Image.Image = Image.open(io.BytesIO(data))
    image = ImageOps.exif_transpose(image)
    if recipe.mode == "keep16":
        if image.mode in (*DEEP, "I", "F"):
            wide = np.asarray(image).astype(np.float32)
        else:
            wide = np.asarray(_eight(image, "L")).astype(np.float32) * 257
        return _cut(Image.fromarray(wide), recipe, np.uint16)
    return _cut(_eight(image, {"rgb": "RGB", "gray": "L", "rgba": "RGBA"}[recipe.mode]), recipe, np.uint8)


def _eight(image: Image.Image, mode: str) -> Image.Image:
    if image.mode in DEEP:
        image = Image.fromarray(np.rint(np.asarray(image) / 257).astype(np.uint8))
    profile = image.info.get("icc_profile")
    alpha = None
    if "A" in image.mode or "a" in image.mode or "transparency" in image.info:
        image = image.convert("RGBA")
        alpha = image.getchannel("A")
        image = image.convert("RGB")
    elif image.mode == "P":
        image = image.convert("RGB")
    if profile:
        image = _to_srgb(image, profile)
    if alpha is not None:
        image = image.convert("RGB")
        image.putalpha(alpha)
        if mode != "RGBA":
            image = Image.alpha_composite(Image.new("RGBA", image.size, BACKGROUND), image).convert("RGB")
    if image.mode not in ("L", "1", "RGB", "RGBA"):
        image = image.convert("RGB")
    return image.convert(mode)


def _to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space = source.profile.xcolor_space.strip()
        if space != {"L": "GRAY"}.get(image.mode, image.mode):
            return image
        converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (OSError, ImageCms.PyCMSError):
        return image
    assert converted is not None
    return converted


def _cut(image: Image.Image, recipe: Recipe, dtype: type) -> np.ndarray[Any, Any]:
    width, height = image.size
    if recipe.size is None:
        return _array(image, dtype)
    out_height, out_width = recipe.size
    if recipe.fit == "stretch":
        return _array(image.resize((out_width, out_height), FILTERS[recipe.filter]), dtype)
    if recipe.fit == "contain":
        scale = min(out_width / width, out_height / height)
        size = (
            min(out_width, max(1, round(width * scale))),
            min(out_height, max(1, round(height * scale))),
        )
        small = _array(image.resize(size, FILTERS[recipe.filter]), dtype)
        canvas = np.zeros((out_height, out_width, small.shape[2]), dtype)
        if recipe.mode == "rgba":
            canvas[..., 3] = 255
        top, left = (out_height - size[1]) // 2, (out_width - size[0]) // 2
        canvas[top : top + size[1], left : left + size[0]] = small
        return canvas
    if recipe.shorter_side:
        side = recipe.shorter_side
        size = (side, max(side, int(side * height / width))) if width <= height else (
            max(side, int(side * width / height)), side
        )  # fmt: skip
    else:
        scale = max(out_width / width, out_height / height)
        size = max(out_width, round(width * scale)), max(out_height, round(height * scale))
    left, top = round((size[0] - out_width) / 2), round((size[1] - out_height) / 2)
    large = _array(image.resize(size, FILTERS[recipe.filter]), dtype)
    return large[top : top + out_height, left : left + out_width]


def _array(image: Image.Image, dtype: type) -> np.ndarray[Any, Any]:
    values = np.asarray(image)
    if dtype is np.uint16:
        values = np.clip(np.rint(values), 0, 65_535)
    return values.reshape(values.shape[0], values.shape[1], -1).astype(dtype)


def psnr(ours: np.ndarray[Any, Any], theirs: np.ndarray[Any, Any]) -> float:
    """Peak signal-to-noise ratio of 8-bit pixels, dB; infinite when they are equal."""
    error = float(((ours.astype(np.float64) - theirs) ** 2).mean())
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))
