"""Attempts: files on the way to becoming a version."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timezone
from types import TracebackType
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from shards import arrow_types, names
from shards.catalog import Catalog
from shards.commit import Commit, Directories, draft, plain_json, publish, read_back
from shards.errors import CommitConflict, CommitFailed, DamagedFile, InvalidArgument
from shards.limits import DICTIONARIES
from shards.manifest import ColumnEntry, Manifest, Shard, TableEntry, hash_content
from shards.schema import Column, Provenance
from shards.writers import ColumnWriter, NpyWriter, TableWriter, column_writer

_Writer = ColumnWriter | TableWriter
_Self = TypeVar("_Self", bound="AttemptBase")


class AttemptBase:
    """What attempts of every asset share: a directory, its writers, and one commit.

    Not safe to share between threads. Left without a commit, everything written is removed.
    """

    def __init__(
        self,
        catalog: Catalog,
        directories: Directories,
        dataset: str,
        asset: str,
        partition: str,
        shard_bytes: int,
    ) -> None:
        names.check_name(dataset, "dataset")
        names.check_name(asset, "asset")
        if shard_bytes < 1:
            raise InvalidArgument(f"shard_bytes {shard_bytes}: allowed is at least 1")
        self._catalog = catalog
        self._directories = directories
        self._shard_bytes = shard_bytes
        self._coordinates = (dataset, asset, partition)
        self._base = catalog.latest(dataset, asset, partition)
        self._name = names.new_attempt()
        parent = names.data_directory(dataset, asset, partition)
        self.directory = f"{parent}/{self._name}"
        self._writers: list[_Writer] = []
        self._state: Literal["open", "published", "unknown", "abandoned"] = "open"
        try:
            directories.ensure(parent)
            catalog.storage.make_directory(self.directory)
            catalog.storage.sync_directory(parent)
        except OSError as error:
            raise CommitFailed(f"{self.directory}: {error}; nothing was written") from error

    def __enter__(self: _Self) -> _Self:
        """Give the attempt."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove what was written, unless it was published or may have been."""
        self.abandon()

    def abandon(self) -> None:
        """Remove what was written; harmless after a commit. What cannot be removed is left to gc."""
        for writer in self._writers:
            writer.discard()
        if self._state == "open":
            self._state = "abandoned"
            storage = self._catalog.storage
            with contextlib.suppress(OSError):
                for name in storage.names(self.directory):
                    storage.remove(f"{self.directory}/{name}")
                storage.remove_directory(self.directory)

    def _check_open(self) -> None:
        if self._state != "open":
            raise InvalidArgument(f"{self.directory}: the attempt is {self._state}; begin another")

    def _read_back(self, writer: _Writer) -> tuple[Shard, ...]:
        writer.finish()
        return tuple(read_back(self._catalog.storage, self.directory, file) for file in writer.files)

    def _publish(self, build: Callable[[Manifest], Manifest]) -> Commit:
        """Describe the files by `build`, which completes an empty manifest, and publish."""
        self._check_open()
        dataset, asset, partition = self._coordinates
        now = datetime.now(timezone.utc)
        number = 1 if self._base is None else self._base.number + 1
        created_at = now if self._base is None else max(now, self._base.created_at)
        empty = Manifest(dataset, asset, partition, number, created_at, self._name, 0)
        try:
            manifest = build(empty)
            manifest = replace(manifest, content_hash=hash_content(manifest))
            draft(self._catalog, self._directories, self.directory, manifest)
        except (OSError, DamagedFile) as error:
            raise CommitFailed(f"{self.directory}: {error}; nothing was published") from error
        self._state = "unknown"  # from here on, an interrupt must not remove what may be published
        try:
            commit = publish(self._catalog, self.directory, manifest)
        except (CommitConflict, CommitFailed):
            self._state = "open"
            raise
        if commit.created:
            self._state = "published"
        else:
            self._state = "open"
            self.abandon()
        return commit


