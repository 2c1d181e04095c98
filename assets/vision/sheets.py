"""Contact sheets: many pictures on one small picture, for people to look at."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from PIL import Image, ImageDraw, ImageFont

from shards import ColumnReader, Version

MAX_SHEET_BYTES: Final = 100_000
_FEW_COLORS: Final = 1_024
_TILE_PX: Final = 96
_LABEL_PX: Final = 14
_GAP_PX: Final = 4
_BACKGROUND: Final = (244, 244, 246)
_INK: Final = (40, 40, 48)
_RED: Final = (176, 32, 32)
_ID: Final = re.compile(r'^\{"\$\w+": "?(.*?)"?\}$')


def rows_shown(version: Version, column: str, num_pictures: int = 24) -> npt.NDArray[np.int64]:
    """Rows whose pictures a sheet shows, spread evenly over those that have one."""
    valid = np.flatnonzero(version.validity())
    mask = version.columns[column].mask
    if mask is not None:
        valid = valid[np.asarray(version.column(mask).read())[valid]]
    if not len(valid):
        return valid
    return valid[np.unique(np.linspace(0, len(valid) - 1, num_pictures).round().astype(np.int64))]


def sheet_of(
    version: Version,
    column: str,
    labels: Mapping[int, str] | None = None,
    num_pictures: int = 24,
    max_bytes: int = MAX_SHEET_BYTES,
) -> bytes | None:
    """Draw pictures of a version, spread evenly over its valid rows.

    Parameters
    ----------
    version
        A version of `images`.
    column
        Name of an image or mask image column.
    labels
        Text under the picture, by row number; the row number where there is none.
    num_pictures, max_bytes
        Bounds of the sheet; it holds fewer pictures, then coarser ones, to stay below `max_bytes`.

    Returns
    -------
    bytes
        A PNG where it has few colours, else a JPEG; None when no row is valid.
    """
    rows = rows_shown(version, column, num_pictures)
    if not len(rows):
        return None
    tiles = [
        _tile(picture, (labels or {}).get(int(row), str(row)))
        for row, picture in zip(rows, pictures_of(version.column(column), rows), strict=True)
    ]
    return _fit(tiles, max_bytes)


def sheet_of_rejects(
    version: Version, num_rejects: int = 24, max_bytes: int = MAX_SHEET_BYTES
) -> bytes | None:
    """Draw a card for each of the first rejects: reason, what was got, `_id`; None without any."""
    cards: list[Image.Image] = []
    for batch in version.table("rejects").batches():
        cards += map(_card, batch.slice(0, num_rejects - len(cards)).to_pylist())
        if len(cards) >= num_rejects:
            break
    return _fit(cards, max_bytes) if cards else None


def pictures_of(reader: ColumnReader, rows: npt.NDArray[np.int64]) -> list[Image.Image]:
    """Read rows of an image column, whatever way it is stored, as 8-bit pictures to look at."""
    column = reader.column
    values = reader.take(rows)
    if column.encoding == "npy":
        return [
            _picture(np.asarray(pixels), str(column.attributes.get("layout", "hwc"))) for pixels in values
        ]
    if column.attributes.get("format") == "encoded":
        return [_decoded(value.as_py()) for value in values]
    return [_varying(value, column.attributes) for value in values]


def _decoded(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data), formats=("JPEG", "PNG", "WEBP")) as image:
        return image.convert("RGB")


def _varying(value: pa.Scalar, attributes: Mapping[str, Any]) -> Image.Image:
    parts = value.as_py()
    pixels = np.frombuffer(parts["data"], str(attributes["dtype"])).reshape(parts["shape"])
    return _picture(pixels, str(attributes.get("layout", "hwc")))


def _picture(pixels: npt.NDArray[Any], layout: str) -> Image.Image:
    if pixels.ndim == 3 and layout == "chw" and pixels.shape[0] in (1, 3, 4):
        pixels = np.moveaxis(pixels, 0, -1)
    if pixels.dtype != np.uint8:
        low, high = float(pixels.min()), float(pixels.max())
        pixels = ((pixels - low) * (255 / (high - low) if high > low else 0)).astype(np.uint8)
    elif pixels.ndim == 2 and pixels.max() < 32:
        pixels = pixels * np.uint8(255 // max(1, int(pixels.max())))  # classes of a mask, made visible
    if pixels.ndim == 3 and pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    return Image.fromarray(np.ascontiguousarray(pixels)).convert("RGB")


def _tile(picture: Image.Image, label: str) -> Image.Image:
    tile = Image.new("RGB", (_TILE_PX, _TILE_PX + _LABEL_PX), _BACKGROUND)
    scale = _TILE_PX / max(picture.size)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    shown = picture.resize(size, Image.Resampling.NEAREST if scale > 2 else Image.Resampling.BILINEAR)
    tile.paste(shown, ((_TILE_PX - size[0]) // 2, (_TILE_PX - size[1]) // 2))
    ImageDraw.Draw(tile).text((2, _TILE_PX + 1), label[:16], fill=_INK, font=_font())
    return tile


def _card(reject: Mapping[str, str | None]) -> Image.Image:
    card = Image.new("RGB", (2 * _TILE_PX, _TILE_PX // 2 + _LABEL_PX), (252, 238, 238))
    draw = ImageDraw.Draw(card)
    lines = [
        f"{reject['field']}: {reject['reason']}",
        f"got {reject['got']}",
        _ID.sub(r"\1", str(reject["_id"])),
    ]
    for number, line in enumerate(lines):
        printable = "".join(letter if " " <= letter <= "~" else "?" for letter in line)
        draw.text((4, 4 + number * 18), printable[:32], fill=_RED if number == 0 else _INK, font=_font())
    return card


def _font() -> Any:
    return ImageFont.load_default(10)


def _fit(tiles: Sequence[Image.Image], max_bytes: int) -> bytes:
    """Lay tiles out and encode them, more coarsely, then fewer of them, until they fit."""
    while True:
        sheet = _lay_out(tiles)
        for options in _ways(sheet):
            target = io.BytesIO()
            sheet.save(target, **options)
            if target.tell() < max_bytes:
                return target.getvalue()
        if len(tiles) == 1:
            return target.getvalue()
        tiles = tiles[: len(tiles) // 2]


def _ways(sheet: Image.Image) -> list[dict[str, Any]]:
    """List how a sheet may be encoded, best first: without loss where it has few colours."""
    exact = {"format": "PNG", "optimize": True}
    coarser = [{"format": "JPEG", "quality": quality} for quality in (85, 70, 50, 30)]
    return coarser if sheet.getcolors(_FEW_COLORS) is None else [exact, *coarser]


def _lay_out(tiles: Sequence[Image.Image]) -> Image.Image:
    width, height = tiles[0].size
    columns = min(len(tiles), max(1, 800 // (width + _GAP_PX)))
    rows = -(-len(tiles) // columns)
    sheet = Image.new(
        "RGB", (columns * (width + _GAP_PX) + _GAP_PX, rows * (height + _GAP_PX) + _GAP_PX), (255, 255, 255)
    )
    for number, tile in enumerate(tiles):
        y, x = divmod(number, columns)
        sheet.paste(tile, (_GAP_PX + x * (width + _GAP_PX), _GAP_PX + y * (height + _GAP_PX)))
    return sheet
