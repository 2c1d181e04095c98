"""The first directory of a TIFF (TIFF 6.0, section 2; BigTIFF), also the form of an EXIF block."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from assets.vision.errors import PictureError

_WIDTH, _HEIGHT, _ORIENTATION = 256, 257, 0x0112
_PARTS: Final = ((273, 279), (324, 325))
"""Tags of offsets and byte counts: strips, tiles."""

_SIZES: Final = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
    17: 8,
    18: 8,
}
_INTEGERS: Final = frozenset({1, 3, 4, 13, 16, 18})
_MAX_ENTRIES: Final = 4096
_MAX_PARTS: Final = 1 << 20


def read(data: bytes) -> tuple[int, int]:
    """Give width and height of the first picture, pixels; all that its directory points at must be there."""
    directory = _Directory(data)
    tags = directory.entries()
    if _WIDTH not in tags or _HEIGHT not in tags:
        raise PictureError("bad_header", expected="width and height in the first directory", got="none")
    for entry in tags.values():
        directory.check(entry)
    for offsets, counts in _PARTS:
        if offsets in tags and counts in tags:
            directory.check_parts(tags[offsets], tags[counts])
    return directory.number(tags[_WIDTH]), directory.number(tags[_HEIGHT])


def orientation(exif: bytes) -> int:
    """Orientation in an EXIF block, 1 to 8; 0 where there is none or the block is damaged."""
    try:
        directory = _Directory(exif)
        tags = directory.entries()
        value = directory.number(tags[_ORIENTATION]) if _ORIENTATION in tags else 0
    except PictureError:
        return 0
    return value if 1 <= value <= 8 else 0


@dataclass(frozen=True, slots=True)
class _Entry:
    """Type and count of a tag's values, and where they begin."""

    kind: int
    count: int
    at: int


class _Directory:
    """The first directory of `data`; every read is held against the size of the data."""

    def __init__(self, data: bytes) -> None:
        if data[:2] not in (b"II", b"MM"):
            raise PictureError("bad_header", expected="a byte order mark", got=data[:2].hex())
        self._data = data
        self._order: Literal["little", "big"] = "little" if data[:2] == b"II" else "big"
        self._is_big = self._int(2, 2) == 43
        self._word = 8 if self._is_big else 4

    def entries(self) -> dict[int, _Entry]:
        """Tags by number, the first of each."""
        count_size, entry_size = (8, 20) if self._is_big else (2, 12)
        start = self._int(8, 8) if self._is_big else self._int(4, 4)
        if start < 8 or start + count_size > len(self._data):
            got = f"{len(self._data)} bytes"
            raise PictureError("truncated", expected=f"a directory at byte {start}", got=got)
        count = self._int(start, count_size)
        if count > _MAX_ENTRIES:
            raise PictureError("bad_header", expected=f"at most {_MAX_ENTRIES} tags", got=str(count))
        tags: dict[int, _Entry] = {}
        for index in range(count):
            at = start + count_size + index * entry_size
            if at + entry_size > len(self._data):
                raise PictureError("truncated", expected=f"{count} tags", got=str(index))
            kind, number = self._int(at + 2, 2), self._int(at + 4, self._word)
            value_at = at + 4 + self._word
            if _SIZES.get(kind, 1) * number > self._word:
                value_at = self._int(value_at, self._word)
            tags.setdefault(self._int(at, 2), _Entry(kind, number, value_at))
        return tags

    def check(self, entry: _Entry) -> None:
        """Refuse values beyond the end of the data."""
        end = entry.at + _SIZES.get(entry.kind, 1) * entry.count
        if end > len(self._data):
            raise PictureError("truncated", expected=f"{end} bytes", got=f"{len(self._data)} bytes")

    def check_parts(self, offsets: _Entry, counts: _Entry) -> None:
        """Refuse strips or tiles beyond the end of the data."""
        if offsets.count > _MAX_PARTS:
            raise PictureError("bad_header", expected=f"at most {_MAX_PARTS} parts", got=str(offsets.count))
        for index in range(min(offsets.count, counts.count)):
            end = self.number(offsets, index) + self.number(counts, index)
            if end > len(self._data):
                raise PictureError("truncated", expected=f"{end} bytes", got=f"{len(self._data)} bytes")

    def number(self, entry: _Entry, index: int = 0) -> int:
        """One integer of a tag."""
        if entry.kind not in _INTEGERS or index >= entry.count:
            raise PictureError("bad_header", expected="an integer", got=f"type {entry.kind}")
        size = _SIZES[entry.kind]
        return self._int(entry.at + index * size, size)

    def _int(self, at: int, size: int) -> int:
        return int.from_bytes(self._data[at : at + size], self._order)
