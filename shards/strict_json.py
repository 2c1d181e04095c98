"""JSON read with suspicion: bounded, no duplicate key, no NaN, no huge number, and a checksum at the end."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

import xxhash

from shards.errors import ManifestError, Problem
from shards.limits import MAX_CONTAINERS, MAX_DEPTH, MAX_INTEGER, MAX_MANIFEST_BYTES

_DIGITS_AS_ZEROS = bytes(0x30 if 0x30 <= byte <= 0x39 else 0x20 for byte in range(256))
_CHECKSUM_START = b',"checksum":"'
_CHECKSUM_BYTES = len(_CHECKSUM_START) + 32 + 3


class _Refused(ValueError):
    def __init__(self, kind: str, got: str, allowed: str) -> None:
        super().__init__(kind)
        self.problem = Problem("", kind, got, allowed)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise _Refused("duplicate_key", repr(twice[:80]), "every key once")
    return members


def _constant(text: str) -> NoReturn:
    raise _Refused("not_finite", text, "finite numbers")


def _integer(text: str) -> int:
    if len(text) > 20 or abs(int(text)) > MAX_INTEGER:
        raise _Refused("number_out_of_range", text[:40], f"at most {MAX_INTEGER} in magnitude")
    return int(text)


def _has_long_digits(data: bytes) -> bool:
    """Whether 20 digits follow each other: only there can an integer be that is out of range."""
    return b"0" * 20 in data.translate(_DIGITS_AS_ZEROS)


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise _Refused("not_finite", text[:40], "finite numbers")
    return value


def _depth_problem(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [
            child
            for parent in level
            for child in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(child, (dict, list))
        ]
        if not level:
            return False
    return True


def _load(data: bytes) -> dict[str, Any]:
    if len(data) > MAX_MANIFEST_BYTES:
        raise _Refused("too_large", f"{len(data)} bytes", f"at most {MAX_MANIFEST_BYTES}")
    containers = data.count(b"{") + data.count(b"[")
    if containers > MAX_CONTAINERS or data.count(b",") > 8 * MAX_CONTAINERS:
        raise _Refused("too_many_members", f"{containers} objects and lists", f"at most {MAX_CONTAINERS}")
    body, tail = data[:-_CHECKSUM_BYTES], data[-_CHECKSUM_BYTES:]
    expected = _CHECKSUM_START + xxhash.xxh3_128_hexdigest(body).encode("ascii") + b'"}\n'
    if tail != expected:
        raise _Refused("checksum", repr(tail[-60:]), f"{expected!r}")
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_object,
            parse_constant=_constant,
            parse_int=_integer if _has_long_digits(data) else None,
            parse_float=_float,
        )
    except UnicodeDecodeError as error:
        raise _Refused("not_utf8", f"byte {error.start}", "UTF-8") from None
    except RecursionError:
        raise _Refused("too_deep", "nesting beyond the parser", f"at most {MAX_DEPTH} levels") from None
    except json.JSONDecodeError as error:
        raise _Refused("not_json", f"{error.msg} at character {error.pos}", "one JSON object") from None
    if not isinstance(value, dict):
        raise _Refused("wrong_type", type(value).__name__, "an object")
    if _depth_problem(value):
        raise _Refused("too_deep", f"more than {MAX_DEPTH} levels", f"at most {MAX_DEPTH} levels")
    return value


def load(path: str, data: bytes) -> dict[str, Any]:
    """Members of a sealed JSON object, `checksum` included; ManifestError when anything is amiss."""
    try:
        return _load(data)
    except _Refused as refused:
        raise ManifestError(path, [refused.problem]) from None
