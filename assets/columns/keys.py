"""What makes rows of a whole dataset equal: their content, and the key that deduplication is declared by."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from assets.columns.hashing import Hashes, combine, hash_array, hash_rows, mix, seed_of, valid_mask
from assets.spec import DatasetSpec
from shards import ColumnReader, Version

SOURCE = "{name}__source"
"""Column of the `images` asset: 128-bit hash of the bytes that each row's picture was made of, or zeros."""


def content_keys(
    spec: DatasetSpec, tables: Sequence[pa.Table], versions: Sequence[Sequence[Version]]
) -> Hashes | None:
    """Hash each row's content: its pictures' sources where there are any, else its records."""
    pictures = [name for name, column in spec.image_columns.items() if column.kind == "image"]
    if pictures and all(_has_sources(group, pictures) for group in versions):
        return _of_pictures(pictures, versions, seed_of("content"))
    if spec.record_columns and not pictures:
        content = pa.chunked_array(
            [chunk for table in tables for chunk in table["content"].chunks], pa.uint64()
        )
        return None if content.null_count else content.to_numpy()
    return None


def duplicate_keys(
    spec: DatasetSpec, tables: Sequence[pa.Table], versions: Sequence[Sequence[Version]]
) -> tuple[Hashes, Hashes] | None:
    """Give both halves of each row's 128-bit key; None when no deduplication is declared."""
    if spec.dedup is None:
        return None
    pictures = [name for name in spec.dedup.content or () if name in spec.image_columns]
    halves = []
    for column in ("key_low", "key_high"):
        seed = seed_of(column)
        half: Hashes | None = None
        if column in tables[0].schema.names:
            half = np.concatenate([table[column].to_numpy() for table in tables])
        if pictures:
            found = _of_pictures(pictures, versions, seed)
            half = found if half is None else combine(half, found)
        assert half is not None
        halves.append(half)
    return halves[0], halves[1]


def _has_sources(versions: Sequence[Version], names: Sequence[str]) -> bool:
    images = _images(versions)
    return all(SOURCE.format(name=name) in images.columns for name in names)


def _images(versions: Sequence[Version]) -> Version:
    return next(version for version in versions if version.asset == "images")


def _of_pictures(names: Sequence[str], versions: Sequence[Sequence[Version]], seed: np.uint64) -> Hashes:
    """Hash the pictures of every row; a row without any is like no other."""
    parts, first = [], 0
    for group in versions:
        images = _images(group)
        out = np.full(images.num_rows, seed, np.uint64)
        absent = np.ones(images.num_rows, np.bool_)
        for name in names:
            source = SOURCE.format(name=name)
            stored = images.column(source if source in images.columns else name)
            hashed, blank = _of_column(stored, seed)
            out, absent = combine(out, hashed), absent & blank
        numbers = np.arange(first, first + images.num_rows, dtype=np.uint64)
        parts.append(np.where(absent, mix(numbers ^ seed), out))
        first += images.num_rows
    return np.concatenate(parts)


def _of_column(reader: ColumnReader, seed: np.uint64) -> tuple[Hashes, npt.NDArray[np.bool_]]:
    """Hash a stored column, shard by shard; also tells which rows are all zero."""
    hashed, blank = [np.zeros(0, np.uint64)], [np.zeros(0, np.bool_)]
    for shard in range(reader.num_shards):
        values = reader.shard(shard)
        if isinstance(values, np.ndarray):
            hashed.append(hash_rows(values, seed))
            filled = np.any(values.reshape(len(values), -1), axis=1)
            blank.append(np.asarray(~filled, np.bool_))
        else:
            hashed.append(hash_array(values, seed))
            blank.append(~valid_mask(values))
    return np.concatenate(hashed), np.concatenate(blank)
