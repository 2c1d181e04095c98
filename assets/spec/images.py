"""Image columns, and geometry that moves with an image."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from assets.spec.base import Bool, Int, Model, Name, Number, Path, Str

Pixels = Annotated[Int, Field(ge=1, le=65_535)]


class UrlPolicy(Model):
    """What may be fetched over the network; nothing by default."""

    hosts: list[Str] = Field(default_factory=list, description="Host names that may be asked.")
    per_host: Int = Field(4, ge=1, le=64, description="Requests under way at once to one host.")
    timeout_seconds: Number = Field(20.0, gt=0)
    retries: Int = Field(4, ge=0, le=20)


class ImageColumn(Model):
    """A picture, decoded once and stored as pixels (or kept encoded)."""

    kind: Literal["image"]
    path: Path
    sources: list[Literal["bytes", "base64", "gridfs", "file", "object", "url"]] = Field(
        default_factory=lambda: ["bytes"],  # type: ignore[arg-type]
        min_length=1,
        description="What the value may be; told apart by its BSON type and form.",
    )
    root: Str | None = Field(
        None, description="Directory (or bucket prefix) below which file paths are read."
    )
    urls: UrlPolicy = Field(default_factory=UrlPolicy)
    size: tuple[Pixels, Pixels] | None = Field(
        None, description="Height and width, pixels; required unless fit is none."
    )
    fit: Literal["contain", "cover", "stretch", "none"] = "cover"
    filter: Literal["bilinear", "bicubic", "lanczos", "area", "nearest"] = "bilinear"
    shorter_side: Pixels | None = Field(
        None, description="Resize to this first, then crop the centre to `size`."
    )
    pad_color: tuple[Int, Int, Int] = (0, 0, 0)
    alpha_color: tuple[Int, Int, Int] = Field(
        (255, 255, 255), description="What transparent pixels are laid over."
    )
    mode: Literal["rgb", "gray", "rgba", "keep16"] = "rgb"
    layout: Literal["hwc", "chw"] = "hwc"
    dtype: Literal["uint8", "uint16", "float32"] = "uint8"
    store: Literal["pixels", "encoded"] = "pixels"
    fast: Bool = Field(False, description="Allow DCT-domain scaling beyond the 2-level bound.")
    max_pixels: Int = Field(
        89_478_485, ge=1, description="Pictures with more pixels are rejected before decoding."
    )
    max_bytes: Int = Field(64 << 20, ge=1, description="Larger sources are rejected before decoding, bytes.")
    timeout_seconds: Number = Field(20.0, gt=0, description="Time a picture may take to decode.")
    perceptual_hash: Bool = False
    required: Bool = Field(True, description="Whether a row without this picture is invalid.")
    transform: list[Literal["standardize"]] = Field(default_factory=list)


class BoxesColumn(Model):
    """Boxes of one image, in pixels of the source, transformed with it."""

    kind: Literal["boxes"]
    path: Path
    image: Name
    format: Literal["xyxy", "xywh", "cxcywh"] = "xyxy"


class PointsColumn(Model):
    """Points of one image, in pixels of the source, transformed with it."""

    kind: Literal["points"]
    path: Path
    image: Name


class MaskImageColumn(Model):
    """A mask picture of one image: same geometry, nearest filter."""

    kind: Literal["mask_image"]
    path: Path
    image: Name
    sources: list[Literal["bytes", "base64", "gridfs", "file", "object", "url"]] = Field(
        default_factory=lambda: ["bytes"],  # type: ignore[arg-type]
        min_length=1,
    )
    root: Str | None = None
