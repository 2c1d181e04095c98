"""A snapshot opened for reading: every column over all partitions, splits, vocabularies and transforms."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import numpy.typing as npt
import pyarrow as pa

from shards import collector
from shards.catalog import Catalog
from shards.errors import DamagedFile, NotFound
from shards.index import IndexReader
from shards.manifest import IndexEntry, Manifest, Pin, SnapshotEntry
from shards.readers import ColumnReader, ShardFile, ShardFiles
from shards.schema import JSON, Column
from shards.version import Version

NUM_FETCHERS = 16
"""Manifests of a remote store that are read at once."""
CHECKED_FILES = 10_000


class Snapshot:
    """An immutable view of one version of every partition.

    Rows are numbered over all partitions, in ascending order of partition key. Safe to share between
    threads and to pickle. Sizes of the first `CHECKED_FILES` files were checked when it was opened, that of
    every file is checked when it is mapped.
    """

    def __init__(self, catalog: Catalog, manifest: Manifest, *, verify: bool = False) -> None:
        if manifest.snapshot is None:
            raise NotFound(f"{manifest.dataset}/{manifest.asset} version {manifest.number}: is no snapshot")
        self.version = Version(catalog.storage, manifest, verify=verify)
        self._storage = catalog.storage
        self._verify = verify
        self._entry: SnapshotEntry = manifest.snapshot
        self._versions: dict[str, list[Version]] = {}
        num_files = 0
        with collector.paused():
            for asset, pins in self._entry.pins.items():
                if not catalog.storage.in_place:  # each manifest is a request; many are under way at once
                    self._versions[asset] = _fetch_pinned(catalog, manifest, asset, pins, verify)
                    continue
                opened = self._versions[asset] = []
                for key, _ in self._entry.partitions:
                    check = num_files < CHECKED_FILES
                    version = _pinned(catalog, manifest.dataset, asset, key, pins[key], verify, check)
                    num_files += version.num_files
                    opened.append(version)
        self._asset_of = {
            name: asset
            for asset, versions in self._versions.items()
            for name in (versions[0].columns if versions else ())
        }

    @property
    def dataset(self) -> str:
        """Name of the dataset."""
        return self.version.dataset

    @property
    def number(self) -> int:
        """Number of the snapshot, from 1."""
        return self.version.number

    @property
    def created_at(self) -> datetime:
        """When it was published, UTC."""
        return self.version.created_at

    @property
    def num_rows(self) -> int:
        """Rows of every column, over all partitions."""
        return self.version.num_rows

    @property
    def partitions(self) -> list[tuple[str, int, int]]:
        """Key, first row and rows of every partition."""
        first, found = 0, []
        for key, rows in self._entry.partitions:
            found.append((key, first, rows))
            first += rows
        return found

    @property
    def pins(self) -> dict[str, dict[str, int]]:
        """Number of the pinned version by asset and partition."""
        return {
            asset: {key: pin.number for key, pin in pins.items()} for asset, pins in self._entry.pins.items()
        }

    @property
    def versions(self) -> dict[str, list[Version]]:
        """Pinned versions by asset, in order of partition."""
        return {asset: list(versions) for asset, versions in self._versions.items()}

    @property
    def columns(self) -> dict[str, Column]:
        """Every column by name, as the first partition describes it."""
        return {
            name: column
            for versions in self._versions.values()
            for name, column in (versions[0].columns.items() if versions else ())
        }

    def column(self, name: str) -> ColumnReader:
        """Reader of one column over all partitions; NotFound when there is none of this name."""
        if name not in self._asset_of:
            raise NotFound(f"{self}: no column {name!r}; there are {', '.join(self._asset_of) or 'none'}")
        versions = self._versions[self._asset_of[name]]
        files = ShardFiles([(version.directory, version.column_shards(name)) for version in versions])
        return ColumnReader(self._storage, self.columns[name], files, verify=self._verify)

    @property
    def splits(self) -> list[str]:
        """Names of the splits."""
        return [entry.name for entry in self._entry.splits]

    @property
    def subsets(self) -> dict[str, str]:
        """Split of every named subset."""
        return {entry.name: entry.parent or "" for entry in self._entry.subsets}

    def index(self, split: str) -> npt.NDArray[Any]:
        """Rows of a split, ascending, mapped; uint32 or uint64.

        Of more than `CHECKED_ROWS` rows, it was not looked whether all of them exist; readers look again.
        """
        return self.index_reader(split).rows()

    def index_reader(self, split: str) -> IndexReader:
        """Reader of the rows of a split."""
        return self._index_reader(self._entry.splits, split, "split")

    def subset_index(self, name: str) -> npt.NDArray[Any]:
        """Rows of a subset, in its order, mapped; uint32 or uint64."""
        return self.subset_reader(name).rows()

    def subset_reader(self, name: str) -> IndexReader:
        """Reader of the rows of a subset."""
        return self._index_reader(self._entry.subsets, name, "subset")

    def _index_reader(self, entries: tuple[IndexEntry, ...], name: str, what: str) -> IndexReader:
        for entry in entries:
            if entry.name == name:
                files = self.version._files(entry.shards)
                return IndexReader(
                    self._storage, entry, files, self.metadata, self.num_rows, verify=self._verify
                )
        known = ", ".join(entry.name for entry in entries) or "none"
        raise NotFound(f"{self}: no {what} {name!r}; there are {known}")

    @property
    def statistics(self) -> Mapping[str, JSON]:
        """Statistics by column, fitted over the train split."""
        return self.version.statistics

    @property
    def metadata(self) -> Mapping[str, JSON]:
        """Notes of the writer."""
        return self.version.metadata

    @property
    def transforms(self) -> Mapping[str, list[dict[str, JSON]]]:
        """Steps by column that the loader applies."""
        return self._entry.transforms

    @property
    def vocabularies(self) -> list[str]:
        """Columns that have a vocabulary."""
        return self.version.vocabularies

    def vocabulary(self, column: str) -> pa.Array:
        """Values of a category column in order of their codes."""
        return self.version.vocabulary(column)

    def files(self) -> list[ShardFile]:
        """Every data file of the snapshot and of the versions it pins."""
        pinned = [file for versions in self._versions.values() for v in versions for file in v.files()]
        return [*self.version.files(), *pinned]

    def __len__(self) -> int:
        """Rows of every column."""
        return self.num_rows

    def __repr__(self) -> str:
        """Coordinates."""
        return f"{self.dataset} snapshot {self.number}"


def _fetch_pinned(
    catalog: Catalog, snapshot: Manifest, asset: str, pins: Mapping[str, Pin], verify: bool
) -> list[Version]:
    assert snapshot.snapshot is not None

    def fetch(partition: tuple[str, int]) -> Version:
        return _pinned(
            catalog, snapshot.dataset, asset, partition[0], pins[partition[0]], verify, check=False
        )

    with ThreadPoolExecutor(NUM_FETCHERS) as pool:
        return list(pool.map(fetch, snapshot.snapshot.partitions))


def _pinned(
    catalog: Catalog, dataset: str, asset: str, partition: str, pin: Pin, verify: bool, check: bool
) -> Version:
    manifest = catalog.manifest(dataset, asset, partition, pin.number)
    if manifest.content_hash != pin.content_hash:
        raise DamagedFile(
            f"{dataset}/{asset}[{partition}] version {pin.number}",
            f"has content {manifest.content_hash}, the snapshot pinned {pin.content_hash}",
        )
    return Version(catalog.storage, manifest, verify=verify, check=check)
