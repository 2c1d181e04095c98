"""A manifest as values, and its one form as bytes.

A manifest is one JSON object whose last member is `checksum`: the xxh3_128 of every byte of the file before
that member's comma. `content_hash` covers what the data are, not when, by whom or how they were made, so that
equal content is recognised; see docs/format.md.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, NamedTuple

import xxhash

from shards.limits import FORMAT, FORMAT_VERSION
from shards.schema import JSON, PROVENANCE_FIELDS, Column, Provenance


class Shard(NamedTuple):
    """One data file of a version: its name in the attempt directory, rows, bytes and xxh3_128."""

    file: str
    rows: int
    bytes: int
    xxh3_128: str


@dataclass(frozen=True, slots=True)
class ColumnEntry:
    """A column and its files."""

    column: Column
    shards: tuple[Shard, ...]


@dataclass(frozen=True, slots=True)
class TableEntry:
    """A table: a struct type whose members are the table's columns, and its files."""

    name: str
    arrow_type: str
    shards: tuple[Shard, ...]


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """Row numbers of a split, or of a subset of one (`parent`); no file when there is no row."""

    name: str
    dtype: str
    shards: tuple[Shard, ...]
    parent: str | None = None


@dataclass(frozen=True, slots=True)
class VocabularyEntry:
    """Values of a category column in order of their codes; no file when there is none."""

    column: str
    arrow_type: str
    shards: tuple[Shard, ...]


class Pin(NamedTuple):
    """A version that a snapshot holds: its number, and its content so that no other can stand in."""

    number: int
    content_hash: str


@dataclass(frozen=True, slots=True)
class SnapshotEntry:
    """What a snapshot's manifest has beyond any other's."""

    pins: Mapping[str, Mapping[str, Pin]]
    partitions: tuple[tuple[str, int], ...]
    splits: tuple[IndexEntry, ...]
    subsets: tuple[IndexEntry, ...]
    vocabularies: tuple[VocabularyEntry, ...]
    transforms: Mapping[str, list[dict[str, JSON]]]


@dataclass(frozen=True, slots=True)
class Manifest:
    """One version of one partition of one asset."""

    dataset: str
    asset: str
    partition: str
    number: int
    created_at: datetime
    attempt: str
    num_rows: int
    columns: tuple[ColumnEntry, ...] = ()
    tables: tuple[TableEntry, ...] = ()
    validity: tuple[Shard, ...] | None = None
    inputs: Mapping[str, int] = field(default_factory=dict)
    statistics: Mapping[str, JSON] = field(default_factory=dict)
    metadata: Mapping[str, JSON] = field(default_factory=dict)
    provenance: Provenance = field(default_factory=Provenance)
    snapshot: SnapshotEntry | None = None
    features: tuple[str, ...] = ()
    content_hash: str = ""

    def shards(self) -> Iterator[Shard]:
        """Every file of the version."""
        for column in self.columns:
            yield from column.shards
        for table in self.tables:
            yield from table.shards
        yield from self.validity or ()
        if self.snapshot is not None:
            for index in (*self.snapshot.splits, *self.snapshot.subsets):
                yield from index.shards
            for vocabulary in self.snapshot.vocabularies:
                yield from vocabulary.shards

    @property
    def size_bytes(self) -> int:
        """Bytes of all data files."""
        return sum(shard.bytes for shard in self.shards())


def _shards(shards: tuple[Shard, ...]) -> list[JSON]:
    return [shard._asdict() for shard in shards]


def _index(entry: IndexEntry) -> dict[str, Any]:
    members: dict[str, Any] = {"name": entry.name}
    if entry.parent is not None:
        members["parent"] = entry.parent
    return members | {"dtype": entry.dtype, "shards": _shards(entry.shards)}


def content(manifest: Manifest) -> dict[str, Any]:
    """Members of the manifest that say what the data are."""
    members: dict[str, Any] = {
        "num_rows": manifest.num_rows,
        "columns": [
            {
                "name": entry.column.name,
                "encoding": entry.column.encoding,
                "dtype": entry.column.dtype,
                "shape": list(entry.column.shape),
                "arrow_type": entry.column.arrow_type,
                "kind": entry.column.kind,
                "mask": entry.column.mask,
                "attributes": dict(entry.column.attributes),
                "shards": _shards(entry.shards),
            }
            for entry in manifest.columns
        ],
        "tables": [
            {"name": entry.name, "arrow_type": entry.arrow_type, "shards": _shards(entry.shards)}
            for entry in manifest.tables
        ],
        "validity": None if manifest.validity is None else _shards(manifest.validity),
        "inputs": dict(manifest.inputs),
        "statistics": dict(manifest.statistics),
        "snapshot": None if manifest.snapshot is None else _snapshot(manifest.snapshot),
    }
    return members


def _snapshot(snapshot: SnapshotEntry) -> dict[str, Any]:
    return {
        "pins": {
            asset: {key: pin._asdict() for key, pin in sorted(pins.items())}
            for asset, pins in sorted(snapshot.pins.items())
        },
        "partitions": [{"key": key, "num_rows": rows} for key, rows in snapshot.partitions],
        "splits": [_index(entry) for entry in snapshot.splits],
        "subsets": [_index(entry) for entry in snapshot.subsets],
        "vocabularies": [
            {"column": entry.column, "arrow_type": entry.arrow_type, "shards": _shards(entry.shards)}
            for entry in snapshot.vocabularies
        ],
        "transforms": dict(snapshot.transforms),
    }


def hash_content(manifest: Manifest) -> str:
    """xxh3_128 of the content members as compact JSON with sorted keys; 32 hexadecimal digits."""
    text = json.dumps(
        content(manifest), separators=(",", ":"), sort_keys=True, ensure_ascii=False, allow_nan=False
    )
    return str(xxhash.xxh3_128_hexdigest(text.encode("utf-8", "surrogatepass")))


def spell_time(moment: datetime) -> str:
    """Text of a moment: UTC, microseconds, `Z`."""
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def seal(members: Mapping[str, JSON]) -> bytes:
    """Bytes of a JSON object with its checksum as the last member."""
    text = json.dumps(members, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    body = text[:-1].encode("utf-8")
    return body + b',"checksum":"' + xxhash.xxh3_128_hexdigest(body).encode("ascii") + b'"}\n'


def dump(manifest: Manifest) -> bytes:
    """Bytes of a manifest's file."""
    members: dict[str, Any] = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "required_features": list(manifest.features),
        "dataset": manifest.dataset,
        "asset": manifest.asset,
        "partition": manifest.partition,
        "number": manifest.number,
        "created_at": spell_time(manifest.created_at),
        "attempt": manifest.attempt,
        "content_hash": manifest.content_hash,
        **content(manifest),
        "metadata": dict(manifest.metadata),
        "provenance": {
            name: getattr(manifest.provenance, name)
            for name in PROVENANCE_FIELDS
            if getattr(manifest.provenance, name) is not None
        },
    }
    return seal(members)
