"""Texts of few distinct values: each value is written once a shard, rows refer to it by number.

That is Arrow's dictionary encoding; it changes how a column lies in a file, never its type. A text may be a
column or lie in records and lists.
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

MAX_VALUES = 4096
INDEX = pa.int16()
ROWS_A_VALUE = 8  # at least, or nothing is gained
SAMPLE_ROWS = 2 * MAX_VALUES  # that show whether all rows are worth counting


def encoded(array: pa.Array) -> pa.Array:
    """Give the same values, texts of few distinct ones by dictionary."""
    dtype = _encoded_type(array)
    return array if dtype == array.type else array.cast(dtype)


def decoded(array: pa.Array) -> pa.Array:
    """Give the same values without dictionaries."""
    dtype = plain(array.type)
    return array if dtype == array.type else array.cast(dtype)


def plain(dtype: pa.DataType) -> pa.DataType:
    """Give the type without the dictionaries that the format allows."""
    if pa.types.is_dictionary(dtype):
        allowed = dtype.index_type == INDEX and not dtype.ordered and _is_text(dtype.value_type)
        return dtype.value_type if allowed else dtype
    return _over(dtype, [plain(field.type) for field in _children(dtype)])


def in_use(array: pa.Array) -> Iterator[pa.DictionaryArray]:
    """Yield every dictionary-encoded array within an array."""
    if pa.types.is_dictionary(array.type):
        yield array
    for child in _parts(array):
        yield from in_use(child)


def _encoded_type(array: pa.Array) -> pa.DataType:
    if _is_text(array.type):
        return pa.dictionary(INDEX, array.type) if _has_few(array) else array.type
    return _over(array.type, [_encoded_type(child) for child in _parts(array)])


def _has_few(array: pa.Array) -> bool:
    sample = array[:SAMPLE_ROWS]
    if _num_values(sample) > len(sample) // 2:
        return False
    return 0 < _num_values(array) <= min(MAX_VALUES, len(array) // ROWS_A_VALUE)


def _num_values(array: pa.Array) -> int:
    return len(array.unique()) - bool(array.null_count)


def _is_text(dtype: pa.DataType) -> bool:
    return bool(pa.types.is_string(dtype) or pa.types.is_large_string(dtype))


def _is_list(dtype: pa.DataType) -> bool:
    return bool(
        pa.types.is_list(dtype) or pa.types.is_large_list(dtype) or pa.types.is_fixed_size_list(dtype)
    )


def _children(dtype: pa.DataType) -> list[pa.Field]:
    return [dtype.value_field] if _is_list(dtype) else list(dtype) if pa.types.is_struct(dtype) else []


def _parts(array: pa.Array) -> list[pa.Array]:
    if pa.types.is_struct(array.type):
        return [array.field(position) for position in range(array.type.num_fields)]
    return [array.values] if _is_list(array.type) else []


def _over(dtype: pa.DataType, types: list[pa.DataType]) -> pa.DataType:
    """Give the type with other children."""
    fields = [field.with_type(found) for field, found in zip(_children(dtype), types, strict=True)]
    if pa.types.is_struct(dtype):
        return pa.struct(fields)
    if pa.types.is_fixed_size_list(dtype):
        return pa.list_(fields[0], dtype.list_size)
    if pa.types.is_list(dtype):
        return pa.list_(fields[0])
    return pa.large_list(fields[0]) if fields else dtype
