"""The one `.npy` header that a column file may have: version 1.0, little endian, C order, fixed length.

The header's length does not depend on the number of rows, so a writer can reserve it and fill it in last,
and a reader needs no parser: the only header allowed is the one computed from the manifest.
"""

from __future__ import annotations

_MAGIC = b"\x93NUMPY\x01\x00"
_ALIGNMENT_BYTES = 64
_ROW_DIGITS = 20


def header(dtype: str, num_rows: int, shape: tuple[int, ...]) -> bytes:
    """Bytes before the data of a file of `num_rows` rows of `shape`; a multiple of 64."""
    dimensions = ", ".join(str(size) for size in (num_rows, *shape)) + ("" if shape else ",")
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': ({dimensions}), }}"
    reserved = len(_MAGIC) + 2 + len(text) - len(str(num_rows)) + _ROW_DIGITS + 1
    length = -(-reserved // _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES
    body = text.ljust(length - len(_MAGIC) - 3) + "\n"
    return _MAGIC + len(body).to_bytes(2, "little") + body.encode("ascii")