class Attempt(AttemptBase):
    """Columns and tables on the way to becoming a version; made by `ShardStore.begin`."""

    def __init__(
        self,
        catalog: Catalog,
        directories: Directories,
        dataset: str,
        asset: str,
        partition: str,
        shard_bytes: int,
    ) -> None:
        super().__init__(catalog, directories, dataset, asset, partition, shard_bytes)
        self._columns: dict[str, tuple[Column, ColumnWriter]] = {}
        self._tables: dict[str, TableWriter] = {}
        self._validity: NpyWriter | None = None

    def column(self, column: Column) -> ColumnWriter:
        """Begin a column.

        Returns
        -------
        ColumnWriter
            Takes rows by `append`; every column must have the same number of rows at commit.
        """
        self._check_open()
        if column.name in self._columns:
            raise InvalidArgument(f"{self.directory}: column {column.name} was begun already")
        column = replace(column, attributes=plain_json(dict(column.attributes), f"column {column.name}"))

        def name_of(position: int) -> str:
            return names.file_name("column", column.name, position, column.encoding)

        writer = column_writer(self._catalog.storage, self.directory, name_of, self._shard_bytes, column)
        self._columns[column.name] = (column, writer)
        self._writers.append(writer)
        return writer

    def table(self, name: str, schema: pa.Schema) -> TableWriter:
        """Begin a table of any number of rows.

        Parameters
        ----------
        name
            Name of the table.
        schema
            Columns; metadata, nullability and the names of list children are not kept.
        """
        self._check_open()
        names.check_name(name, "table")
        if name in self._tables:
            raise InvalidArgument(f"{self.directory}: table {name} was begun already")
        schema = arrow_types.schema_of(arrow_types.spell(pa.struct(list(schema))))

        def name_of(position: int) -> str:
            return names.file_name("table", name, position, "arrow")

        writer = TableWriter(self._catalog.storage, self.directory, name_of, self._shard_bytes, schema)
        self._tables[name] = writer
        self._writers.append(writer)
        return writer

    def validity(self, rows: npt.NDArray[np.bool_]) -> None:
        """Say which of the next rows can be used; shape (n,). Said for no row, all rows are valid."""
        self._check_open()
        if self._validity is None:
            self._validity = NpyWriter(
                self._catalog.storage, self.directory, names.validity_name, self._shard_bytes, "|b1"
            )
            self._writers.append(self._validity)
        self._validity.append(rows)

    def commit(
        self,
        *,
        provenance: Provenance | None = None,
        inputs: Mapping[str, int] | None = None,
        statistics: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Commit:
        """Publish the version.

        Parameters
        ----------
        provenance
            Where the data came from; not part of the content.
        inputs
            Versions of other assets (of this partition) that the data were made from.
        statistics
            Finite JSON by column; part of the content.
        metadata
            Finite JSON; not part of the content.

        Raises
        ------
        InvalidArgument
            Columns differ in rows, or a value is outside the format's bounds.
        CommitConflict
            Another writer published since this attempt began.
        CommitFailed
            Writing, syncing or reading back failed; nothing was published.
        CommitStateUnknown
            It is not known whether the version was published; nothing is deleted.
        """
        self._check_open()
        counts = {name: writer.num_rows for name, (_, writer) in self._columns.items()}
        if self._validity is not None:
            counts["validity"] = self._validity.num_rows
        if not self._columns and self._tables:
            first = next(iter(self._tables))
            counts[f"table {first}"] = self._tables[first].num_rows
        if len(set(counts.values())) > 1:
            raise InvalidArgument(f"{self.directory}: rows differ: {counts}; every column needs as many")
        num_rows = next(iter(counts.values()), 0)

        def build(empty: Manifest) -> Manifest:
            columns = tuple(
                ColumnEntry(column, self._read_back(writer)) for column, writer in self._columns.values()
            )
            coded = any(writer.has_dictionaries for _, writer in self._columns.values())
            return replace(
                empty,
                num_rows=num_rows,
                columns=columns,
                features=(DICTIONARIES,) if coded else (),
                tables=tuple(
                    TableEntry(
                        name, arrow_types.spell(pa.struct(list(writer.schema))), self._read_back(writer)
                    )
                    for name, writer in self._tables.items()
                ),
                validity=None if self._validity is None else self._read_back(self._validity),
                inputs=dict(inputs or {}),
                statistics=plain_json(dict(statistics or {}), "statistics"),
                metadata=plain_json(dict(metadata or {}), "metadata"),
                provenance=provenance or Provenance(),
            )

        return self._publish(build)
