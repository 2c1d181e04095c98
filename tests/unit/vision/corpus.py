"""Pictures of every format and mode that people keep: real ones of installed packages, and made ones."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import sklearn.datasets
from PIL import Image, ImageCms, ImageDraw

SKLEARN = Path(sklearn.datasets.__file__).parent / "images"
MATPLOTLIB = Path(matplotlib.get_data_path())


@dataclass(frozen=True)
class Sample:
    """One encoded picture."""

    name: str
    data: bytes


@cache
def photo(width: int = 160, height: int = 120, seed: int = 0) -> Image.Image:
    """Give part of a real photograph."""
    with Image.open(SKLEARN / ("china.jpg" if seed % 2 == 0 else "flower.jpg")) as image:
        left, top = 37 * seed % 200, 23 * seed % 100
        part = image.convert("RGB").crop((left, top, left + 400, top + 300)).resize((width, height))
    part.info.clear()  # its profile; pictures with profiles are made on purpose
    return part


@cache
def drawing(width: int, height: int, seed: int = 0) -> Image.Image:
    """Give hard edges, text-like lines and saturated colours."""
    image = Image.new("RGB", (width, height), (250, 250, 250))
    draw = ImageDraw.Draw(image)
    rng = np.random.default_rng(seed)
    for _ in range(12):
        x, y, side = (int(value) for value in rng.integers(0, max(width, height), 3))
        color = tuple(int(value) for value in rng.choice([0, 128, 255], 3))
        draw.rectangle((x, y, x + side // 2, y + side // 3), fill=color)
        draw.line((y, x, side, width - x), fill=color[::-1])
    return image


def encode(image: Image.Image, form: str, **options: Any) -> bytes:
    """Encode a picture."""
    target = io.BytesIO()
    image.save(target, form, **options)
    return target.getvalue()


@cache
def srgb_profile() -> bytes:
    """Give the sRGB profile of littlecms."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@cache
def swapped_profile() -> bytes:
    """Give sRGB with red and blue exchanged: a valid profile that nobody can overlook."""
    return srgb_profile().replace(b"rXYZ", b"?XYZ").replace(b"bXYZ", b"rXYZ").replace(b"?XYZ", b"bXYZ")


