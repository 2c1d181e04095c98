"""What a sample of documents holds, path by path: types, distinct values, ranges, lengths, pictures."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from math import isnan
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from bson.binary import UUID_SUBTYPE, Binary
from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.objectid import ObjectId

MAX_DISTINCT = 1_000
MAX_DEPTH = 12
MAX_PATHS = 4_000
MAX_HOSTS = 8
VECTOR_SUBTYPE = 9

_MAGIC = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
)
_PICTURE_NAME = re.compile(r"\.(jpe?g|png|gif|bmp|tiff?|webp|avif)(\?.*)?$", re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?\d{1,15}(\.\d{1,15})?([eE][+-]?\d{1,2})?")
_BASE64_HEADS = ("/9j/", "iVBORw0KGgo", "R0lGOD", "UklGR", "data:image/")


@dataclass(slots=True)
class Seen:
    """What was found at one path.

    Parameters
    ----------
    types
        Number of values by BSON type.
    distinct
        Number of each different scalar value, at most 1,000 values; `many` once there are more.
    nan
        Number of NaN.
    numeric
        Number of strings that are written as numbers.
    low, high
        Extremes of the numbers or dates.
    lengths
        Number of values by length of the list or packed vector.
    pictures
        What looks like a picture: `bytes JPEG`, `base64`, `file`, `url`.
    picture_bytes
        Size of those that are bytes, together.
    hosts
        Hosts of the addresses among them.
    elements
        What the elements of lists are.
    """

    types: Counter[str] = field(default_factory=Counter)
    distinct: Counter[Any] = field(default_factory=Counter)
    many: bool = False
    nan: int = 0
    numeric: int = 0
    low: Any = None
    high: Any = None
    lengths: Counter[int] = field(default_factory=Counter)
    pictures: Counter[str] = field(default_factory=Counter)
    picture_bytes: int = 0
    hosts: set[str] = field(default_factory=set)
    elements: Seen | None = None

    def add(self, value: Any) -> None:
        """Take note of a value."""
        kind = type_name(value)
        self.types[kind] += 1
        if kind in ("string", "int", "double", "bool", "date", "objectId"):
            self._scalar(kind, value)
        if kind == "array":
            self.lengths[len(value)] += 1
            if self.elements is None:
                self.elements = Seen()
            for element in value[:64]:
                self.elements.add(element)
        elif kind == "vector":
            self.lengths[vector_length(value)] += 1
        picture = looks_like_picture(value)
        if picture:
            self.pictures[picture] += 1
            self.picture_bytes += len(value) if isinstance(value, bytes) else 0
        if picture == "url" and len(self.hosts) < MAX_HOSTS:
            self.hosts.add(urlsplit(value).hostname or "")

    def _scalar(self, kind: str, value: Any) -> None:
        if kind == "double":
            self.nan += isnan(value)
        if kind == "string":
            self.numeric += _NUMBER.fullmatch(value) is not None
        if not self.many:
            self.distinct[kind, value if value == value else "NaN"] += 1
            self.many = len(self.distinct) > MAX_DISTINCT
        if kind in ("int", "double", "date") and value == value:
            if isinstance(value, DatetimeMS):
                return
            try:
                self.low = value if self.low is None or value < self.low else self.low
                self.high = value if self.high is None or value > self.high else self.high
            except TypeError:  # dates and numbers at one path have no order
                self.low = self.high = None


@dataclass(slots=True)
class Profile:
    """A sample: how many documents, and what each path held."""

    num_documents: int
    paths: dict[str, Seen]
    left_out: int


def profile_of(documents: Iterable[Mapping[str, Any]]) -> Profile:
    """Observe documents; paths beyond 4,000 or deeper than 12 levels are counted as left out."""
    profile = Profile(0, {}, 0)
    for document in documents:
        profile.num_documents += 1
        for name, value in document.items():
            _walk(profile, "", str(name), value, 1)
    return profile


def _walk(profile: Profile, parent: str, name: str, value: Any, depth: int) -> None:
    path = parent + name
    # By its path, a name with a dot would be taken for two.
    seen = profile.paths.get(path) if "." not in name else None
    if seen is None:
        if len(profile.paths) >= MAX_PATHS or depth > MAX_DEPTH or not _can_be_named(path, name):
            profile.left_out += 1
            return
        seen = profile.paths[path] = Seen()
    seen.add(value)
    if isinstance(value, Mapping):
        for member, inner in value.items():
            _walk(profile, f"{path}.", member, inner, depth + 1)
    elif isinstance(value, list):
        for element in value[:16]:
            if isinstance(element, Mapping):
                for member, inner in element.items():
                    _walk(profile, f"{path}.*.", member, inner, depth + 2)


def _can_be_named(path: str, name: str) -> bool:
    return (
        len(path) <= 512
        and name not in ("", "*")
        and "." not in name
        and not name.startswith("$")
        and name.isprintable()
    )


def type_name(value: Any) -> str:
    """Name the BSON type of a value as `$type` does; packed vectors and UUIDs by their own names."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, Int64)):
        return "int"
    if isinstance(value, float):
        return "double"
    if isinstance(value, str) and type(value) is str:
        return "string"
    if isinstance(value, (datetime, DatetimeMS)):
        return "date"
    if isinstance(value, ObjectId):
        return "objectId"
    if isinstance(value, UUID):
        return "uuid"
    if isinstance(value, Binary):
        if value.subtype == VECTOR_SUBTYPE:
            return "vector"
        return "uuid" if value.subtype in (3, UUID_SUBTYPE) else "binData"
    if isinstance(value, bytes):
        return "binData"
    if isinstance(value, Decimal128):
        return "decimal"
    if isinstance(value, list):
        return "array"
    return "object" if isinstance(value, Mapping) else type(value).__name__


def vector_length(value: Binary) -> int:
    """Count the elements of a packed vector (BSON binary subtype 9); 0 where it is malformed."""
    width = {0x03: 8, 0x27: 32, 0x10: 1}.get(value[0] if len(value) > 1 else -1, 0)
    bits = (len(value) - 2) * 8 - (value[1] if width == 1 else 0)
    return bits // width if width else 0


def looks_like_picture(value: Any) -> str | None:
    """Tell how a value may hold a picture: by its first bytes, by a file name, or by an address."""
    if isinstance(value, bytes):
        if value[:4] == b"RIFF" and value[8:12] == b"WEBP":
            return "bytes WebP"
        return next((f"bytes {name}" for magic, name in _MAGIC if value.startswith(magic)), None)
    if isinstance(value, str):
        if value.startswith(_BASE64_HEADS) and len(value) > 64:
            return "base64"
        if len(value) < 2_048 and _PICTURE_NAME.search(value):
            return "url" if value.startswith(("http://", "https://")) else "file"
    return None
