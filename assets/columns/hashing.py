"""Keyed 64-bit hashes of column values: the same value has the same hash on every machine, for ever.

The hash decides splits, buckets and duplicates, so it is part of what a dataset means: changing anything here
moves rows between splits. A value is cut into words of 64 bits, zero padded; each is passed through
SplitMix64's finaliser (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014) under
the key of its position, and the finaliser of their sum and the length is the hash. Not cryptographic: whoever
chooses the values can choose the hash.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from assets.columns import kernels

Hashes: TypeAlias = npt.NDArray[np.uint64]
Bytes: TypeAlias = npt.NDArray[np.uint8]

NUM_KEYS = 64
"""Keys of so many positions are made beforehand."""
INT32, INT64, DOUBLE = 0x10, 0x12, 0x01


def seed_of(key: str) -> np.uint64:
    """Turn a key of any length into the seed of a hash."""
    return np.uint64(xxhash.xxh3_64_intdigest(key.encode()))


def mix(words: Hashes) -> Hashes:
    """SplitMix64's finaliser: a bijection of 64-bit words in which every bit depends on every bit."""
    out = np.empty(len(words), np.uint64)
    kernels.mix_all(words, out)
    return out


def combine(first: Hashes, second: Hashes) -> Hashes:
    """Hash of a pair, from the hashes of its parts; order matters."""
    return mix(mix(first) ^ second)


def hash_rows(matrix: npt.NDArray[np.generic], seed: np.uint64) -> Hashes:
    """Hash every row of a C-contiguous array of fixed-size values, by its bytes."""
    num_rows = len(matrix)
    octets = np.ascontiguousarray(matrix).reshape(num_rows, -1).view(np.uint8).reshape(num_rows, -1)
    length = octets.shape[1]
    if length in (1, 2, 4):
        words = octets.view(f"<u{length}").astype("<u8")
    elif length and length % 8 == 0:
        words = octets.view("<u8")
    else:
        starts = np.arange(num_rows, dtype=np.int64) * length
        return _hash_slices(octets.reshape(-1), starts, np.full(num_rows, length, np.int64), seed)
    out = np.empty(num_rows, np.uint64)
    kernels.hash_words(words, length, _keys(seed, words.shape[1] + 1), out)
    return out


def _keys(seed: np.uint64, num: int = NUM_KEYS) -> Hashes:
    return mix(seed + np.arange(1, num + 1, dtype=np.uint64) * kernels.GOLDEN)


