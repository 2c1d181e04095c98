"""Names on disk: what a dataset, partition, attempt, version and file may be called, and where each lies."""

from __future__ import annotations

import re
import secrets
import time
from typing import Literal

import xxhash

from shards.errors import InvalidArgument
from shards.limits import MAX_NUMBER

NAME = re.compile(r"[a-z][a-z0-9_]{0,63}", re.ASCII)
TAG = re.compile(r"[a-z][a-z0-9._-]{0,63}", re.ASCII)
ATTEMPT = re.compile(r"[0-9]{8}t[0-9]{6}-[0-9a-f]{16}", re.ASCII)
PIECES = re.compile(r"pieces-[0-9a-f]{32}", re.ASCII)
HASH = re.compile(r"[0-9a-f]{32}", re.ASCII)
MANIFEST = re.compile(r"([0-9]{8})\.json", re.ASCII)
KIND = re.compile(r"[a-z][a-z0-9_]{0,63}", re.ASCII)

Role = Literal["column", "table", "index", "subset", "vocabulary"]
LEASES = "_leases"
TAGS = "_tags"
INTENTS = "_intents"
SNAPSHOT = "snapshot"

_PLAIN = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789-_.")
_MAX_DIRECTORY_BYTES = 240


def check_name(name: str, what: str) -> str:
    """Return `name`, or raise InvalidArgument saying what a `what` may be called."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise InvalidArgument(
            f"{what} name {name!r}: allowed are a lower-case letter, then letters, digits, _; at most 64"
        )
    return name


def encode_partition(key: str) -> str:
    """Directory name of a partition key.

    Bytes of the UTF-8 form other than `a-z 0-9 - _ .` become `%xx`, as does a leading dot, so that every
    key has exactly one name, also on file systems that fold case, and no name is `.` or `..`.

    Raises
    ------
    InvalidArgument
        The key is empty, has no UTF-8 form, or its name would be longer than 240 bytes.
    """
    try:
        raw = key.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidArgument(
            f"partition key {key!r}: {error.reason}; allowed is text with a UTF-8 form"
        ) from None
    name = "".join(
        chr(byte) if byte in _PLAIN and not (position == 0 and byte == 0x2E) else f"%{byte:02x}"
        for position, byte in enumerate(raw)
    )
    if not 1 <= len(name) <= _MAX_DIRECTORY_BYTES:
        raise InvalidArgument(
            f"partition key {key[:80]!r}: its encoded name has {len(name)} bytes; allowed are 1 to "
            f"{_MAX_DIRECTORY_BYTES}"
        )
    return name


def decode_partition(name: str) -> str | None:
    """Partition key of a directory name, or None when no key has that name."""
    try:
        raw = re.sub(rb"%([0-9a-f]{2})", lambda m: bytes([int(m[1], 16)]), name.encode("ascii"))
        key = raw.decode("utf-8")
        return key if encode_partition(key) == name else None
    except (UnicodeError, InvalidArgument):
        return None


def manifest_name(number: int) -> str:
    """File name of the manifest of version `number`."""
    if not 1 <= number <= MAX_NUMBER:
        raise InvalidArgument(f"version number {number}: allowed are 1 to {MAX_NUMBER}")
    return f"{number:08d}.json"


def file_name(role: Role, name: str, position: int, suffix: Literal["npy", "arrow"]) -> str:
    """Name of a data file inside its attempt directory."""
    return f"{role}.{name}.{position:06d}.{suffix}"


def validity_name(position: int) -> str:
    """Name of a validity file inside its attempt directory."""
    return f"validity.{position:06d}.npy"


def new_attempt() -> str:
    """Give a fresh attempt name: UTC second and 64 random bits."""
    return time.strftime("%Y%m%dt%H%M%S", time.gmtime()) + "-" + secrets.token_hex(8)


def pieces_name(key: str) -> str:
    """Name of the directory of the pieces of a build that asks for what `key` says."""
    return f"pieces-{xxhash.xxh3_128_hexdigest(key.encode())}"


def data_directory(dataset: str, asset: str, partition: str) -> str:
    """Directory of a partition's attempts, relative to the root."""
    return f"{dataset}/{asset}/data/{encode_partition(partition)}"


def manifest_directory(dataset: str, asset: str, partition: str) -> str:
    """Directory of a partition's manifests, relative to the root."""
    return f"{dataset}/{asset}/manifests/{encode_partition(partition)}"
