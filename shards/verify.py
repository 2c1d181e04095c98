"""Verification of what stands in a store: manifests, sizes, headers and, in full, every byte's hash."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt
import xxhash

from shards import arrow_types, marks, names, tags
from shards.catalog import Catalog
from shards.errors import DamagedFile, ManifestError, NotFound, ShardError
from shards.index import IndexReader, hash_pieces
from shards.manifest import Manifest, Shard, hash_content
from shards.readers import ShardFile, map_npy, open_arrow
from shards.schema import Column
from shards.snapshot import Snapshot
from shards.storage import Storage
from shards.version import Version

Progress = Callable[[int, int], None]
"""Receives bytes done and bytes in all; called from any thread."""


@dataclass(frozen=True, slots=True)
class Damage:
    """One thing that is not as it should be: where, and what."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What was looked at, and everything that is wrong.

    Attributes
    ----------
    damages
        Empty when all is well.
    num_versions, num_files, size_bytes
        What was looked at.
    """

    full: bool
    damages: tuple[Damage, ...]
    num_versions: int
    num_files: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class _Check:
    """A file, and how it is opened: dtype and row shape of an `.npy`, type text of an Arrow file."""

    file: ShardFile
    dtype: str = ""
    shape: tuple[int, ...] = ()
    arrow_type: str = ""
    is_column: bool = False

    def run(self, storage: Storage, *, full: bool) -> None:
        """Raise DamagedFile when the file is not as its manifest says."""
        if full:
            storage_hash = hash_file(storage, self.file)
            if storage_hash != self.file.shard.xxh3_128:
                raise DamagedFile(
                    self.file.path,
                    f"has xxh3_128 {storage_hash}, its manifest says {self.file.shard.xxh3_128}",
                )
        if self.arrow_type:
            schema = arrow_types.schema_of(self.arrow_type)
            open_arrow(storage, self.file, schema, is_column=self.is_column)
        else:
            map_npy(storage, self.file, self.dtype, self.shape)


def hash_file(storage: Storage, file: ShardFile) -> str:
    """xxh3_128 of a file's bytes as they are read, in pieces that stay in the processor's cache."""
    state = xxhash.xxh3_128()
    for piece in storage.pieces(file.path, file.shard.bytes):
        state.update(piece)
    return str(state.hexdigest())


def _checks(version: Version) -> Iterator[_Check]:
    manifest = version.manifest

    def files(shards: tuple[Shard, ...]) -> Iterator[ShardFile]:
        return (ShardFile(version.directory, shard) for shard in shards)

    for entry in manifest.columns:
        column: Column = entry.column
        text = arrow_types.struct_of({column.name: column.arrow_type}) if column.arrow_type else ""
        for file in files(entry.shards):
            yield _Check(file, column.dtype, column.shape, text, is_column=True)
    for table in manifest.tables:
        for file in files(table.shards):
            yield _Check(file, arrow_type=table.arrow_type)
    for file in files(manifest.validity or ()):
        yield _Check(file, "|b1")
    if manifest.snapshot is not None:
        for index in (*manifest.snapshot.splits, *manifest.snapshot.subsets):
            for file in files(index.shards):
                yield _Check(file, index.dtype)
        for vocabulary in manifest.snapshot.vocabularies:
            for file in files(vocabulary.shards):
                yield _Check(file, arrow_type=arrow_types.struct_of({"value": vocabulary.arrow_type}))


class _Verifier:
    def __init__(self, catalog: Catalog, *, full: bool, progress: Progress | None) -> None:
        self._catalog = catalog
        self._full = full
        self._progress = progress
        self._lock = threading.Lock()
        self.damages: list[Damage] = []
        self.checks: list[_Check] = []
        self.num_versions = 0
        self._done_bytes = 0
        self._total_bytes = 0

    def damage(self, path: str, reason: str) -> None:
        with self._lock:
            self.damages.append(Damage(path, reason))

    def dataset(self, dataset: str, asset: str | None) -> None:
        for name in self._catalog.assets(dataset) if asset is None else [asset]:
            for partition in self._catalog.partitions(dataset, name):
                for number in self._catalog.versions(dataset, name, partition):
                    self.version(dataset, name, partition, number)
        if asset is None:
            self.marks(dataset)

    def version(self, dataset: str, asset: str, partition: str, number: int) -> None:
        path = f"{names.manifest_directory(dataset, asset, partition)}/{names.manifest_name(number)}"
        try:
            manifest = self._catalog.manifest(dataset, asset, partition, number)
            self.num_versions += 1
            if hash_content(manifest) != manifest.content_hash:
                self.damage(path, "its content hash is not that of its content")
            version = Version(self._catalog.storage, manifest)
            if manifest.snapshot is not None:
                self.snapshot(path, manifest)
            self.checks.extend(_checks(version))
        except DamagedFile as error:
            self.damage(error.path, error.reason)
        except ManifestError as error:
            self.damage(error.path, "; ".join(map(str, error.problems[:5])))
        except NotFound:
            return  # collected meanwhile

    def snapshot(self, path: str, manifest: Manifest) -> None:
        try:
            snapshot = Snapshot(self._catalog, manifest)
            for split in snapshot.splits:
                rows = self.index(snapshot.index_reader(split))
                if not bool((rows[1:] > rows[:-1]).all()):
                    self.damage(path, f"split {split} does not ascend")
            for subset in snapshot.subsets:
                self.index(snapshot.subset_reader(subset))
        except ShardError as error:
            self.damage(path, f"cannot be opened: {error}")

    def index(self, reader: IndexReader) -> npt.NDArray[Any]:
        rows, pieces = reader.rows(), reader.pieces
        if self._full and pieces is not None:
            found = hash_pieces(reader.header, rows.data, pieces.piece_bytes)
            if found != list(pieces.hashes):
                self.damage(reader.path(0), "its pieces have other hashes than the snapshot's metadata say")
        return rows

    def marks(self, dataset: str) -> None:
        for kind in ("tag", "lease", "intent"):
            place = marks.directory(dataset, kind)
            for file in sorted(self._catalog.storage.names(place)):
                if file.endswith(".json"):
                    try:
                        marks.read(self._catalog.storage, dataset, kind, file.removesuffix(".json"))
                    except (ManifestError, DamagedFile) as error:
                        self.damage(f"{place}/{file}", str(error))
                    except NotFound:
                        continue  # released meanwhile
        try:
            tagged = tags.all_tags(self._catalog, dataset)
        except ManifestError:
            return  # reported above
        for tag, number in tagged.items():
            if number not in self._catalog.versions(dataset, names.SNAPSHOT, "all"):
                path = f"{marks.directory(dataset, 'tag')}/{tag}.json"
                self.damage(path, f"names snapshot {number}, which is absent")

    def files(self, num_threads: int) -> None:
        self._total_bytes = sum(check.file.shard.bytes for check in self.checks)
        with ThreadPoolExecutor(num_threads, thread_name_prefix="verify") as pool:
            for _ in pool.map(self.file, self.checks):
                pass

    def file(self, check: _Check) -> None:
        try:
            check.run(self._catalog.storage, full=self._full)
        except DamagedFile as error:
            self.damage(error.path, error.reason)
        except OSError as error:
            self.damage(check.file.path, f"cannot be read: {error}")
        with self._lock:
            self._done_bytes += check.file.shard.bytes
            if self._progress is not None:
                self._progress(self._done_bytes, self._total_bytes)


def verify(
    catalog: Catalog,
    dataset: str | None = None,
    asset: str | None = None,
    *,
    full: bool = False,
    progress: Progress | None = None,
    num_threads: int = 2,
) -> VerifyReport:
    """Look at every version of a store, a dataset or one asset of it.

    Parameters
    ----------
    full
        Whether to read every byte and compare its hash; else sizes, headers and structure.
    progress
        Called after every file.
    num_threads
        Files looked at side by side.

    Raises
    ------
    NotFound
        There is no such dataset or asset.
    """
    datasets = catalog.datasets()
    if dataset is not None:
        datasets = _only(datasets, dataset, "dataset")
        if asset is not None:
            _only(catalog.assets(dataset), asset, f"asset of {dataset}")
    verifier = _Verifier(catalog, full=full, progress=progress)
    for name in datasets:
        verifier.dataset(name, asset)
    verifier.files(num_threads)
    return VerifyReport(
        full,
        tuple(sorted(verifier.damages, key=lambda damage: damage.path)),
        verifier.num_versions,
        len(verifier.checks),
        sum(check.file.shard.bytes for check in verifier.checks),
    )


def _only(there: list[str], name: str, what: str) -> list[str]:
    if name not in there:
        raise NotFound(f"no {what} {name!r}; there are: {', '.join(there) or 'none'}")
    return [name]
