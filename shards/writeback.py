"""Early writeback, so that a later fsync finds little left to wait for."""

from __future__ import annotations

import ctypes

_sync_file_range = getattr(ctypes.CDLL(None), "sync_file_range", None)  # Linux alone has it
if _sync_file_range is not None:
    _sync_file_range.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]
_SYNC_FILE_RANGE_WRITE = 2


def start_writeback(descriptor: int, start: int, stop: int) -> None:
    """Ask the kernel to begin writing bytes of a file; a hint that promises nothing and never fails."""
    if _sync_file_range is not None:
        _sync_file_range(descriptor, start, stop - start, _SYNC_FILE_RANGE_WRITE)
