"""Telling formats apart by their first bytes: a short list is opened, a longer one is named and refused."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from assets.vision.errors import PictureError

Format: TypeAlias = Literal["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "AVIF"]

ALLOWED: Final = "JPEG, PNG, GIF, BMP, WebP, TIFF or AVIF"

_REFUSED: Final[tuple[tuple[bytes, str], ...]] = (
    (b"%!PS", "EPS or PostScript"),
    (b"\xc5\xd0\xd3\xc6", "EPS with a binary header"),
    (b"%PDF", "PDF"),
    (b"8BPS", "Photoshop"),
    (b"\x00\x00\x01\x00", "ICO"),
    (b"\x00\x00\x02\x00", "CUR or TGA"),
    (b"\x00\x00\x00\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000 codestream"),
    (b"\x00\x00\x00\x0cJXL ", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL codestream"),
    (b"\xd7\xcd\xc6\x9a", "WMF"),
    (b"\x01\x00\x00\x00", "EMF"),
    (b"DDS ", "DDS"),
    (b"SIMPLE  =", "FITS"),
    (b"\x89HDF", "HDF5"),
    (b"icns", "ICNS"),
    (b"qoif", "QOI"),
    (b"\x01\xda", "SGI"),
    (b"gimp xcf", "XCF"),
    (b"PK\x03\x04", "ZIP"),
    (b"\x1f\x8b", "gzip"),
    (b"#!", "script"),
    (b"MZ", "Windows executable"),
    (b"\x7fELF", "executable"),
    (b"push graphic-context", "MVG"),
)
_TEXT: Final[tuple[tuple[bytes, str], ...]] = (
    (b"<svg", "SVG"),
    (b"<?xml", "XML or SVG"),
    (b"<!doctype", "HTML"),
    (b"<html", "HTML"),
    (b"{", "JSON"),
)
_AVIF_BRANDS: Final = frozenset({b"avif", b"avis"})
_HEIF_BRANDS: Final = frozenset({b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"})


def format_of(data: bytes) -> Format:
    """Give the format that the first bytes say, whatever a name or a content type says.

    Raises
    ------
    PictureError
        `empty`, `unknown_format`, or `format_not_allowed` for formats that are recognised and never opened.
    """
    if not data:
        raise PictureError("empty", expected=ALLOWED, got="0 bytes")
    if data[:3] == b"\xff\xd8\xff":
        return "JPEG"
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return "PNG"
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return "GIF"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[:4] in (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+"):
        return "TIFF"
    if data[:2] == b"BM":
        return "BMP"
    if data[4:8] == b"ftyp":
        return _of_boxes(data)
    raise _refusal(data)


def _of_boxes(data: bytes) -> Format:
    end = min(int.from_bytes(data[:4], "big"), len(data), 1024)
    brands = {data[8:12], *(data[at : at + 4] for at in range(16, end - 3, 4))}
    if brands & _AVIF_BRANDS:
        return "AVIF"
    name = "HEIF" if brands & _HEIF_BRANDS else "MP4 or another box format"
    raise PictureError("format_not_allowed", expected=ALLOWED, got=name)


def _refusal(data: bytes) -> PictureError:
    for start, name in _REFUSED:
        if data.startswith(start):
            return PictureError("format_not_allowed", expected=ALLOWED, got=name)
    if len(data) > 2 and data[:1] == b"P" and data[1:2] in b"1234567fF" and data[2:3].isspace():
        return PictureError("format_not_allowed", expected=ALLOWED, got="PPM family")
    text = data[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for start, name in _TEXT:
        if text.startswith(start):
            return PictureError("format_not_allowed", expected=ALLOWED, got=name)
    return PictureError("unknown_format", expected=ALLOWED, got=f"bytes {data[:4].hex(' ')}")
