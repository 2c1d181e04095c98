"""Loads, stores and copies at plain addresses, for functions compiled by Numba.

Everything that the walker touches is reached by a 64-bit address: the reply of the server, the tables of the
plan and the column buffers. One type for everything gives one specialization and a short compile time. None
of these functions checks anything: whoever calls them has compared the address with the end of its buffer.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

Function = TypeVar("Function", bound=Callable[..., Any])

NO_WRAPPERS = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
"""Compile no way in from Python: a sixth of the time."""


def inner(function: Function) -> Function:
    """Compile a function that other compiled functions call; it becomes part of them."""
    return _compiled(function)


def inline(function: Function) -> Function:
    """Compile a short function that is called for every value, without the cost of a call."""
    return _compiled(function, forceinline=True)


def _compiled(function: Function, **options: bool) -> Function:
    compiler: Any = njit
    made = compiler(nogil=True, error_model="numpy", **NO_WRAPPERS, **options)(function)
    return cast("Function", _plain_types(made))


def _plain_types(dispatcher: Any) -> Any:
    """Compile one version for integers, not one for every constant that is passed: a third of the time."""
    template = dispatcher.get_call_template

    def get_call_template(arguments: Any, keywords: Any) -> Any:
        plain = [one.literal_type if isinstance(one, types.Literal) else one for one in arguments]
        return template(plain, keywords)

    dispatcher.get_call_template = get_call_template
    return dispatcher


def entry(function: Function) -> Function:
    """Compile a function that Python calls, and keep the machine code between runs.

    The cache lies beside the source, or in the user's cache directory where that is read-only, or below
    `NUMBA_CACHE_DIR`; without a writable place the function is compiled in every process.
    """
    try:
        compiled: Any = njit(nogil=True, cache=True, error_model="numpy")(function)
    except RuntimeError as error:  # Numba: "cannot cache function ...: no locator available"
        warnings.warn(f"compiled code is not kept between runs ({error}); set NUMBA_CACHE_DIR", stacklevel=2)
        compiled = njit(nogil=True, error_model="numpy")(function)
    return cast("Function", compiled)


def fingerprint(*modules: str) -> str:
    """Hash of the sources of compiled modules: a change in one of them makes old machine code stale."""
    directory = Path(__file__).parent
    digest = hashlib.sha256()
    for module in ("memory", *modules):
        digest.update((directory / f"{module}.py").read_bytes())
    return digest.hexdigest()


raw_memcpy: Any = cgutils.raw_memcpy
declare: Any = cgutils.get_or_insert_function
make_intrinsic: Any = intrinsic


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

    return make_intrinsic(typing)


def _store(bits: int) -> Any:
    def typing(context: Any, address: Any, value: Any) -> Any:
        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            value = arguments[1] if bits == 64 else builder.trunc(arguments[1], ir.IntType(bits))
            builder.store(value, _pointer(builder, arguments[0], bits), align=1)
            return context.get_dummy_value()

        return types.void(types.int64, types.int64), code

    return make_intrinsic(typing)


load8: Callable[[int], int] = _load(8, signed=False)
load32: Callable[[int], int] = _load(32, signed=True)
load64: Callable[[int], int] = _load(64, signed=True)
store8: Callable[[int, int], None] = _store(8)
store64: Callable[[int, int], None] = _store(64)


def _load_double(context: Any, address: Any) -> Any:

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = builder.inttoptr(arguments[0], ir.DoubleType().as_pointer())
        return builder.load(pointer, align=1)

    return types.float64(types.int64), code


def _store_double(context: Any, address: Any, value: Any) -> Any:

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.store(arguments[1], builder.inttoptr(arguments[0], ir.DoubleType().as_pointer()), align=1)
        return context.get_dummy_value()

    return types.void(types.int64, types.float64), code


def _copy(context: Any, target: Any, source: Any, num_bytes: Any) -> Any:

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        target, source = (_pointer(builder, arguments[index], 8) for index in (0, 1))
        raw_memcpy(builder, target, source, arguments[2], 1)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), code


def _trailing_zeros(context: Any, value: Any) -> Any:

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.int64), code


def _prefetch(context: Any, address: Any) -> Any:

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        byte, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, word, word, word])
        function = declare(builder.module, kind, "llvm.prefetch.p0i8")
        read, near, data = (ir.Constant(word, number) for number in (0, 3, 1))
        builder.call(function, [_pointer(builder, arguments[0], 8), read, near, data])
        return context.get_dummy_value()

    return types.void(types.int64), code


load_double: Callable[[int], float] = make_intrinsic(_load_double)
"""Read a little-endian double at an address of any alignment."""

store_double: Callable[[int, float], None] = make_intrinsic(_store_double)
"""Write a little-endian double at an address of any alignment."""

copy: Callable[[int, int, int], None] = make_intrinsic(_copy)
"""Copy bytes to, from, how many; the places do not overlap."""

trailing_zeros: Callable[[int], int] = make_intrinsic(_trailing_zeros)
"""Number of zero bits below the lowest one bit; the value is not zero."""

prefetch: Callable[[int], None] = make_intrinsic(_prefetch)
"""Ask for the bytes at an address, any address, to be brought into the cache."""
