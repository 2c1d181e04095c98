"""Pieces: what an unfinished build has put down, so that the next one need not do it again.

A piece is a file with a name of the builder's choice whose last 16 bytes are the xxh3_128 of those before.
A file that was cut short is no piece. Pieces are no part of a version: the build that publishes removes them,
and the collector those that nobody has touched for the grace period.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Sequence

import xxhash

from shards import names
from shards.catalog import Catalog
from shards.commit import Directories
from shards.errors import DamagedFile, NotFound
from shards.storage import Buffer

HASH_BYTES = 16


class Pieces:
    """The pieces of one build of one partition; made by `ShardStore.pieces`.

    Builds that run at the same time and ask for the same may share them: no file is ever changed.
    Safe to share between threads.

    Attributes
    ----------
    directory
        Where they are, below the root; absent until the first one is put down.
    """

    def __init__(
        self, catalog: Catalog, directories: Directories, dataset: str, asset: str, partition: str, key: str
    ) -> None:
        names.check_name(dataset, "dataset")
        names.check_name(asset, "asset")
        self._storage = catalog.storage
        self._directories = directories
        self._parent = names.data_directory(dataset, asset, partition)
        self.directory = f"{self._parent}/{names.pieces_name(key)}"
        self._found: dict[str, list[tuple[str, int]]] | None = None

    def put(self, name: str, parts: Sequence[Buffer]) -> None:
        """Put a piece down; OSError when it cannot be.

        It outlives the process. A crash of the machine may leave less of it, which its hash tells, so that no
        time is spent on making durable what is removed soon.
        """
        names.check_name(name, "piece")
        self._directories.ensure(self._parent)
        self._storage.make_directory(self.directory)  # every time: another build may have removed it
        hashed = xxhash.xxh3_128()
        path = f"{self.directory}/{name}.{secrets.token_hex(8)}"
        with contextlib.closing(self._storage.create(path)) as file:
            for part in parts:
                hashed.update(part)
                file.write(part)
            file.write(hashed.digest())
            if not self._storage.in_place:
                file.sync()  # only then an object is there; a file outlives its writer without

    def get(self, name: str) -> memoryview | None:
        """Content of a piece that was there when the first one was asked for, mapped; None for none whole."""
        known = self._found
        if known is None:
            known = {}
            for file, size in self._storage.sizes(self.directory).items():
                known.setdefault(file.rpartition(".")[0], []).append((file, size))
            self._found = known
        for file, size in known.get(name, []):
            if size >= HASH_BYTES:
                with contextlib.suppress(DamagedFile, NotFound):
                    data = self._storage.map(f"{self.directory}/{file}", size)
                    if xxhash.xxh3_128_digest(data[:-HASH_BYTES]) == data[-HASH_BYTES:]:
                        return data[:-HASH_BYTES]
        return None

    def remove(self) -> None:
        """Remove all; what cannot be removed is left to the collector."""
        self._found = None
        with contextlib.suppress(OSError):
            for name in self._storage.names(self.directory):
                self._storage.remove(f"{self.directory}/{name}")
            self._storage.remove_directory(self.directory)
