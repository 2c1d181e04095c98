"""What makes rows of a whole dataset equal: their content, and the key that deduplication is declared by."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from assets.columns.hashing import Hashes, combine, hash_array, hash_rows, seed_of
from assets.spec import DatasetSpec
from shards import Version

SOURCES = "sources"
"""Table of the `images` asset: for every image column the hash of each row's source bytes."""


def content_keys(
    spec: DatasetSpec, tables: Sequence[pa.Table], versions: Sequence[Sequence[Version]]
) -> Hashes | None:
    """Hash each row's content: its pictures' sources where there are any, else its records."""
    pictures = [name for name, column in spec.image_columns.items() if column.kind == "image"]
    if pictures and all(_has_sources(group, pictures) for group in versions):
        return _of_pictures(pictures, versions, seed_of("content"))
    if spec.record_columns and not pictures:
        content = pa.chunked_array([chunk for table in tables for chunk in table["content"].chunks])
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
    return any(SOURCES in version.tables for version in versions if version.asset == "images")


def _of_pictures(names: Sequence[str], versions: Sequence[Sequence[Version]], seed: np.uint64) -> Hashes:
    parts = []
    for group in versions:
        images = next(version for version in group if version.asset == "images")
        out = np.full(images.num_rows, seed, np.uint64)
        if _has_sources(group, names):
            table = images.table(SOURCES).read().combine_chunks()
            for name in names:
                column = table[name]
                array = column.chunk(0) if column.num_chunks else pa.array([], column.type)
                out = combine(out, hash_array(array, seed))
        else:
            for name in names:
                out = combine(out, _of_pixels(images, name, seed))
        parts.append(out)
    return np.concatenate(parts)


def _of_pixels(images: Version, name: str, seed: np.uint64) -> Hashes:
    reader = images.column(name)
    hashed = []
    for shard in range(reader.num_shards):
        values = reader.shard(shard)
        if isinstance(values, np.ndarray):
            hashed.append(hash_rows(values, seed))
        else:
            hashed.append(hash_array(values, seed))
    return np.concatenate(hashed) if hashed else np.zeros(0, np.uint64)
