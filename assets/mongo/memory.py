"""Loads, stores and copies at plain addresses, for functions compiled by Numba.

Everything that the walker touches is reached by a 64-bit address: the reply of the server, the tables of the
plan and the column buffers. One type for everything gives one specialization and a short compile time. None of
these functions checks anything: whoever calls them has compared the address with the end of its buffer first.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

Function = TypeVar("Function", bound=Callable[..., Any])


def inner(function: Function) -> Function:
    """Compile a function that other compiled functions call; it becomes part of them."""
    return _plain_types(njit(nogil=True, error_model="numpy")(function))


def inline(function: Function) -> Function:
    """Compile a short function that is called for every value, without the cost of a call."""
    return _plain_types(njit(nogil=True, error_model="numpy", forceinline=True)(function))


def _plain_types(dispatcher: Any) -> Any:
    """Compile one version for integers, not one for every constant that is passed: a third of the time."""
    template = dispatcher.get_call_template

    def get_call_template(arguments: Any, keywords: Any) -> Any:
        return template([types.unliteral(one) for one in arguments], keywords)

    dispatcher.get_call_template = get_call_template
    return dispatcher


def entry(function: Function) -> Function:
    """Compile a function that Python calls, and keep the machine code between runs.

    The cache lies beside the source, or in the user's cache directory where that is read-only, or below
    `NUMBA_CACHE_DIR`; without a writable place the function is compiled in every process.
    """
    try:
        compiled: Function = njit(nogil=True, cache=True, error_model="numpy")(function)
    except RuntimeError as error:  # Numba: "cannot cache function ...: no locator available"
        warnings.warn(f"compiled code is not kept between runs ({error}); set NUMBA_CACHE_DIR", stacklevel=2)
        return inner(function)
    return compiled


def fingerprint(*modules: str) -> str:
    """Hash of the sources of compiled modules, so that a change in one of them makes old machine code stale."""
    directory = Path(__file__).parent
    digest = hashlib.sha256()
    for module in ("memory", *modules):
        digest.update((directory / f"{module}.py").read_bytes())
    return digest.hexdigest()


def _pointer(builder: Any, address: Any, bits: int) -> Any:
    return builder.inttoptr(address, ir.IntType(bits).as_pointer())


def _load(bits: int, signed: bool) -> Any:
    def typing(context: Any, address: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            value = builder.load(_pointer(builder, arguments[0], bits), align=1)
            if bits == 64:
                return value
            return builder.sext(value, ir.IntType(64)) if signed else builder.zext(value, ir.IntType(64))

        return types.int64(types.int64), code

    return intrinsic(typing)


def _store(bits: int) -> Any:
    def typing(context: Any, address: Any, value: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            value = arguments[1] if bits == 64 else builder.trunc(arguments[1], ir.IntType(bits))
            builder.store(value, _pointer(builder, arguments[0], bits), align=1)
            return context.get_dummy_value()

        return types.void(types.int64, types.int64), code

    return intrinsic(typing)


load8 = _load(8, signed=False)
load32 = _load(32, signed=True)
load64 = _load(64, signed=True)
store8 = _store(8)
store64 = _store(64)


@intrinsic
def load_double(context: Any, address: Any) -> Any:
    """Read a little-endian double at an address of any alignment."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = builder.inttoptr(arguments[0], ir.DoubleType().as_pointer())
        return builder.load(pointer, align=1)

    return types.float64(types.int64), code


@intrinsic
def store_double(context: Any, address: Any, value: Any) -> Any:
    """Write a little-endian double at an address of any alignment."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.store(
            arguments[1], builder.inttoptr(arguments[0], ir.DoubleType().as_pointer()), align=1
        )
        return context.get_dummy_value()

    return types.void(types.int64, types.float64), code


@intrinsic
def copy(context: Any, target: Any, source: Any, num_bytes: Any) -> Any:
    """Copy bytes between places that do not overlap."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        target, source = (_pointer(builder, arguments[index], 8) for index in (0, 1))
        cgutils.raw_memcpy(builder, target, source, arguments[2], 1)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), code


@intrinsic
def trailing_zeros(context: Any, value: Any) -> Any:
    """Number of zero bits below the lowest one bit; `value` is not zero."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.int64), code