def binary_parts(array: pa.Array) -> tuple[Bytes, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Give the octets of a binary or string array, with start and length of each value (0 for a null)."""
    num_rows = len(array)
    if pa.types.is_fixed_size_binary(array.type):
        width = array.type.byte_width
        starts = (np.arange(num_rows, dtype=np.int64) + array.offset) * width
        lengths = np.full(num_rows, width, np.int64)
        data = array.buffers()[1]
    else:
        offset_dtype = (
            np.int64
            if pa.types.is_large_binary(array.type) or pa.types.is_large_string(array.type)
            else np.int32
        )
        buffers = array.buffers()
        offsets = (
            np.frombuffer(buffers[1], offset_dtype)[array.offset : array.offset + num_rows + 1]
            if (num_rows)
            else np.zeros(1, offset_dtype)
        )
        starts = offsets[:-1].astype(np.int64)
        lengths = np.diff(offsets).astype(np.int64)
        data = buffers[2]
    octets = np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8)
    if array.null_count:
        lengths = np.where(valid_mask(array), lengths, 0)
    return octets, starts, lengths


def valid_mask(array: pa.Array) -> npt.NDArray[np.bool_]:
    """Tell which values are not null."""
    if array.null_count == 0:
        return np.ones(len(array), np.bool_)
    return np.asarray(array.is_valid().to_numpy(zero_copy_only=False), np.bool_)


def hash_values(array: pa.Array, seed: np.uint64) -> Hashes:
    """Hash every value of a binary or string array; a null hashes as the empty value."""
    octets, starts, lengths = binary_parts(array)
    return _hash_slices(octets, starts, lengths, seed)


def _hash_slices(
    octets: Bytes, starts: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64], seed: np.uint64
) -> Hashes:
    out = np.empty(len(starts), np.uint64)
    words: Hashes = np.ndarray((max(len(octets) - 7, 0),), "<u8", octets, strides=(1,))
    kernels.hash_slices(octets, words, starts, lengths, _keys(seed), seed, out)
    return out


def hash_raw(array: pa.Array, seed: np.uint64) -> Hashes:
    """Hash raw BSON values (type byte, then value): numbers that are equal in MongoDB hash alike.

    int32, int64 and whole doubles within int64 are hashed as int64, so that a patient numbered 7 and one
    numbered 7.0 are the same patient; every other value is hashed by its bytes.
    """
    octets, starts, lengths = binary_parts(array)
    kinds = np.zeros(len(starts), np.uint8)
    if len(lengths) and lengths.min() > 0:
        np.take(octets, starts, out=kinds)
    else:
        present = lengths > 0
        kinds[present] = octets[starts[present]]
    lowest, highest = (kinds.min(), kinds.max()) if len(kinds) else (0, 0)
    same = lowest == highest and lowest not in (INT32, INT64, DOUBLE)
    numeric = np.zeros(0, np.bool_) if same else np.isin(kinds, (INT32, INT64, DOUBLE))
    if not numeric.any():
        return _hash_slices(octets, starts, lengths, seed)
    out = np.empty(len(starts), np.uint64)
    rest = np.flatnonzero(~numeric)
    out[rest] = _hash_slices(octets, starts[rest], lengths[rest], seed)
    for kind, width, dtype in ((INT32, 5, "<i4"), (INT64, 9, "<i8"), (DOUBLE, 9, "<f8")):
        rows = np.flatnonzero(kinds == kind)
        if not len(rows):
            continue
        whole_values = np.take(octets, starts[rows][:, None] + np.arange(1, width))
        values = whole_values.view(dtype)[:, 0]
        if kind == DOUBLE:
            whole = np.isfinite(values) & (values == np.floor(values)) & (np.abs(values) < 2.0**63)
            other = rows[~whole]
            out[other] = _hash_slices(octets, starts[other], lengths[other], seed)
            rows, values = rows[whole], values[whole]
        canonical = np.empty((len(rows), 9), np.uint8)
        canonical[:, 0] = INT64
        canonical[:, 1:] = values.astype("<i8").view(np.uint8).reshape(len(rows), 8)
        out[rows] = hash_rows(canonical, seed)
    return out


def hash_array(array: pa.Array, seed: np.uint64) -> Hashes:
    """Hash every value of an Arrow array of any type, nested ones by their parts; null is a value too."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        distinct = hash_array(array.dictionary, seed)
        indices = array.indices.fill_null(0).to_numpy(zero_copy_only=False)
        out = distinct[indices] if len(distinct) else np.zeros(len(array), np.uint64)
    elif pa.types.is_struct(kind):
        out = np.full(len(array), seed, np.uint64)
        for child in array.flatten():
            out = combine(out, hash_array(child, seed))
    elif pa.types.is_large_list(kind) or pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
        parts = hash_array(array.flatten(), seed).view(np.uint8)
        if pa.types.is_fixed_size_list(kind):
            lengths = np.where(valid_mask(array), kind.list_size, 0).astype(np.int64)
        else:
            lengths = np.diff(array.offsets.to_numpy(zero_copy_only=False)).astype(np.int64)
            lengths = np.where(valid_mask(array), lengths, 0)
        starts = np.cumsum(lengths) - lengths
        out = _hash_slices(parts, starts * 8, lengths * 8, seed)
    elif pa.types.is_boolean(kind):
        out = hash_rows(array.fill_null(False).to_numpy(zero_copy_only=False).astype(np.uint8), seed)
    elif pa.types.is_primitive(kind):
        width = kind.bit_width // 8
        data = array.buffers()[1]
        octets = np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8)
        rows = octets[array.offset * width : (array.offset + len(array)) * width].reshape(-1, width)
        if array.null_count:
            rows = np.where(valid_mask(array)[:, None], rows, np.uint8(0))
        out = hash_rows(rows, seed)
    else:
        out = hash_values(array, seed)
    if array.null_count:
        out = np.where(valid_mask(array), out, ~out)
    return out
