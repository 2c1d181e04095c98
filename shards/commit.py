"""The commit protocol: how files become a version, in an order that no crash can tear.

1. Every file of the attempt is written and synced, read back and compared.
2. The manifest is written into the attempt directory and synced; the attempt directory is synced, and every
   directory above it that may not be durable yet.
3. The manifest is linked to its number. The link is exclusive: it is the commit.
4. The directory of manifests is synced. Only then is the version reported.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from typing import Any

import xxhash

from shards import names
from shards.catalog import Catalog
from shards.errors import (
    CommitConflict,
    CommitFailed,
    CommitStateUnknown,
    DamagedFile,
    InvalidArgument,
    ManifestError,
    NotFound,
)
from shards.manifest import Manifest, Shard, dump
from shards.parse import parse
from shards.storage import Storage
from shards.version import Version, check_sizes
from shards.writers import WrittenFile

DRAFT = "manifest.json"
"""Name of the manifest inside its attempt directory, before and after the link."""


@dataclass(frozen=True, slots=True)
class Commit:
    """Outcome of a commit.

    Attributes
    ----------
    version
        The version that now holds the content.
    created
        False when equal content gave the existing version back.
    """

    version: Version
    created: bool


class Directories:
    """Directories that are known to be durable; one for every store, shared by threads."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._durable: set[str] = set()

    def ensure(self, path: str) -> None:
        """Create a directory and those above it, and make their names durable."""
        if path in self._durable:
            return
        parent, _, name = path.rpartition("/")
        if name:
            self.ensure(parent)
        self._storage.make_directory(path)
        if name:
            self._storage.sync_directory(parent)
        self._durable.add(path)


def plain_json(value: Any, what: str) -> Any:
    """Return the value as JSON gives it back; InvalidArgument when JSON cannot hold it."""
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False)
        return json.loads(text.encode("utf-8"))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArgument(f"{what}: {error}; allowed is finite JSON") from None


def read_back(storage: Storage, directory: str, written: WrittenFile) -> Shard:
    """Read a synced file again and compare it with what was written; DamagedFile when they differ."""
    path = f"{directory}/{written.file}"
    whole, body = xxhash.xxh3_128(), xxhash.xxh3_128()
    skip = len(written.head)
    head = b""
    for piece in storage.pieces(path, written.size_bytes):
        whole.update(piece)
        if skip:
            head += piece[: skip - len(head)]
            body.update(piece[skip:])
            skip = 0
        elif written.head:
            body.update(piece)
    found = body if written.head else whole
    if found.hexdigest() != written.body_hash or head != written.head:
        raise DamagedFile(path, "reads back differently from what was written")
    return Shard(written.file, written.rows, written.size_bytes, whole.hexdigest())


def draft(catalog: Catalog, directories: Directories, directory: str, manifest: Manifest) -> None:
    """Write the manifest into its attempt and make everything durable that the link will need."""
    storage = catalog.storage
    path = f"{directory}/{DRAFT}"
    data = dump(manifest)
    try:
        parse(path, data)
    except ManifestError as error:
        raise InvalidArgument(f"the version cannot be described: {error}") from error
    directories.ensure(names.manifest_directory(manifest.dataset, manifest.asset, manifest.partition))
    with contextlib.closing(storage.create(path)) as file:
        file.write(data)
        file.sync()
    if storage.read(path, len(data)) != data:
        raise DamagedFile(path, "reads back differently from what was written")
    storage.sync_directory(directory)


def publish(catalog: Catalog, directory: str, manifest: Manifest) -> Commit:
    """Link a drafted manifest to its number, or find that its content is published already."""
    storage = catalog.storage
    manifests = names.manifest_directory(manifest.dataset, manifest.asset, manifest.partition)
    target = f"{manifests}/{names.manifest_name(manifest.number)}"
    try:
        numbers = catalog.versions(manifest.dataset, manifest.asset, manifest.partition)
        unchanged = numbers[-1:] == [manifest.number - 1]
        existing = _same_content(catalog, manifest, manifest.number - 1) if unchanged else None
    except OSError as error:
        raise CommitFailed(f"{target}: {error}; nothing was published") from error
    created = False
    if existing is None:
        try:
            storage.link(f"{directory}/{DRAFT}", target)
            existing, created = Version(storage, manifest, check=False), True
        except FileExistsError:
            existing = _same_content(catalog, manifest, manifest.number)
            if existing is None:
                raise CommitConflict(
                    f"{target}: another writer published this number; begin again from the latest version"
                ) from None
        except OSError as error:
            raise CommitStateUnknown(f"{target}: {error} while linking the manifest") from error
    try:
        storage.sync_directory(manifests)
    except OSError as error:
        raise CommitStateUnknown(f"{target}: {error} while syncing its directory") from error
    return Commit(existing, created)


def _same_content(catalog: Catalog, manifest: Manifest, number: int) -> Version | None:
    """Version `number` if it stands, is whole, and holds the same content."""
    try:
        other = catalog.manifest(manifest.dataset, manifest.asset, manifest.partition, number)
        if other.content_hash != manifest.content_hash:
            return None
        version = Version(catalog.storage, other)
        if not catalog.storage.in_place:
            check_sizes(catalog.storage, version.directory, other)
        return version
    except (NotFound, ManifestError, DamagedFile):
        return None
