"""What a document's value is: picture bytes, or a place where they are, told apart by type and form."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias
from urllib.parse import unquote_to_bytes

from bson import ObjectId

from assets.mongo.fields import AnyOf, FieldType, Scalar
from assets.vision.errors import PictureError
from assets.vision.signature import format_of

SourceKind: TypeAlias = Literal["bytes", "base64", "gridfs", "file", "object", "url"]
OBJECT_SCHEMES: Final = ("s3", "s3a", "gs", "az", "abfs", "abfss")
_SCALARS: Final[dict[SourceKind, tuple[Scalar, ...]]] = {
    "bytes": ("binary",),
    "base64": ("string",),
    "gridfs": ("objectid", "string"),
    "file": ("string",),
    "object": ("string",),
    "url": ("string",),
}
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{1,15})://")
_DATA: Final = re.compile(
    r"data:(?:image/[A-Za-z0-9.+-]{1,40})?((?:;[A-Za-z0-9=._-]{1,80})*),", re.IGNORECASE
)
_BLANKS: Final = str.maketrans("", "", " \t\r\n")


@dataclass(frozen=True, slots=True)
class Place:
    """Where the bytes of one picture are.

    Parameters
    ----------
    kind
        "embedded" for bytes that are here already.
    value
        Bytes, ObjectId, GridFS filename, path, or address.
    """

    kind: Literal["embedded", "gridfs", "file", "object", "url"]
    value: bytes | ObjectId | str


def field_type(sources: list[SourceKind]) -> FieldType:
    """What a document's value may be, given the declared sources."""
    scalars = tuple(dict.fromkeys(scalar for source in sources for scalar in _SCALARS[source]))
    return scalars[0] if len(scalars) == 1 else AnyOf(scalars)


def locate(value: bytes | ObjectId | str, sources: list[SourceKind], max_bytes: int) -> Place:
    """Tell what a value is.

    A string is a data URI, then an address by its scheme, then base64 of something that begins like a
    picture, then a path, then a GridFS filename: the first of those that is declared.

    Raises
    ------
    PictureError
        `wrong_form` or `refused`, when it is none of the declared sources.
    """
    if isinstance(value, ObjectId):
        return Place("gridfs", value)
    if isinstance(value, bytes):
        return Place("embedded", value)
    if not value:
        raise PictureError("empty", expected=" or ".join(sources), got="an empty string")
    if value[:5].lower() == "data:":
        return Place("embedded", _data_uri(value, sources, max_bytes))
    if scheme := _SCHEME.match(value):
        return _by_scheme(scheme[1].lower(), value, sources)
    if "base64" in sources:
        decoded = _base64(value, max_bytes)
        if decoded is not None and (len(sources) == 1 or _begins_like_a_picture(decoded)):
            return Place("embedded", decoded)
    if "file" in sources:
        return Place("file", value)
    if "gridfs" in sources:
        return Place("gridfs", value)
    raise PictureError("wrong_form", expected=" or ".join(sources), got="another string")


def _by_scheme(scheme: str, value: str, sources: list[SourceKind]) -> Place:
    if scheme in ("http", "https") and "url" in sources:
        return Place("url", value)
    if scheme in OBJECT_SCHEMES and "object" in sources:
        return Place("object", value)
    raise PictureError("refused", expected=" or ".join(sources), got=f"an address of scheme {scheme}")


def _data_uri(value: str, sources: list[SourceKind], max_bytes: int) -> bytes:
    if "base64" not in sources:
        raise PictureError("refused", expected=" or ".join(sources), got="a data URI")
    match = _DATA.match(value[:4096])
    if match is None:
        raise PictureError("wrong_form", expected="a data URI of type image/...", got="another data URI")
    body = value[match.end() :]
    if not match[1].lower().endswith(";base64"):
        if len(body) > 3 * max_bytes:
            raise _too_long(len(body), max_bytes)
        return unquote_to_bytes(body)
    decoded = _base64(body, max_bytes)
    if decoded is None:
        raise PictureError("wrong_form", expected="base64", got="other characters")
    return decoded


def _base64(text: str, max_bytes: int) -> bytes | None:
    """Bytes of standard or URL-safe base64, with or without padding and line ends; None for anything else."""
    if len(text) > max_bytes * 3 // 2 + 1024:
        raise _too_long(len(text), max_bytes)
    if not text.isascii():
        return None
    text = text.translate(_BLANKS).rstrip("=")
    if "-" in text or "_" in text:
        text = text.replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        return None


def _begins_like_a_picture(data: bytes) -> bool:
    try:
        format_of(data)
    except PictureError:
        return False
    return True


def _too_long(num_characters: int, max_bytes: int) -> PictureError:
    got = f"{num_characters} characters"
    return PictureError("too_many_bytes", expected=f"at most {max_bytes} bytes", got=got)
