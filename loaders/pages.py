"""Pages of mapped arrays: whether they are in memory, how they are asked for, read and given up."""

from __future__ import annotations

import ctypes
import mmap
import os
import re
from pathlib import Path
from typing import Any

import numpy.typing as npt

PAGE = mmap.PAGESIZE
HUGE = 1 << 21  # a huge page of the usual 4 KiB pages
SHORT_BYTES = 256 << 10  # of a call that is shorter than giving the interpreter's lock away
LONGEST_BYTES = 8 << 20
POPULATE_READ = 22  # MADV_POPULATE_READ, which `mmap` does not name; Linux 5.14

_holding, _releasing = ctypes.PyDLL(None), ctypes.CDLL(None)  # the interpreter's lock
AVAILABLE = hasattr(_holding, "madvise") and hasattr(_holding, "mincore")


def _has_huge() -> bool:
    """Whether a fault can read a page of `HUGE` bytes: from Linux 5.18 on, where one is that large."""
    release = re.match(r"(\d+)\.(\d+)", os.uname().release)
    try:
        size = int(Path("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size").read_text())
    except (OSError, ValueError):
        return False
    return size == HUGE and release is not None and tuple(map(int, release.groups())) >= (5, 18)


HAS_HUGE = AVAILABLE and _has_huge()
if AVAILABLE:
    for _libc in (_holding, _releasing):
        _libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    _holding.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]


def extent(array: npt.NDArray[Any]) -> tuple[int, int]:
    """Give the address of an array's first page, which is the start of its file, and that of its end."""
    base: int = array.__array_interface__["data"][0]
    return base - base % PAGE, base + array.nbytes


def is_absent(address: int) -> bool:
    """Whether the page at an address is known not to be in memory."""
    found = ctypes.create_string_buffer(1)
    return not _holding.mincore(address - address % PAGE, PAGE, found) and not found.raw[0] & 1


def ask(start: int, stop: int) -> None:
    """Have pages read meanwhile, one by one where they are few."""
    for part in range(start, stop, LONGEST_BYTES):
        length = min(LONGEST_BYTES, stop - part)
        library = _holding if length <= SHORT_BYTES else _releasing
        library.madvise(part, length, mmap.MADV_WILLNEED)


def read(start: int, stop: int) -> None:
    """Have pages read and wait for them; what cannot be read is left to whoever touches it."""
    for part in range(start, stop, LONGEST_BYTES):
        length = min(LONGEST_BYTES, stop - part)
        if _releasing.madvise(part, length, POPULATE_READ):
            _releasing.madvise(part, length, mmap.MADV_WILLNEED)


def read_nothing_around(array: npt.NDArray[Any]) -> None:
    """Have the system read, at a fault in a map, no more than the page that is touched."""
    start, stop = extent(array)
    _holding.madvise(start, stop - start, mmap.MADV_RANDOM)


def read_huge(array: npt.NDArray[Any], *, is_huge: bool) -> None:
    """Say whether that page is a huge one, if it can be: read into one, and mapped as one."""
    start, stop = extent(array)
    _holding.madvise(start, stop - start, mmap.MADV_HUGEPAGE if is_huge else mmap.MADV_NOHUGEPAGE)


def unmap(array: npt.NDArray[Any]) -> None:
    """Give up the map of an array's pages; what is touched again is mapped again, from memory or disk."""
    start, stop = extent(array)
    _releasing.madvise(start, stop - start, mmap.MADV_DONTNEED)
