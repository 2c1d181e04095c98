"""Fetching pictures of many rows: embedded bytes at once, GridFS by ordered scans, the rest in parallel."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from assets.spec import DatasetSpec
from assets.spec.images import ImageColumn, MaskImageColumn
from assets.vision.errors import BuildError, PictureError
from assets.vision.sources.cache import ContentCache
from assets.vision.sources.files import RootedFiles
from assets.vision.sources.gridfs import read_pictures
from assets.vision.sources.http import UrlFetcher
from assets.vision.sources.locate import Place
from assets.vision.sources.objects import ObjectFetcher

if TYPE_CHECKING:
    from pymongo import MongoClient

FETCH_THREADS: Final = 16

Key: TypeAlias = "tuple[int, str]"
"""Row and column that a picture is for."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One picture to fetch: whose it is, of which column, and where it is."""

    key: Key
    column: str
    place: Place


class Gatherer:
    """Fetch pictures of the columns of one dataset; thread-safe, close it when done.

    Parameters
    ----------
    spec
        The dataset.
    max_bytes
        Largest picture, bytes, by column name.
    client
        MongoDB client, needed where a column reads GridFS.
    cache
        Directory that keeps what was fetched from URLs; None keeps nothing.
    """

    def __init__(
        self,
        spec: DatasetSpec,
        max_bytes: dict[str, int],
        client: MongoClient[Any] | None,
        cache: Path | None,
    ) -> None:
        self._spec = spec
        self._max_bytes = max_bytes
        self._client = client
        self._cache = cache
        self._pool = ThreadPoolExecutor(FETCH_THREADS, thread_name_prefix="fetch")
        self._readers: dict[tuple[str, str], Callable[[str, int], bytes]] = {}
        self._fetchers: list[UrlFetcher] = []
        self._lock = threading.Lock()

    def gather(self, wanted: Sequence[Wanted]) -> Iterator[tuple[Key, bytes | PictureError]]:
        """Give key and bytes, or the error, of every wanted picture, in whatever order they come."""
        remote = []
        stored: dict[str, list[Wanted]] = {}
        for one in wanted:
            if one.place.kind == "embedded":
                assert isinstance(one.place.value, bytes)
                yield one.key, one.place.value
            elif one.place.kind == "gridfs":
                stored.setdefault(one.column, []).append(one)
            else:
                remote.append(one)
        waiting = [self._pool.submit(self._read, one) for one in remote]
        for column, files in stored.items():
            yield from self._stored(column, files)
        for future in as_completed(waiting):
            yield future.result()

    def close(self) -> None:
        """End what is under way and the threads."""
        for fetcher in self._fetchers:
            fetcher.stop()
        self._pool.shutdown(cancel_futures=True)

    def _stored(self, column: str, files: list[Wanted]) -> Iterator[tuple[Key, bytes | PictureError]]:
        source = self._spec.source
        if self._client is None or source.database is None or source.gridfs is None:
            raise BuildError(
                f"column {column} of dataset {self._spec.name} reads GridFS: expected a client, a database "
                "and `source.gridfs`, got a build without one of them"
            )
        by_place: dict[Any, list[Wanted]] = {}
        for one in files:
            by_place.setdefault(one.place.value, []).append(one)
        database = self._client[source.database]
        for place, data in read_pictures(database, source.gridfs, list(by_place), self._max_bytes[column]):
            for one in by_place[place]:
                yield one.key, data

    def _read(self, one: Wanted) -> tuple[Key, bytes | PictureError]:
        assert isinstance(one.place.value, str)
        try:
            read = self._reader(one.column, one.place.kind)
            return one.key, read(one.place.value, self._max_bytes[one.column])
        except PictureError as error:
            return one.key, error

    def _reader(self, name: str, kind: str) -> Callable[[str, int], bytes]:
        with self._lock:
            if (name, kind) not in self._readers:
                self._readers[name, kind] = self._open(name, kind)
            return self._readers[name, kind]

    def _open(self, name: str, kind: str) -> Callable[[str, int], bytes]:
        column = self._spec.columns[name]
        assert isinstance(column, ImageColumn | MaskImageColumn)
        if kind == "file":
            if column.root is None:
                raise BuildError(f"column {name} reads files: expected `root`, got none")
            return RootedFiles(column.root).read
        if kind == "object":
            return ObjectFetcher(column.root if column.root and "://" in column.root else None).read
        owner = column if isinstance(column, ImageColumn) else self._spec.columns[column.image]
        assert isinstance(owner, ImageColumn)
        fetcher = UrlFetcher(owner.urls, ContentCache(self._cache) if self._cache else None)
        self._fetchers.append(fetcher)
        return fetcher.read
