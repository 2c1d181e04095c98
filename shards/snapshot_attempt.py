"""A snapshot on the way: pinned versions, splits, vocabularies and transforms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from shards import arrow_types, names, npy
from shards.attempt import AttemptBase
from shards.catalog import Catalog
from shards.commit import Commit, Directories, plain_json
from shards.errors import CommitFailed, InvalidArgument
from shards.index import NOTE, PIECE_BYTES, hash_pieces, note
from shards.lease import Lease
from shards.limits import MAX_FILE_BYTES
from shards.manifest import IndexEntry, Manifest, Pin, SnapshotEntry, VocabularyEntry
from shards.schema import Column, Provenance
from shards.version import Version
from shards.writers import ArrowColumnWriter, NpyWriter

DOCUMENTS = "documents"
LEASE_SECONDS = 600.0


class SnapshotAttempt(AttemptBase):
    """Pins of one version a partition and asset, and what is fitted over them; made by `begin_snapshot`."""

    def __init__(self, catalog: Catalog, directories: Directories, dataset: str) -> None:
        super().__init__(catalog, directories, dataset, names.SNAPSHOT, "all", MAX_FILE_BYTES)
        self._pinned: dict[str, dict[str, Version]] = {}
        self._indices: dict[str, NpyWriter] = {}
        self._subsets: dict[str, tuple[str, NpyWriter]] = {}
        self._vocabularies: dict[str, tuple[pa.DataType, ArrowColumnWriter]] = {}
        self._piece_hashes: dict[str, list[str]] = {}

    def pin(self, version: Version) -> None:
        """Hold a version of this dataset; one a partition and asset."""
        self._check_open()
        if version.dataset != self._coordinates[0] or version.asset == names.SNAPSHOT:
            raise InvalidArgument(f"{version}: a snapshot of {self._coordinates[0]} cannot pin it")
        pins = self._pinned.setdefault(version.asset, {})
        if version.partition in pins:
            raise InvalidArgument(f"{version}: {pins[version.partition]} is pinned already")
        pins[version.partition] = version

    def index(self, name: str, rows: npt.NDArray[Any]) -> None:
        """Give a split its rows: global row numbers in ascending order, uint32 or uint64."""
        rows = np.asarray(rows)
        if rows.size and not bool(np.all(rows[1:] > rows[:-1])):
            raise InvalidArgument(f"split {name}: rows must ascend without repeats")
        self._indices[name] = self._write_index("index", name, rows, self._indices)

    def subset(self, name: str, *, parent: str, rows: npt.NDArray[Any]) -> None:
        """Name rows of a split, in any order, repeats allowed."""
        self._subsets[name] = (parent, self._write_index("subset", name, rows, self._subsets))

    def _write_index(
        self, role: names.Role, name: str, rows: npt.NDArray[Any], taken: Mapping[str, Any]
    ) -> NpyWriter:
        self._check_open()
        names.check_name(name, role)
        if name in taken:
            raise InvalidArgument(f"{role} {name}: was given already")
        rows = np.asarray(rows)
        if rows.ndim != 1 or rows.dtype not in (np.dtype("<u4"), np.dtype("<u8")):
            raise InvalidArgument(
                f"{role} {name}: got {rows.dtype} {rows.shape}, allowed is a list of uint32 or uint64"
            )
        rows = np.ascontiguousarray(rows)
        writer = NpyWriter(
            self._catalog.storage,
            self.directory,
            lambda position: names.file_name(role, name, position, "npy"),
            self._shard_bytes,
            rows.dtype.str,
        )
        self._writers.append(writer)
        writer.append(rows)
        head = npy.header(rows.dtype.str, len(rows), ())
        if len(head) + rows.nbytes > PIECE_BYTES:
            self._piece_hashes[names.file_name(role, name, 0, "npy")] = hash_pieces(head, rows.data)
        return writer

    def vocabulary(self, column: str, values: pa.Array) -> None:
        """Give the values of a category column in order of their codes."""
        self._check_open()
        names.check_name(column, "column")
        if column in self._vocabularies:
            raise InvalidArgument(f"vocabulary {column}: was given already")
        writer = ArrowColumnWriter(
            self._catalog.storage,
            self.directory,
            lambda position: names.file_name("vocabulary", column, position, "arrow"),
            self._shard_bytes,
            pa.field("value", arrow_types.parse(arrow_types.spell(values.type))),
            hold_bytes=self._shard_bytes,
        )
        self._writers.append(writer)
        writer.append(values)
        self._vocabularies[column] = (values.type, writer)

    def commit(
        self,
        *,
        provenance: Provenance | None = None,
        statistics: Mapping[str, Any] | None = None,
        transforms: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Commit:
        """Publish the snapshot.

        Parameters
        ----------
        statistics
            Finite JSON by column, fitted over the train split.
        transforms
            Steps by column; a step is an object whose `op` names it.
        metadata
            Finite JSON; not part of the content. Hashes of the pieces of large indices are added.

        Raises
        ------
        InvalidArgument
            A partition lacks an asset, was made from other documents than those pinned, differs in columns
            or rows, an index points past the last row, or metadata have a member `index_pieces`.
        CommitError
            As `Attempt.commit`.
        """
        self._check_open()
        metadata = metadata or {}
        if NOTE in metadata:
            raise InvalidArgument(f"metadata: {NOTE} is written by the store itself; call it otherwise")
        partitions = self._aligned()
        num_rows = sum(rows for _, rows in partitions)
        pins = {
            asset: {key: Pin(version.number, version.content_hash) for key, version in pinned.items()}
            for asset, pinned in self._pinned.items()
        }

        def build(empty: Manifest) -> Manifest:
            durable = {} if self._base is None or self._base.snapshot is None else self._base.snapshot.pins
            for asset, held in pins.items():  # what a durable snapshot pins must be durable
                for key, pin in held.items():
                    if durable.get(asset, {}).get(key) != pin:
                        directory = names.manifest_directory(empty.dataset, asset, key)
                        self._catalog.storage.sync_directory(directory)
            entry = SnapshotEntry(
                pins=pins,
                partitions=tuple(partitions),
                splits=tuple(
                    IndexEntry(name, writer.dtype, self._read_back(writer))
                    for name, writer in self._indices.items()
                ),
                subsets=tuple(
                    IndexEntry(name, writer.dtype, self._read_back(writer), parent)
                    for name, (parent, writer) in self._subsets.items()
                ),
                vocabularies=tuple(
                    VocabularyEntry(column, arrow_types.spell(dtype), self._read_back(writer))
                    for column, (dtype, writer) in self._vocabularies.items()
                ),
                transforms=plain_json(dict(transforms or {}), "transforms"),
            )
            return replace(
                empty,
                num_rows=num_rows,
                statistics=plain_json(dict(statistics or {}), "statistics"),
                metadata=plain_json({**metadata, **note(self._piece_hashes)}, "metadata"),
                provenance=provenance or Provenance(),
                snapshot=entry,
            )

        dataset = self._coordinates[0]
        numbers = {asset: {key: pin.number for key, pin in held.items()} for asset, held in pins.items()}
        try:
            lease = Lease(self._catalog, self._directories, dataset, numbers, LEASE_SECONDS)
        except OSError as error:
            raise CommitFailed(f"{dataset}: {error} while leasing the pins; nothing was published") from error
        with lease:
            return self._publish(build)

    def _aligned(self) -> list[tuple[str, int]]:
        """Partitions and their rows, after every asset was found to fit them."""
        keys = sorted({key for pinned in self._pinned.values() for key in pinned})
        partitions: list[tuple[str, int]] = []
        columns: dict[str, Column] = {}
        for key in keys:
            versions = {asset: pinned.get(key) for asset, pinned in self._pinned.items()}
            absent = [asset for asset, version in versions.items() if version is None]
            if absent:
                raise InvalidArgument(f"partition {key}: no version of {', '.join(absent)} is pinned")
            found = [version for version in versions.values() if version is not None]
            documents = versions.get(DOCUMENTS)
            for version in found:
                if version.num_rows != found[0].num_rows:
                    raise InvalidArgument(
                        f"partition {key}: {version} has {version.num_rows} rows, "
                        f"{found[0]} has {found[0].num_rows}"
                    )
                if documents is not None and version is not documents:
                    made_from = version.inputs.get(DOCUMENTS)
                    if made_from != documents.number:
                        raise InvalidArgument(
                            f"partition {key}: {version} was made from documents version {made_from}, "
                            f"pinned is {documents.number}; materialize {version.asset} again"
                        )
            _same_columns(found, columns, first=not partitions)
            partitions.append((key, found[0].num_rows))
        return partitions


def _same_columns(versions: list[Version], columns: dict[str, Column], *, first: bool) -> None:
    """Refuse a partition whose columns are not those of the first one."""
    found: dict[str, Column] = {}
    for version in versions:
        for name, column in version.columns.items():
            if name in found:
                raise InvalidArgument(f"{version}: column {name} is another asset's too")
            found[name] = column
    if first:
        columns.update(found)
        return
    differing = sorted(
        name
        for name in found.keys() | columns.keys()
        if name not in found or name not in columns or not found[name].stored_like(columns[name])
    )
    if differing:
        raise InvalidArgument(
            f"partition {versions[0].partition}: columns {', '.join(differing)} are stored otherwise than in "
            f"the first partition; materialize it again"
        )
