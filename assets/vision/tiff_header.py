"""The first directory of a TIFF (TIFF 6.0, section 2; BigTIFF), also the form of an EXIF block."""

from __future__ import annotations

from typing import Final, Literal

from assets.vision.errors import PictureError

_WIDTH, _HEIGHT, _ORIENTATION = 256, 257, 0x0112
_SIZES: Final = {1: 1, 3: 2, 4: 4, 16: 8}
_MAX_ENTRIES: Final = 4096


def read(data: bytes) -> tuple[int, int]:
    """Give width and height of the first picture, pixels."""
    tags = _first_directory(data, (_WIDTH, _HEIGHT))
    if _WIDTH not in tags or _HEIGHT not in tags:
        raise PictureError(
            "bad_header", expected="width and height in the first directory", got=f"{sorted(tags)}"
        )
    return tags[_WIDTH], tags[_HEIGHT]


def orientation(exif: bytes) -> int:
    """Orientation in an EXIF block, 1 to 8; 0 where there is none or the block is damaged."""
    try:
        value = _first_directory(exif, (_ORIENTATION,)).get(_ORIENTATION, 0)
    except PictureError:
        return 0
    return value if 1 <= value <= 8 else 0


def _first_directory(data: bytes, wanted: tuple[int, ...]) -> dict[int, int]:
    if data[:2] not in (b"II", b"MM"):
        raise PictureError("bad_header", expected="a byte order mark", got=data[:2].hex())
    order: Literal["little", "big"] = "little" if data[:2] == b"II" else "big"
    big = int.from_bytes(data[2:4], order) == 43
    count_size, entry_size, value_at = (8, 20, 12) if big else (2, 12, 8)
    start = int.from_bytes(data[8:16] if big else data[4:8], order)
    if start < 8 or start + count_size > len(data):
        raise PictureError("truncated", expected=f"a directory at byte {start}", got=f"{len(data)} bytes")
    count = int.from_bytes(data[start : start + count_size], order)
    if count > _MAX_ENTRIES:
        raise PictureError("bad_header", expected=f"at most {_MAX_ENTRIES} tags", got=str(count))
    tags: dict[int, int] = {}
    for index in range(count):
        at = start + count_size + index * entry_size
        if at + entry_size > len(data):
            raise PictureError("truncated", expected=f"{count} tags", got=str(index))
        tag = int.from_bytes(data[at : at + 2], order)
        size = _SIZES.get(int.from_bytes(data[at + 2 : at + 4], order))
        if tag in wanted and tag not in tags and size is not None:
            tags[tag] = int.from_bytes(data[at + value_at : at + value_at + size], order)
    return tags
