"""Image columns, and geometry that moves with an image."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from assets.spec.base import Bool, Int, Model, Name, Number, Path, Str

Pixels = Annotated[Int, Field(ge=1, le=65_535)]
Level = Annotated[Int, Field(ge=0, le=255)]
Color = tuple[Level, Level, Level]
SourceKind = Literal["bytes", "base64", "gridfs", "file", "object", "url"]
Frame = Literal["stored", "shown"]


def _host(value: str) -> str:
    name = value.lower().rstrip(".")
    try:
        ipaddress.ip_address(name)
    except ValueError:
        if not name or any(not (letter.isalnum() or letter in "-.") for letter in name):
            raise ValueError(f"{value!r} is no host name: give it without scheme, port and path") from None
        return name
    raise ValueError(f"{value!r} is an address: name the host, and its network under networks if private")


def _network(value: str) -> str:
    network = ipaddress.ip_network(value)
    if network.prefixlen == 0 or network.is_link_local:
        raise ValueError(f"{value!r}: allowed is one private network that is not link-local")
    return str(network)


class UrlPolicy(Model):
    """What may be fetched over the network; nothing by default."""

    hosts: list[Annotated[Str, AfterValidator(_host)]] = Field(
        default_factory=list, description="Host names that may be asked, exactly as in the addresses."
    )
    networks: list[Annotated[Str, AfterValidator(_network)]] = Field(
        default_factory=list,
        description="Private networks in which these hosts may be, as 10.20.0.0/16; none for public ones.",
    )
    per_host: Int = Field(4, ge=1, le=64, description="Requests under way at once to one host.")
    timeout_seconds: Number = Field(20.0, gt=0, description="Time one request may take.")
    retries: Int = Field(4, ge=0, le=20, description="Further tries after errors that may pass.")


class ImageColumn(Model):
    """A picture, decoded once and stored as pixels (or kept encoded)."""

    kind: Literal["image"]
    path: Path = Field(description="Where the picture, or the place where it is, stands in the document.")
    sources: list[SourceKind] = Field(
        default_factory=lambda: ["bytes"],  # type: ignore[arg-type]
        min_length=1,
        description="What the value may be; told apart by its BSON type and form.",
    )
    root: Str | None = Field(None, description="Directory (or address) below which file paths are read.")
    urls: UrlPolicy = Field(UrlPolicy(), description="What may be fetched over the network.")
    size: tuple[Pixels, Pixels] | None = Field(
        None, description="Height and width, pixels; required unless fit is none."
    )
    fit: Literal["contain", "cover", "stretch", "none"] = Field(
        "cover", description="Pad to size, cut to size, change the aspect, or keep every picture's own size."
    )
    filter: Literal["bilinear", "bicubic", "lanczos", "area", "nearest"] = Field(
        "bilinear", description="How pixels are resampled; all but nearest are antialiased."
    )
    shorter_side: Pixels | None = Field(
        None, description="Resize to this first, then crop the centre to `size`."
    )
    pad_color: Color = Field((0, 0, 0), description="Colour around a picture of fit contain.")
    alpha_color: Color = Field((255, 255, 255), description="What transparent pixels are laid over.")
    mode: Literal["rgb", "gray", "rgba", "keep16"] = Field(
        "rgb", description="Channels; keep16 is one channel of 16 bits."
    )
    layout: Literal["hwc", "chw"] = Field("hwc", description="Channels last or first.")
    dtype: Literal["uint8", "uint16", "float32"] = Field("uint8", description="Type of the stored values.")
    store: Literal["pixels", "encoded", "auto"] = Field(
        "pixels",
        description="Pixels; encoded bytes, decoded and resized by the loader; or as `storage.pictures_gb` "
        "allows.",
    )
    encoded_kb: Number | None = Field(
        None, gt=0, description="Mean size of an encoded picture, KiB, for `store: auto`."
    )
    fast: Bool = Field(False, description="Allow DCT-domain scaling beyond the 2-level bound.")
    max_pixels: Int = Field(
        89_478_485, ge=1, description="Pictures with more pixels are rejected before decoding."
    )
    max_bytes: Int = Field(64 << 20, ge=1, description="Larger sources are rejected before decoding, bytes.")
    timeout_seconds: Number = Field(20.0, gt=0, description="Time a picture may take to decode.")
    perceptual_hash: Bool = Field(False, description="Also store a 64-bit difference hash.")
    required: Bool = Field(True, description="Whether a row without this picture is invalid.")
    transform: list[Literal["standardize"]] = Field(
        default_factory=list, description="Fits that the loader applies."
    )
    description: Str = Field("", description="What the pictures show.")

    @model_validator(mode="after")
    def _possible(self) -> ImageColumn:
        if (self.size is None) != (self.fit == "none"):
            raise ValueError("give size (height, width), or fit: none for pictures that keep their own size")
        if self.shorter_side is not None and self.size is not None:
            if self.fit != "cover":
                raise ValueError(f"shorter_side goes with fit: cover (or none), got {self.fit}")
            if self.shorter_side < max(self.size):
                raise ValueError(f"shorter_side {self.shorter_side} is less than a side of size {self.size}")
        if self.dtype == "uint16" and self.mode != "keep16":
            raise ValueError(f"dtype uint16 goes with mode keep16, got {self.mode}")
        if self.dtype == "uint8" and self.mode == "keep16":
            raise ValueError("mode keep16 goes with dtype uint16 or float32, got uint8")
        if self.store != "pixels" and (self.mode == "keep16" or self.dtype != "uint8"):
            raise ValueError(
                f"store {self.store} goes with 8-bit modes and dtype uint8; store pixels instead"
            )
        if self.store == "auto" and (self.size is None or self.encoded_kb is None):
            raise ValueError(
                "store auto needs size and encoded_kb, the mean KiB of an encoded picture; "
                "`python -m assets infer` tells it"
            )
        if self.store != "auto" and self.encoded_kb is not None:
            raise ValueError(f"encoded_kb goes with store: auto, got {self.store}")
        if "url" in self.sources and not self.urls.hosts:
            raise ValueError("source url needs urls.hosts, the host names that may be asked")
        return self


class BoxesColumn(Model):
    """Boxes of one image, in pixels of the source, transformed with it."""

    kind: Literal["boxes"]
    path: Path = Field(description="A list of lists of four numbers.")
    image: Name = Field(description="The image column that they belong to.")
    format: Literal["xyxy", "xywh", "cxcywh"] = Field("xyxy", description="What the four numbers are.")
    frame: Frame = Field(
        "stored", description="Whether they refer to the stored picture, or to it turned by its EXIF tag."
    )
    description: Str = Field("", description="What the boxes mark.")


class PointsColumn(Model):
    """Points of one image, in pixels of the source, transformed with it."""

    kind: Literal["points"]
    path: Path = Field(description="A list of lists of two numbers, x and y.")
    image: Name = Field(description="The image column that they belong to.")
    frame: Frame = Field(
        "stored", description="Whether they refer to the stored picture, or to it turned by its EXIF tag."
    )
    description: Str = Field("", description="What the points mark.")


class MaskImageColumn(Model):
    """A mask picture of one image: same geometry, nearest filter."""

    kind: Literal["mask_image"]
    path: Path = Field(description="Where the mask, or the place where it is, stands in the document.")
    image: Name = Field(description="The image column that it belongs to.")
    sources: list[SourceKind] = Field(
        default_factory=lambda: ["bytes"],  # type: ignore[arg-type]
        min_length=1,
        description="What the value may be; told apart by its BSON type and form.",
    )
    root: Str | None = Field(None, description="Directory (or address) below which file paths are read.")
    frame: Frame = Field(
        "stored", description="Whether it covers the stored picture, or that turned by its EXIF tag."
    )
    description: Str = Field("", description="What its classes are.")
