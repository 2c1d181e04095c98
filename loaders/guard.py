"""Copies from mapped files that outlive a page that cannot be read.

Touching a page of a mapped file that was cut short, or whose disk fails, raises SIGBUS, which ends a process.
While a `Guard` is entered, the signal of its own thread is answered by putting a page of zeros in the place
of the lost one: the copy goes on, and the guard knows that what was copied must not be used. A signal of any
other thread, or outside a guard, goes to whoever handled it before, so that nothing is hidden from anybody.

The handler is Python called through ctypes, on the stack of the thread that touched the page, in the middle
of a copy. That is safe here because the signal is synchronous: it arrives only at the access to the lost
page, where no lock of the allocator or the interpreter is being taken. See docs/decisions/0504.
"""

from __future__ import annotations

import ctypes
import mmap
import signal
import sys
import threading
from types import TracebackType
from typing import Any

AVAILABLE = sys.platform == "linux" and sys.maxsize > 1 << 32

_SA_SIGINFO = 4
_ADDRESS_OFFSET = 16  # of si_addr in siginfo_t, 64-bit Linux
_PROTECTION = mmap.PROT_READ
_PLACEMENT = 0x10 | mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS  # 0x10: MAP_FIXED


class _Action(ctypes.Structure):
    """`struct sigaction` of 64-bit Linux, as the C library takes it."""

    _fields_ = (
        ("handler", ctypes.c_void_p),
        ("mask", ctypes.c_ubyte * 128),
        ("flags", ctypes.c_int),
        ("restorer", ctypes.c_void_p),
    )


class _Thread(threading.local):
    """How many pages were lost by this thread since its guard was entered; None outside a guard."""

    num_lost: int | None = None


_thread = _Thread()
_lock = threading.Lock()
_installed = False
_before = _Action()


def _libc() -> Any:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [
        ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long
    ]  # fmt: skip
    return libc


_c: Any = _libc() if AVAILABLE else None
_FAILED = ctypes.c_void_p(-1).value


def _answer(number: int, info: int, context: int) -> None:
    """Replace the lost page, or give the signal back: the access is then repeated, and fails for good."""
    if _thread.num_lost is not None:
        address = ctypes.c_size_t.from_address(info + _ADDRESS_OFFSET).value
        page = address & -mmap.PAGESIZE
        if _c.mmap(page, mmap.PAGESIZE, _PROTECTION, _PLACEMENT, -1, 0) != _FAILED:
            _thread.num_lost += 1
            return
    _c.sigaction(signal.SIGBUS, ctypes.byref(_before), None)


_handler = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(_answer)


def _install() -> None:
    global _installed
    with _lock:
        if _installed:
            return
        action = _Action(handler=ctypes.cast(_handler, ctypes.c_void_p), flags=_SA_SIGINFO)
        if _c.sigaction(signal.SIGBUS, ctypes.byref(action), ctypes.byref(_before)):
            raise OSError(ctypes.get_errno(), "sigaction(SIGBUS) failed")
        _installed = True


class Guard:
    """Context in which this thread outlives lost pages; `num_lost` counts them. Guards may be nested.

    The handler is installed by the first guard of the process. Where the platform is not 64-bit Linux, the
    context does nothing.
    """

    def __init__(self) -> None:
        self.num_lost = 0
        self._outer: int | None = None

    def __enter__(self) -> Guard:
        """Begin to watch this thread."""
        if AVAILABLE and not _installed:
            _install()
        self._outer, _thread.num_lost = _thread.num_lost, 0
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Say how many pages were lost."""
        self.num_lost = _thread.num_lost or 0
        _thread.num_lost = self._outer
