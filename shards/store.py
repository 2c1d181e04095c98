"""The store: the one object from which everything else is reached."""

from __future__ import annotations

import os
from datetime import datetime
from typing import Literal

from shards import names
from shards.attempt import Attempt
from shards.catalog import Catalog
from shards.commit import Directories
from shards.errors import InvalidArgument, NotFound
from shards.snapshot import Snapshot
from shards.snapshot_attempt import SnapshotAttempt
from shards.storage import LocalStorage, Storage
from shards.version import Version

DEFAULT_SHARD_BYTES = 256 << 20


class ShardStore:
    """Datasets below one root directory.

    Safe to share between threads and to pickle. The root is created by the first write.

    Parameters
    ----------
    root
        Directory.
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
        self.storage: Storage = LocalStorage(root) if storage is None else storage
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
            raise NotFound(f"{dataset}: no tag {version!r}")
        else:
            manifest = self.catalog.manifest(dataset, names.SNAPSHOT, "all", version)
        return Snapshot(self.catalog, manifest, verify=self._verify)