def with_exif(orientation: int) -> bytes:
    """Give an EXIF block with an orientation."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif.tobytes()


@cache
def corpus() -> tuple[Sample, ...]:
    """Give all pictures."""
    return tuple(_samples())


def _samples() -> Iterator[Sample]:
    yield from _real()
    for number, (width, height) in enumerate([(160, 120), (121, 163), (300, 40), (9, 7)]):
        yield from _of_one(photo(width, height, number), f"photo-{width}x{height}")
        yield from _of_one(drawing(width, height, number), f"drawing-{width}x{height}")
    yield from _small()
    yield from _turned()
    yield from _profiled()
    yield from _deep()


def ycck(image: Image.Image) -> bytes:
    """A JPEG of inks whose first three are stored as YCbCr, which Pillow reads and cannot write.

    Pillow writes inks inverted and declares them as such by the last byte of the segment `Adobe`: 0. There, 2
    stands for YCCK (Adobe Technical Note 5116, section 18).
    """
    cyan, magenta, yellow, black = image.split()
    stored = Image.merge("RGB", (cyan, magenta, yellow)).convert("YCbCr").split()
    inverted = [plane.point(lambda value: 255 - value) for plane in stored]
    data = bytearray(encode(Image.merge("CMYK", (*inverted, black)), "JPEG", quality=92))
    transform = data.index(b"Adobe") + 11
    assert data[transform] == 0
    data[transform] = 2
    return bytes(data)


def _real() -> Iterator[Sample]:
    for path in [
        SKLEARN / "china.jpg",
        SKLEARN / "flower.jpg",
        MATPLOTLIB / "sample_data" / "grace_hopper.jpg",
    ]:
        yield Sample(path.name, path.read_bytes())
    for path in sorted((MATPLOTLIB / "images").glob("*.png"))[:16]:
        yield Sample(path.name, path.read_bytes())


def _of_one(image: Image.Image, name: str) -> Iterator[Sample]:
    gray = image.convert("L")
    alpha = Image.linear_gradient("L").resize(image.size)
    rgba = image.copy()
    rgba.putalpha(alpha)
    for quality, subsampling, progressive in [(90, 2, False), (75, 1, True), (100, 0, False), (30, 2, True)]:
        options = {"quality": quality, "subsampling": subsampling, "progressive": progressive}
        yield Sample(f"{name}-q{quality}.jpg", encode(image, "JPEG", **options))
    yield Sample(f"{name}-gray.jpg", encode(gray, "JPEG", quality=85))
    yield Sample(f"{name}-cmyk.jpg", encode(image.convert("CMYK"), "JPEG", quality=92))
    yield Sample(f"{name}-ycck.jpg", ycck(image.convert("CMYK")))
    yield Sample(f"{name}-rgb.png", encode(image, "PNG"))
    yield Sample(f"{name}-gray.png", encode(gray, "PNG"))
    yield Sample(f"{name}-rgba.png", encode(rgba, "PNG"))
    la = gray.copy()
    la.putalpha(alpha)
    yield Sample(f"{name}-la.png", encode(la, "PNG"))
    palette = image.quantize(64)
    yield Sample(f"{name}-palette.png", encode(palette, "PNG"))
    yield Sample(f"{name}-palette-alpha.png", encode(palette, "PNG", transparency=bytes(range(0, 256, 4))))
    yield Sample(f"{name}-palette-key.png", encode(palette, "PNG", transparency=3))
    yield Sample(f"{name}-key.png", encode(image, "PNG", transparency=image.getpixel((0, 0))))
    yield Sample(f"{name}-gray-key.png", encode(gray, "PNG", transparency=gray.getpixel((0, 0))))
    yield Sample(f"{name}-bilevel.png", encode(image.convert("1"), "PNG"))
    yield Sample(f"{name}.gif", encode(image, "GIF"))
    yield Sample(
        f"{name}-animated.gif", encode(image, "GIF", save_all=True, append_images=[image.rotate(180)])
    )
    yield Sample(f"{name}.bmp", encode(image, "BMP"))
    yield Sample(f"{name}-gray.bmp", encode(gray, "BMP"))
    yield Sample(f"{name}.webp", encode(image, "WEBP", quality=80))
    yield Sample(f"{name}-rgba.webp", encode(rgba, "WEBP", lossless=True))
    yield Sample(
        f"{name}-animated.webp", encode(image, "WEBP", save_all=True, append_images=[image.rotate(180)])
    )
    yield Sample(f"{name}.avif", encode(image, "AVIF", quality=70, speed=10))
    for compression in ("raw", "tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits"):
        yield Sample(f"{name}-{compression}.tif", encode(image, "TIFF", compression=compression))
    yield Sample(f"{name}-cmyk.tif", encode(image.convert("CMYK"), "TIFF"))
    yield Sample(f"{name}-rgba.tif", encode(rgba, "TIFF"))


def _small() -> Iterator[Sample]:
    for size in [(1, 1), (2, 1), (1, 9), (8, 8), (2000, 1), (3, 1500)]:
        image = photo(160, 120).resize(size)
        for form in ("PNG", "JPEG", "BMP", "WEBP", "TIFF"):
            yield Sample(f"small-{size[0]}x{size[1]}.{form.lower()}", encode(image, form))


def _turned() -> Iterator[Sample]:
    image = drawing(150, 97, 5)
    for orientation in range(1, 9):
        exif = with_exif(orientation)
        yield Sample(f"turned-{orientation}.jpg", encode(image, "JPEG", exif=exif, quality=95))
        yield Sample(f"turned-{orientation}.png", encode(image, "PNG", exif=exif))
        yield Sample(f"turned-{orientation}.webp", encode(image, "WEBP", exif=exif, lossless=True))
        yield Sample(f"turned-{orientation}.tif", encode(image, "TIFF", tiffinfo={0x0112: orientation}))
        yield Sample(f"turned-{orientation}.avif", encode(image, "AVIF", exif=exif, speed=10))
    yield Sample("turned-broken.jpg", encode(image, "JPEG", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff"))
    yield Sample("turned-9.jpg", encode(image, "JPEG", exif=with_exif(9)))


def _profiled() -> Iterator[Sample]:
    image = photo(140, 90, 3)
    for name, profile in [("srgb", srgb_profile()), ("swapped", swapped_profile()), ("junk", b"\x00" * 200)]:
        for form in ("JPEG", "PNG", "WEBP", "TIFF"):
            sample = encode(image, form, icc_profile=profile)
            yield Sample(f"profile-{name}.{form.lower()}", sample)
    rgba = image.copy()
    rgba.putalpha(Image.linear_gradient("L").resize(image.size))
    yield Sample("profile-swapped-rgba.png", encode(rgba, "PNG", icc_profile=swapped_profile()))
    yield Sample(
        "profile-of-rgb-in-cmyk.jpg", encode(image.convert("CMYK"), "JPEG", icc_profile=srgb_profile())
    )


def _deep() -> Iterator[Sample]:
    ramp = np.add.outer(np.arange(90) * 300, np.arange(130) * 290).astype(np.uint16)
    yield Sample("deep.png", encode(Image.fromarray(ramp), "PNG"))
    yield Sample("deep.tif", encode(Image.fromarray(ramp), "TIFF"))
    yield Sample("deep-low.png", encode(Image.fromarray((ramp >> 8).astype(np.uint16)), "PNG"))
    yield Sample("float.tif", encode(Image.fromarray((ramp / 257).astype(np.float32)), "TIFF"))
    yield Sample("deep-rgb.png", _png_of_16_bits())


def _png_of_16_bits() -> bytes:
    """Give a PNG of three channels of 16 bits, which Pillow cannot write."""
    import zlib

    def part(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    width, height = 60, 40
    rows = b"".join(
        b"\x00"
        + b"".join(struct.pack(">HHH", x * 1000, y * 1500, (x * y * 20) % 65536) for x in range(width))
        for y in range(height)
    )
    head = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    signature = b"\x89PNG\r\n\x1a\n"
    return signature + part(b"IHDR", head) + part(b"IDAT", zlib.compress(rows)) + part(b"IEND", b"")
