"""Small pictures of numbers: sheets of histograms, a few kilobytes, drawn without a plotting library."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

MAX_PICTURE_BYTES = 100_000
"""Event storage keeps several copies of a picture."""

_WIDTH_PX, _HEIGHT_PX, _TEXT_PX, _COLUMNS = 180, 90, 14, 4
_INK, _BAR, _PAPER = (60, 60, 70), (79, 67, 221), (255, 255, 255)


@dataclass(frozen=True, slots=True)
class Bars:
    """One histogram: counts from the lowest bin to the highest, and the ends of their range."""

    counts: Sequence[int]
    low: float
    high: float


def histogram_sheets(histograms: Mapping[str, Bars], on_a_sheet: int = 24) -> list[bytes]:
    """Return PNGs of all histograms that count anything, four in a row, so many on a sheet."""
    shown = [(name, bars) for name, bars in histograms.items() if sum(bars.counts)]
    return [_sheet(shown[start : start + on_a_sheet]) for start in range(0, len(shown), on_a_sheet)]


def _sheet(shown: Sequence[tuple[str, Bars]]) -> bytes:
    num_rows = -(-len(shown) // _COLUMNS)
    sheet = Image.new("RGB", (_COLUMNS * _WIDTH_PX, num_rows * _HEIGHT_PX), _PAPER)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(11)
    for position, (name, bars) in enumerate(shown):
        left = position % _COLUMNS * _WIDTH_PX
        top = position // _COLUMNS * _HEIGHT_PX
        _draw(draw, font, name, bars, left, top)
    target = io.BytesIO()
    sheet.quantize(16).save(target, "PNG", optimize=True)
    return target.getvalue()


def _draw(
    draw: ImageDraw.ImageDraw,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    name: str,
    bars: Bars,
    left: int,
    top: int,
) -> None:
    inner_left, inner_right = left + 6, left + _WIDTH_PX - 6
    base, tallest = top + _HEIGHT_PX - _TEXT_PX - 4, max(bars.counts)
    height = _HEIGHT_PX - 2 * _TEXT_PX - 8
    draw.text((inner_left, top + 2), name[:26], _INK, font)
    step = (inner_right - inner_left) / len(bars.counts)
    for position, count in enumerate(bars.counts):
        start = inner_left + position * step
        end = max(start, inner_left + (position + 1) * step - 1)
        draw.rectangle((start, base - round(height * count / tallest), end, base), _BAR)
    draw.text((inner_left, base + 2), f"{bars.low:.4g}", _INK, font)
    draw.text((inner_right, base + 2), f"{bars.high:.4g}", _INK, font, anchor="ra")
