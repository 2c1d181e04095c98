"""The store: the one object from which everything else is reached."""

from __future__ import annotations

import os
from datetime import datetime
from typing import Literal

from shards import gc, names, tags
from shards.attempt import Attempt
from shards.catalog import Catalog
from shards.commit import Directories
from shards.errors import InvalidArgument, NotFound
from shards.gc import DEFAULT_GRACE_SECONDS, GcReport
from shards.lease import Lease
from shards.pieces import Pieces
from shards.remote import ObjectStorage, is_url
from shards.snapshot import Snapshot
from shards.snapshot_attempt import SnapshotAttempt
from shards.storage import LocalStorage, Storage
from shards.verify import Progress, VerifyReport, verify
from shards.version import Version

DEFAULT_SHARD_BYTES = 256 << 20


class ShardStore:
    """Datasets below one root directory.

    Safe to share between threads and to pickle. The root is created by the first write.

    Parameters
    ----------
    root
        Directory, or the address of an object store (`s3://bucket/prefix`), which needs the extra `objects`.
    verify
        `sizes`: files are checked for size and header when they are opened. `full`: their hash, too, when
        they are first mapped.
    storage
        Another store than the local file system.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        verify: Literal["sizes", "full"] = "sizes",
        storage: Storage | None = None,
    ) -> None:
        if verify not in ("sizes", "full"):
            raise InvalidArgument(f"verify {verify!r}: allowed are sizes, full")
        self.root = os.fspath(root)
        self.storage: Storage = _storage(root) if storage is None else storage
        self.catalog = Catalog(self.storage)
        self._directories = Directories(self.storage)
        self._verify = verify == "full"

    def datasets(self) -> list[str]:
        """Names of the datasets, sorted."""
        return self.catalog.datasets()

    def assets(self, dataset: str) -> list[str]:
        """Names of a dataset's assets, sorted."""
        return self.catalog.assets(dataset)

    def partitions(self, dataset: str, asset: str) -> list[str]:
        """Keys of an asset's partitions that hold a version, sorted."""
        return [key for key in self.catalog.partitions(dataset, asset) if self.versions(dataset, asset, key)]

    def versions(self, dataset: str, asset: str, partition: str = "all") -> list[int]:
        """Numbers of the published versions, ascending."""
        return self.catalog.versions(dataset, asset, partition)

    def latest(self, dataset: str, asset: str, partition: str = "all") -> Version | None:
        """Open the newest version, or None when there is none.

        Raises
        ------
        ManifestError
            Its manifest breaks the format.
        DamagedFile
            One of its files is missing or of another size.
        """
        manifest = self.catalog.latest(dataset, asset, partition)
        return None if manifest is None else Version(self.storage, manifest, verify=self._verify)

    def version(self, dataset: str, asset: str, partition: str, number: int) -> Version:
        """Open a version by number; NotFound when it is not published or was collected."""
        manifest = self.catalog.manifest(dataset, asset, partition, number)
        return Version(self.storage, manifest, verify=self._verify)

    def begin(
        self, dataset: str, asset: str, partition: str = "all", shard_bytes: int = DEFAULT_SHARD_BYTES
    ) -> Attempt:
        """Begin to write a version.

        Parameters
        ----------
        dataset, asset, partition
            What is written; the first two are lower-case names, the last any text.
        shard_bytes
            Upper bound of a file, unless one row is larger.
        """
        if asset == names.SNAPSHOT:
            raise InvalidArgument(f"asset {asset}: begin_snapshot writes it")
        return Attempt(self.catalog, self._directories, dataset, asset, partition, shard_bytes)

    def pieces(self, dataset: str, asset: str, partition: str, key: str) -> Pieces:
        """Open what an earlier build of a partition has put down without publishing.

        Parameters
        ----------
        key
            What the build asks for; pieces of another key are others.
        """
        return Pieces(self.catalog, self._directories, dataset, asset, partition, key)

    def begin_snapshot(self, dataset: str) -> SnapshotAttempt:
        """Begin to write a snapshot."""
        return SnapshotAttempt(self.catalog, self._directories, dataset)

    def snapshot(self, dataset: str, version: int | str | datetime | None = None) -> Snapshot:
        """Open a snapshot.

        Parameters
        ----------
        version
            None for the latest, a number, a tag, or a moment (aware datetime): the last one not after it.

        Raises
        ------
        NotFound
            There is no such snapshot.
        """
        if version is None:
            manifest = self.catalog.latest(dataset, names.SNAPSHOT, "all")
            if manifest is None:
                raise NotFound(f"{self.root}: dataset {dataset!r} has no snapshot; materialize it first")
        elif isinstance(version, datetime):
            manifest = self.catalog.as_of(dataset, names.SNAPSHOT, "all", version)
        elif isinstance(version, str):
            number = tags.number_of(self.catalog, dataset, version)
            manifest = self.catalog.manifest(dataset, names.SNAPSHOT, "all", number)
        else:
            manifest = self.catalog.manifest(dataset, names.SNAPSHOT, "all", version)
        return Snapshot(self.catalog, manifest, verify=self._verify)

    def lease(self, dataset: str, snapshot_number: int, ttl_seconds: float = 600.0) -> Lease:
        """Keep a snapshot and all that it pins from being collected while a job reads it.

        Raises
        ------
        LeaseLost
            The snapshot is being collected.
        NotFound
            There is no such snapshot.
        """
        self.catalog.manifest(dataset, names.SNAPSHOT, "all", snapshot_number)
        pins = {names.SNAPSHOT: {"all": snapshot_number}}
        return Lease(self.catalog, self._directories, dataset, pins, ttl_seconds)

    def tag(self, dataset: str, name: str, snapshot_number: int, *, move: bool = False) -> None:
        """Name a snapshot, which keeps it.

        Parameters
        ----------
        move
            Whether the name may be taken from another snapshot.
        """
        tags.set_tag(self.catalog, self._directories, dataset, name, snapshot_number, move=move)

    def untag(self, dataset: str, name: str) -> None:
        """Remove a tag; no error when there is none."""
        tags.remove_tag(self.catalog, dataset, name)

    def tags(self, dataset: str) -> dict[str, int]:
        """Snapshot number by tag, sorted by tag."""
        return tags.all_tags(self.catalog, dataset)

    def gc(
        self,
        dataset: str,
        *,
        keep: int = 3,
        grace_seconds: float = DEFAULT_GRACE_SECONDS,
        dry_run: bool = True,
    ) -> GcReport:
        """Remove versions and attempts that nobody needs, or say which; see `shards.gc`.

        Parameters
        ----------
        keep
            Newest versions of every partition, and newest snapshots, that stay.
        grace_seconds
            How long a replaced version, or an attempt that is not published, stays; 0 only while nobody
            writes, since it takes the files of every attempt under way.
        dry_run
            Whether to remove nothing.
        """
        return gc.collect(
            self.catalog, self._directories, dataset, keep=keep, grace_seconds=grace_seconds, dry_run=dry_run
        )

    def verify(
        self,
        dataset: str | None = None,
        asset: str | None = None,
        *,
        full: bool = False,
        progress: Progress | None = None,
    ) -> VerifyReport:
        """Look at everything, or at one dataset or asset; see `shards.verify`."""
        return verify(self.catalog, dataset, asset, full=full, progress=progress)


def _storage(root: str | os.PathLike[str]) -> Storage:
    return ObjectStorage(str(root)) if is_url(root) else LocalStorage(root)
