"""Read-only memory maps that hold no file descriptor.

`mmap.mmap` keeps a descriptor open for as long as it lives (until Python 3.13's `trackfd`), so that a dataset
of more shards than `ulimit -n` could not be mapped. The system call itself needs none once it has returned.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import weakref

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = [
    ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long
]  # fmt: skip
_libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_FAILED = ctypes.c_void_p(-1).value


def map_descriptor(descriptor: int, size_bytes: int) -> memoryview:
    """Map a file's first bytes, shared and read-only; unmapped when nothing refers to them any more.

    Safe over fork. The caller must know that the file has `size_bytes` (at least 1), and that nobody cuts it
    short while it is mapped: touching a page past the end kills the process.

    Raises
    ------
    OSError
        The system refused, for instance because of `vm.max_map_count`.
    """
    address = _libc.mmap(None, size_bytes, mmap.PROT_READ, mmap.MAP_SHARED, descriptor, 0)
    if address == _FAILED:
        code = ctypes.get_errno()
        raise OSError(code, f"{os.strerror(code)} while mapping {size_bytes} bytes")
    region = (ctypes.c_ubyte * size_bytes).from_address(address)
    weakref.finalize(region, _libc.munmap, address, size_bytes).atexit = False
    return memoryview(region).cast("B").toreadonly()
