"""Files that no decoder may be trusted with: cut, corrupted, absurd, disguised, or never a picture."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from functools import cache

import numpy as np

from tests.unit.vision.corpus import Sample, encode, photo

NEVER_OPENED = {
    "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(%pipe%id) (w) file\n",
    "eps-binary": b"\xc5\xd0\xd3\xc6\x1e\x00\x00\x00",
    "pdf": b"%PDF-1.7\n1 0 obj\n",
    "psd": b"8BPS\x00\x01",
    "ico": b"\x00\x00\x01\x00\x01\x00",
    "cur": b"\x00\x00\x02\x00\x01\x00",
    "jp2": b"\x00\x00\x00\x0cjP  \r\n\x87\n",
    "j2k": b"\xff\x4f\xff\x51\x00\x2f",
    "jxl": b"\x00\x00\x00\x0cJXL \r\n\x87\n",
    "jxl-stream": b"\xff\x0a\xfa\x1f",
    "wmf": b"\xd7\xcd\xc6\x9a\x00\x00",
    "emf": b"\x01\x00\x00\x00\x6c\x00\x00\x00",
    "dds": b"DDS |\x00\x00\x00",
    "fits": b"SIMPLE  =                    T",
    "hdf5": b"\x89HDF\r\n\x1a\n",
    "icns": b"icns\x00\x00\x10\x00",
    "qoi": b"qoif\x00\x00\x00\x10",
    "sgi": b"\x01\xda\x01\x01",
    "xcf": b"gimp xcf v011",
    "zip": b"PK\x03\x04\x14\x00",
    "gzip": b"\x1f\x8b\x08\x00",
    "script": b"#!/bin/sh\nrm -rf /\n",
    "exe": b"MZ\x90\x00",
    "elf": b"\x7fELF\x02\x01",
    "mvg": b"push graphic-context\nviewbox 0 0 640 480\nfill 'url(https://127.0.0.1/x\"|ls \"-la)'\n",
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
    "svg-xml": b'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY x SYSTEM "file:///etc/passwd">]><svg>&x;</svg>',
    "html": b"<html>404 not found</html>" * 20,
    "html-doctype": b"\n <!DOCTYPE html><title>Error</title>",
    "json": b'{"error": "not found"}',
    "ppm": b"P6\n9 9\n255\n" + bytes(243),
    "pgm": b"P5\n9 9\n255\n" + bytes(81),
    "pfm": b"PF\n9 9\n-1.0\n" + bytes(972),
    "heic": struct.pack(">I", 24) + b"ftypheic\x00\x00\x00\x00mif1heic" + bytes(60),
    "mp4": struct.pack(">I", 24) + b"ftypisom\x00\x00\x02\x00isomiso2" + bytes(60),
}


@cache
def broken() -> tuple[tuple[Sample, frozenset[str]], ...]:
    """Give every file with the reasons that are right for it."""
    return tuple((sample, frozenset(reasons)) for sample, reasons in _all())


def _all() -> Iterator[tuple[Sample, set[str]]]:
    yield from _nothing()
    yield from _never_opened()
    yield from _cut()
    yield from _damaged()
    yield from _bombs()
    yield from _contradictions()


def _nothing() -> Iterator[tuple[Sample, set[str]]]:
    yield Sample("zero bytes", b""), {"empty"}
    rng = np.random.default_rng(1)
    for number in range(12):
        data = b"\x00" + rng.bytes(2 ** (number + 1))
        yield Sample(f"noise {number}", data), {"unknown_format", "format_not_allowed"}
    for name, data in [
        ("blanks", b"  \n" * 50),
        ("nul", bytes(4096)),
        ("text", b"no picture here"),
        ("ff", b"\xff"),
    ]:
        yield Sample(name, data), {"unknown_format", "format_not_allowed"}


def _never_opened() -> Iterator[tuple[Sample, set[str]]]:
    jpeg = encode(photo(40, 30), "JPEG")
    for name, data in NEVER_OPENED.items():
        yield Sample(name, data), {"format_not_allowed"}
        yield Sample(f"{name} then a jpeg", data + jpeg), {"format_not_allowed"}
    yield Sample("blanks then a jpeg", b" \n" + jpeg), {"unknown_format"}
    yield Sample("jpeg without its first bytes", jpeg[2:]), {"unknown_format"}
    yield (
        Sample("gif and script", b"GIF89a=1;alert(document.cookie);//"),
        {"too_many_pixels", "corrupt", "truncated"},
    )


def _forms() -> Iterator[tuple[str, bytes]]:
    image = photo(160, 120)
    yield "jpeg", encode(image, "JPEG", quality=90)
    yield "progressive", encode(image, "JPEG", quality=90, progressive=True)
    yield "cmyk", encode(image.convert("CMYK"), "JPEG")
    yield "png", encode(image, "PNG")
    yield "palette", encode(image.quantize(32), "PNG")
    yield "gif", encode(image, "GIF")
    yield "bmp", encode(image, "BMP")
    yield "webp", encode(image, "WEBP", quality=80)
    yield "lossless webp", encode(image, "WEBP", lossless=True)
    yield "tiff", encode(image, "TIFF")
    yield "tiff lzw", encode(image, "TIFF", compression="tiff_lzw")
    yield "avif", encode(image, "AVIF", speed=10)


def _cut() -> Iterator[tuple[Sample, set[str]]]:
    for name, data in _forms():
        for share in (0.02, 0.1, 0.3, 0.5, 0.8, 0.95):
            part = data[: max(4, int(len(data) * share))]
            yield (
                Sample(f"{name} cut at {share}", part),
                {"truncated", "corrupt", "bad_header", "unknown_format"},
            )


def _damaged() -> Iterator[tuple[Sample, set[str]]]:
    rng = np.random.default_rng(2)
    image = photo(160, 120)
    png, jpeg = encode(image, "PNG"), encode(image, "JPEG", quality=90)
    for number in range(24):
        data = bytearray(png)
        data[int(rng.integers(16, len(png) - 12))] ^= 1 << int(rng.integers(8))
        yield (
            Sample(f"png with one bit flipped {number}", bytes(data)),
            {"corrupt", "truncated", "bad_header"},
        )
    for number in range(8):
        data = bytearray(jpeg)
        at = int(len(jpeg) * (0.4 + number / 20))
        data[at : at + 200] = rng.bytes(200)
        yield Sample(f"jpeg with noise inside {number}", bytes(data)), {"corrupt", "truncated"}
    for name, start in [("XX", b"XX"), ("no magic", b"\x00\x00")]:
        yield Sample(f"jpeg begins {name}", start + jpeg[2:]), {"unknown_format", "format_not_allowed"}
    yield Sample("jpeg without an end", jpeg[:-2]), {"truncated", "corrupt"}
    for compression in ("tiff_adobe_deflate", "tiff_lzw"):
        data = bytearray(encode(image, "TIFF", compression=compression))
        data[800:900] = b"\xff" * 100
        yield Sample(f"tiff with damaged {compression}", bytes(data)), {"corrupt", "truncated", "bad_header"}


def png_part(kind: bytes, body: bytes) -> bytes:
    """Give one part of a PNG, with a right checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_of(width: int, height: int, pixels: bytes, depth: int = 8, color: int = 2) -> bytes:
    """Give a PNG that declares any size and holds any compressed pixels."""
    head = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    parts = png_part(b"IHDR", head) + png_part(b"IDAT", pixels) + png_part(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def jpeg_of(width: int, height: int, components: int = 3, marker: int = 0xC0, precision: int = 8) -> bytes:
    """Give the head of a JPEG of any size and a little scan data."""
    specs = b"".join(bytes([number + 1, 0x11, 0]) for number in range(components))
    frame = bytes([precision]) + struct.pack(">HHB", height, width, components) + specs
    scan = bytes([components]) + b"".join(bytes([n + 1, 0]) for n in range(components)) + b"\x00\x3f\x00"
    return (
        b"\xff\xd8\xff" + bytes([marker]) + struct.pack(">H", len(frame) + 2) + frame
        + b"\xff\xda" + struct.pack(">H", len(scan) + 2) + scan + b"\x55" * 40 + b"\xff\xd9"
    )  # fmt: skip


def _sized(width: int, height: int) -> Iterator[tuple[str, bytes]]:
    image = photo(40, 30)
    yield "png", png_of(width, height, zlib.compress(bytes(1000)))
    if width < 65536 and height < 65536:
        yield "jpeg", jpeg_of(width, height)
        gif = bytearray(encode(image, "GIF"))
        gif[6:10] = struct.pack("<HH", width, height)
        yield "gif", bytes(gif)
    bmp = bytearray(encode(image, "BMP"))
    bmp[18:26] = struct.pack("<ii", min(width, 2**31 - 1), min(height, 2**31 - 1))
    yield "bmp", bytes(bmp)
    tiff = encode(image, "TIFF")
    small = struct.pack("<HHI", 256, 4, 1) + struct.pack("<I", 40)
    assert small in tiff
    tall = struct.pack("<HHI", 257, 4, 1) + struct.pack("<I", 30)
    tiff = tiff.replace(small, small[:8] + struct.pack("<I", width)).replace(
        tall, tall[:8] + struct.pack("<I", height)
    )
    yield "tiff", tiff
    avif = encode(image, "AVIF", speed=10)
    ispe = b"ispe\x00\x00\x00\x00"
    yield "avif", avif.replace(ispe + struct.pack(">II", 40, 30), ispe + struct.pack(">II", width, height))
    if 0 < width <= 1 << 24 and 0 < height <= 1 << 24:
        extended = b"VP8X" + struct.pack("<I", 10) + bytes(4)
        extended += (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
        yield "webp", b"RIFF" + struct.pack("<I", len(extended) + 4) + b"WEBP" + extended


def _bombs() -> Iterator[tuple[Sample, set[str]]]:
    rows = zlib.compressobj(9)
    line = bytes(10_000 * 3 + 1)
    bomb = b"".join(rows.compress(line) for _ in range(10_000)) + rows.flush()
    yield Sample("a bomb of 100 MP", png_of(10_000, 10_000, bomb)), {"too_many_pixels"}
    for width, height in [(65_535, 65_535), (20_000, 20_000), (65_535, 2_000), (1_500, 65_535)]:
        for form, data in _sized(width, height):
            yield Sample(f"{form} of {width}x{height}", data), {"too_many_pixels"}
    for width, height in [(0, 0), (0, 10), (10, 0), (2**31 - 1, 1), (70_000, 70_000), (2**32 - 1, 2**32 - 1)]:
        for form, data in _sized(width, height):
            reasons = {"bad_header", "too_many_pixels", "truncated", "corrupt"}
            yield Sample(f"{form} of {width}x{height}", data), reasons


def _contradictions() -> Iterator[tuple[Sample, set[str]]]:
    wrong = {"bad_header", "corrupt", "truncated", "format_not_allowed"}
    for depth, color in [(3, 0), (16, 3), (1, 2), (8, 1), (8, 7), (0, 0), (255, 255)]:
        yield Sample(f"png of depth {depth}, colour {color}", png_of(9, 9, b"", depth, color)), wrong
    yield Sample("png without pixels", png_of(9, 9, b"")), wrong
    yield Sample("png with too few pixels", png_of(90, 90, zlib.compress(bytes(500)))), wrong
    yield Sample("png with noise for pixels", png_of(90, 90, np.random.default_rng(3).bytes(500))), wrong
    head = b"\x89PNG\r\n\x1a\n"
    yield Sample("png of the signature alone", head), wrong
    yield Sample("png that ends at once", head + png_part(b"IEND", b"")), wrong
    yield Sample("png part of 4 GB", head + b"\xff\xff\xff\xffIHDR" + bytes(20)), wrong
    for marker in (0xC1, 0xC3, 0xC5, 0xC9, 0xCA, 0xCB, 0xCF):
        yield Sample(f"jpeg of frame {marker:x}", jpeg_of(16, 16, marker=marker)), wrong
    for components in (0, 2, 5, 255):
        yield Sample(f"jpeg of {components} components", jpeg_of(16, 16, components)), wrong
    for precision in (0, 7, 12, 16):
        yield Sample(f"jpeg of {precision} bits", jpeg_of(16, 16, precision=precision)), wrong
    yield Sample("jpeg without a frame", b"\xff\xd8\xff\xda\x00\x02\xff\xd9"), wrong
    yield Sample("jpeg that ends at once", b"\xff\xd8\xff\xd9"), wrong
    yield Sample("jpeg of fill bytes", b"\xff\xd8" + b"\xff" * 5000), wrong
    yield Sample("jpeg of a segment without length", b"\xff\xd8\xff\xe0\x00\x00"), wrong
    yield Sample("jpeg of endless segments", b"\xff\xd8" + b"\xff\xfe\x00\x02" * 5000), wrong
    yield Sample("gif of the signature alone", b"GIF89a"), wrong
    yield Sample("gif without frames", b"GIF89a" + struct.pack("<HHBBB", 9, 9, 0, 0, 0) + b";"), wrong
    yield Sample("bmp of the signature alone", b"BM"), wrong
    yield Sample("bmp of an unknown head", b"BM" + bytes(12) + struct.pack("<I", 7) + bytes(60)), wrong
    yield Sample("webp of the signature alone", b"RIFF\x04\x00\x00\x00WEBP"), wrong
    yield Sample("webp of another part", b"RIFF\x20\x00\x00\x00WEBPXXXX" + bytes(24)), wrong
    for order in ("<", ">"):
        magic = b"II*\x00" if order == "<" else b"MM\x00*"
        for offset in (0, 4, 8, 2**31, 2**32 - 1):
            yield (
                Sample(f"tiff directory at {offset}{order}", magic + struct.pack(f"{order}I", offset)),
                wrong,
            )
        loop = magic + struct.pack(f"{order}IHI", 8, 0, 8)
        yield Sample(f"tiff directory that loops {order}", loop), wrong
        many = magic + struct.pack(f"{order}IH", 8, 65535) + bytes(100)
        yield Sample(f"tiff of 65535 tags {order}", many), wrong
    yield Sample("avif without boxes", struct.pack(">I", 16) + b"ftypavif\x00\x00\x00\x00"), wrong
    deep = b"".join(struct.pack(">I", 8) + b"free" for _ in range(6000))
    yield Sample("avif of endless boxes", struct.pack(">I", 16) + b"ftypavif\x00\x00\x00\x00" + deep), wrong
    yield (
        Sample(
            "avif box beyond the end",
            struct.pack(">I", 16) + b"ftypavif" + bytes(4) + b"\x7f\xff\xff\xffmeta",
        ),
        wrong,
    )
