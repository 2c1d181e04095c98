"""The operations of the format on an object store.

There are no directories, renames or links there, and none are needed: an object appears whole when its last
byte has arrived, and a conditional write (`If-None-Match: *`) creates it only where none stands. That write
of the numbered manifest is the commit. Its reply can be lost while the write was done: then the manifest is
read back, and the name of the attempt in it says whose it is.
"""

from __future__ import annotations

import secrets
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

from shards.errors import DamagedFile, NotFound, StorageError
from shards.mapping import map_descriptor
from shards.remote.client import Client, Limits
from shards.remote.spool import SpooledFile
from shards.remote.transfer import Transfer
from shards.storage import WritableFile

COMMIT_TRIES = 5


class ObjectStorage:
    """A prefix of a bucket, as a `Storage`.

    Parameters
    ----------
    url
        `s3://bucket/prefix`, `gs://…`, `az://…`, `abfs://…`. Credentials, region and endpoint come from the
        environment (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT_URL`, …) or from the machine's role.
    limits
        How long and how often requests are tried.

    Notes
    -----
    Safe to share between threads and to pickle. Listings are only made by `names`, `sizes` and
    `age_seconds`.
    """

    in_place = False
    """Files are copied before they are mapped, and their size is checked then."""

    def __init__(self, url: str, limits: Limits | None = None) -> None:
        self.client = Client(url, limits)
        self.transfer = Transfer(self.client)
        self._is_conditional = False

    def create(self, path: str) -> WritableFile:
        """Create an object; it is in the store after `sync`. The caller's path has a random part."""
        return SpooledFile(self.client, path)

    def make_directory(self, path: str) -> None:
        """Nothing is made, but before the first one it is asked whether the server can commit at all."""
        self._require_conditional_writes()

    def sync_directory(self, path: str) -> None:
        """Names are durable when a write has been answered."""

    def remove_directory(self, path: str) -> None:
        """There are no directories."""

    def link(self, source: str, target: str) -> None:
        """Write an object's bytes under a second name; FileExistsError if another's bytes stand there.

        Bytes that are equal to those of `source` are this caller's own, written by a request whose reply was
        lost: no two attempts write equal manifests.
        """
        data = self._content(source)
        pause_seconds = self.client.limits.backoff_seconds
        for left in range(COMMIT_TRIES - 1, -1, -1):
            try:
                self._put_new(target, data)
                return
            except FileExistsError:
                if self._content(target) != data:
                    raise
                return
            except StorageError:
                # The write may have been done, may be under way, or may never be. What stands there says.
                try:
                    if self._content(target) == data:
                        return
                    raise FileExistsError(f"{self.client.url}/{target}: exists") from None
                except FileNotFoundError:
                    if not left:
                        raise StorageError(
                            f"{self.client.url}/{target}: the store answers no conditional write"
                        ) from None
            time.sleep(pause_seconds)
            pause_seconds *= 2

    def replace(self, source: str, target: str) -> None:
        """Write an object's bytes over another; the source stays until it is removed."""
        self._put(target, self._content(source))

    def remove(self, path: str) -> None:
        """Remove an object; no error if it is absent."""
        try:
            self.client.call(path, lambda library, store: library.delete(store, path))
        except FileNotFoundError:
            return

    def names(self, path: str) -> list[str]:
        """Names below a prefix, in any order; none if there is none."""
        found = self._list(path)
        paths = [*(entry["path"] for entry in found["objects"]), *found["common_prefixes"]]
        return [name.rstrip("/").rpartition("/")[2] for name in paths]

    def sizes(self, path: str) -> dict[str, int]:
        """Size of every object directly below a prefix."""
        return {entry["path"].rpartition("/")[2]: int(entry["size"]) for entry in self._list(path)["objects"]}

    def age_seconds(self, path: str) -> float:
        """Seconds since an object, or the newest one below a prefix, was written."""
        try:
            modified: datetime = self.client.call(path, lambda library, store: library.head(store, path))[
                "last_modified"
            ]
        except FileNotFoundError:
            written = [entry["last_modified"] for entry in self._list(path)["objects"]]
            if not written:
                raise
            modified = max(written)
        return (datetime.now(timezone.utc) - modified).total_seconds()

    def read(self, path: str, max_bytes: int) -> bytes:
        """Content of an object; NotFound, or DamagedFile if it is larger than allowed."""

        def get(library: Any, store: Any) -> bytes | int:
            found = library.get(store, path)
            size: int = found.meta["size"]
            return size if size > max_bytes else bytes(found.bytes())

        try:
            data = self.client.call(path, get)
        except FileNotFoundError:
            raise NotFound(f"{self.client.url}/{path}: no such object") from None
        if isinstance(data, int):
            raise DamagedFile(path, f"has {data} bytes, allowed are {max_bytes}")
        return data

    def map(self, path: str, size_bytes: int, xxh3_128: str = "") -> memoryview:
        """Content of an object of exactly this size, copied to a nameless file below `TMPDIR` and mapped."""
        with tempfile.TemporaryFile(prefix="shards-") as file:
            self.transfer.download(path, size_bytes, file.fileno())
            return map_descriptor(file.fileno(), size_bytes)

    def pieces(self, path: str, size_bytes: int) -> Iterator[memoryview]:
        """Content of an object of exactly this size, piece by piece; else DamagedFile."""
        return self.transfer.pieces(path, size_bytes)

    def _content(self, path: str) -> bytes:
        return self.client.call(path, lambda library, store: bytes(library.get(store, path).bytes()))

    def _put(self, path: str, data: bytes) -> None:
        self.client.call(path, lambda library, store: library.put(store, path, data, use_multipart=False))

    def _put_new(self, path: str, data: bytes) -> None:
        self.client.call(path, lambda library, store: library.put(store, path, data, mode="create"))

    def _list(self, path: str) -> Any:
        prefix = f"{path}/" if path else None
        return self.client.call(path, lambda library, store: library.list_with_delimiter(store, prefix))

    def _require_conditional_writes(self) -> None:
        """Refuse a server that overwrites where it was asked to create; asked once a process."""
        if self._is_conditional:
            return
        path = f"_probes/{secrets.token_hex(16)}"
        try:
            self._put(path, b"first")
            try:
                self._put_new(path, b"second")
            except FileExistsError:
                self._is_conditional = True
        finally:
            self.remove(path)
        if not self._is_conditional:
            raise StorageError(
                f"{self.client.url}: the server ignores conditional writes (If-None-Match: *), so two "
                "writers could overwrite each other's versions; use a server that honours them"
            )
