"""One published version of one partition, opened for reading."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from shards import arrow_types, names
from shards.errors import DamagedFile, NotFound
from shards.manifest import Manifest, Shard
from shards.readers import ColumnReader, ShardFiles, TableReader
from shards.schema import JSON, Column, Provenance
from shards.storage import Storage


class Version:
    """An immutable version; sizes of files that are mapped in place were checked when it was opened.

    Safe to share between threads and to pickle. Readers are made anew by each call.
    """

    def __init__(
        self, storage: Storage, manifest: Manifest, *, verify: bool = False, check: bool = True
    ) -> None:
        self._storage = storage
        self.manifest = manifest
        self._verify = verify
        self.directory = (
            f"{names.data_directory(manifest.dataset, manifest.asset, manifest.partition)}/{manifest.attempt}"
        )
        if check and storage.in_place:
            check_sizes(storage, self.directory, manifest)

    @property
    def dataset(self) -> str:
        """Name of the dataset."""
        return self.manifest.dataset

    @property
    def asset(self) -> str:
        """Name of the asset."""
        return self.manifest.asset

    @property
    def partition(self) -> str:
        """Partition key."""
        return self.manifest.partition

    @property
    def number(self) -> int:
        """Number of the version, from 1."""
        return self.manifest.number

    @property
    def content_hash(self) -> str:
        """Hash of what the data are; 32 hexadecimal digits."""
        return self.manifest.content_hash

    @property
    def created_at(self) -> datetime:
        """When the version was published, UTC; never before the version it follows."""
        return self.manifest.created_at

    @property
    def num_files(self) -> int:
        """Data files."""
        return sum(1 for _ in self.manifest.shards())

    @property
    def num_rows(self) -> int:
        """Rows of every column; of the first table when there is no column."""
        return self.manifest.num_rows

    @property
    def size_bytes(self) -> int:
        """Bytes of all data files."""
        return self.manifest.size_bytes

    @property
    def inputs(self) -> Mapping[str, int]:
        """Version numbers of the assets this one was made from."""
        return self.manifest.inputs

    @property
    def statistics(self) -> Mapping[str, JSON]:
        """Statistics of the data, by column."""
        return self.manifest.statistics

    @property
    def metadata(self) -> Mapping[str, JSON]:
        """Notes of the writer; not part of the content."""
        return self.manifest.metadata

    @property
    def provenance(self) -> Provenance:
        """Where the data came from."""
        return self.manifest.provenance

    @property
    def columns(self) -> dict[str, Column]:
        """Every column by name, in the order of writing."""
        return {entry.column.name: entry.column for entry in self.manifest.columns}

    @property
    def tables(self) -> list[str]:
        """Names of the tables."""
        return [entry.name for entry in self.manifest.tables]

    def _files(self, shards: tuple[Shard, ...]) -> ShardFiles:
        return ShardFiles([(self.directory, shards)])

    def files(self) -> ShardFiles:
        """Every data file of the version."""
        return self._files(tuple(self.manifest.shards()))

    def column_shards(self, name: str) -> tuple[Shard, ...]:
        """Files of one column, in order."""
        for entry in self.manifest.columns:
            if entry.column.name == name:
                return entry.shards
        raise NotFound(f"{self}: no column {name!r}; there are {', '.join(self.columns) or 'none'}")

    def column(self, name: str) -> ColumnReader:
        """Reader of one column; NotFound when there is none of this name."""
        files = self._files(self.column_shards(name))
        return ColumnReader(self._storage, self.columns[name], files, verify=self._verify)

    def table(self, name: str) -> TableReader:
        """Reader of one table; NotFound when there is none of this name."""
        for entry in self.manifest.tables:
            if entry.name == name:
                schema = arrow_types.schema_of(entry.arrow_type)
                return TableReader(
                    self._storage, name, schema, self._files(entry.shards), verify=self._verify
                )
        raise NotFound(f"{self}: no table {name!r}; there are {', '.join(self.tables) or 'none'}")

    @property
    def vocabularies(self) -> list[str]:
        """Columns that have a vocabulary; only a snapshot has any."""
        snapshot = self.manifest.snapshot
        return [] if snapshot is None else [entry.column for entry in snapshot.vocabularies]

    def vocabulary(self, column: str) -> pa.Array:
        """Values of a category column in order of their codes; NotFound when it has no vocabulary."""
        snapshot = self.manifest.snapshot
        for entry in () if snapshot is None else snapshot.vocabularies:
            if entry.column == column:
                described = Column("value", "arrow", arrow_type=entry.arrow_type, kind="category")
                files = self._files(entry.shards)
                return ColumnReader(self._storage, described, files, verify=self._verify).read()
        raise NotFound(
            f"{self}: no vocabulary of {column!r}; there are {', '.join(self.vocabularies) or 'none'}"
        )

    def validity(self) -> npt.NDArray[np.bool_]:
        """Whether each row can be used; shape (num_rows,). All true when nothing was said at writing."""
        if self.manifest.validity is None:
            return np.ones(self.num_rows, np.bool_)
        column = Column("validity", "npy", "|b1", kind="bool")
        reader = ColumnReader(self._storage, column, self._files(self.manifest.validity), verify=self._verify)
        values: npt.NDArray[np.bool_] = reader.read()
        return values

    def __repr__(self) -> str:
        """Coordinates."""
        return f"{self.dataset}/{self.asset}[{self.partition}] version {self.number}"


def check_sizes(storage: Storage, directory: str, manifest: Manifest) -> None:
    """Raise DamagedFile unless every file is a regular one of exactly the size that the manifest says."""
    sizes = storage.sizes(directory)
    for shard in manifest.shards():
        found = sizes.get(shard.file)
        if found != shard.bytes:
            reason = (
                "is missing" if found is None
                else "is not a regular file" if found < 0
                else f"has {found} bytes, its manifest says {shard.bytes}"
            )  # fmt: skip
            raise DamagedFile(f"{directory}/{shard.file}", reason)
