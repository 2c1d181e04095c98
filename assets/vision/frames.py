"""What passes between a process and its decoding child: a length, that much JSON, then bytes. No pickle."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any, Final

_HEAD: Final = struct.Struct("<IQ")
_MAX_JSON_BYTES: Final = 1 << 20


def pack(members: dict[str, Any], num_bytes: int) -> bytes:
    """Give the head of a frame whose body of `num_bytes` follows."""
    text = json.dumps(members).encode()
    return _HEAD.pack(len(text), num_bytes) + text


def unpack(read: Callable[[int], bytes]) -> tuple[dict[str, Any], bytes]:
    """Read a frame; `read` gives exactly as many bytes as asked for, or raises EOFError."""
    json_bytes, num_bytes = _HEAD.unpack(read(_HEAD.size))
    if json_bytes > _MAX_JSON_BYTES:
        raise EOFError(f"a frame declares {json_bytes} bytes of JSON, allowed {_MAX_JSON_BYTES}")
    members: dict[str, Any] = json.loads(read(json_bytes))
    return members, read(num_bytes)
