"""What stands in a store: datasets, assets, partitions, versions and their manifests."""

from __future__ import annotations

from datetime import datetime

from shards import names
from shards.errors import InvalidArgument, ManifestError, NotFound, Problem
from shards.limits import MAX_MANIFEST_BYTES
from shards.manifest import Manifest
from shards.parse import parse
from shards.storage import Storage


class Catalog:
    """Names and manifests of a store. Nothing is cached: what is published is seen at once."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage

    def datasets(self) -> list[str]:
        """Names of the datasets, sorted."""
        return sorted(name for name in self.storage.names("") if names.NAME.fullmatch(name))

    def assets(self, dataset: str) -> list[str]:
        """Names of a dataset's assets, sorted."""
        names.check_name(dataset, "dataset")
        return sorted(name for name in self.storage.names(dataset) if names.NAME.fullmatch(name))

    def partitions(self, dataset: str, asset: str) -> list[str]:
        """Keys of the partitions that have a directory of manifests, sorted."""
        names.check_name(dataset, "dataset")
        names.check_name(asset, "asset")
        found = map(names.decode_partition, self.storage.names(f"{dataset}/{asset}/manifests"))
        return sorted(key for key in found if key is not None)

    def versions(self, dataset: str, asset: str, partition: str) -> list[int]:
        """Numbers of the published versions, ascending."""
        names.check_name(dataset, "dataset")
        names.check_name(asset, "asset")
        directory = names.manifest_directory(dataset, asset, partition)
        found = map(names.MANIFEST.fullmatch, self.storage.names(directory))
        return sorted(int(match[1]) for match in found if match is not None and int(match[1]) > 0)

    def manifest(self, dataset: str, asset: str, partition: str, number: int) -> Manifest:
        """Manifest of one version; NotFound when it is not published or was collected."""
        names.check_name(dataset, "dataset")
        names.check_name(asset, "asset")
        directory = names.manifest_directory(dataset, asset, partition)
        path = f"{directory}/{names.manifest_name(number)}"
        try:
            data = self.storage.read(path, MAX_MANIFEST_BYTES)
        except NotFound:
            latest = max(self.versions(dataset, asset, partition), default="none")
            raise NotFound(
                f"{dataset}/{asset}[{partition}]: no version {number}; the latest is {latest}"
            ) from None
        manifest = parse(path, data)
        wanted = (dataset, asset, partition, number)
        got = (manifest.dataset, manifest.asset, manifest.partition, manifest.number)
        if got != wanted:
            raise ManifestError(path, [Problem("", "wrong_place", repr(got), repr(wanted))])
        return manifest

    def latest(self, dataset: str, asset: str, partition: str) -> Manifest | None:
        """Manifest of the highest number, or None when there is no version."""
        while numbers := self.versions(dataset, asset, partition):
            try:
                return self.manifest(dataset, asset, partition, numbers[-1])
            except NotFound:  # collected meanwhile, so that a later one stands
                if self.versions(dataset, asset, partition)[-1:] == numbers[-1:]:
                    raise
        return None

    def as_of(self, dataset: str, asset: str, partition: str, moment: datetime) -> Manifest:
        """Manifest of the last version created at or before a moment; NotFound when there is none.

        Versions are created in ascending order of time, so that few manifests are read.
        """
        if moment.tzinfo is None:
            raise InvalidArgument(f"moment {moment}: has no time zone; allowed is an aware datetime")
        numbers = self.versions(dataset, asset, partition)
        low, high = 0, len(numbers)
        found: Manifest | None = None
        while low < high:
            middle = (low + high) // 2
            manifest = self.manifest(dataset, asset, partition, numbers[middle])
            if manifest.created_at <= moment:
                found, low = manifest, middle + 1
            else:
                high = middle
        if found is None:
            raise NotFound(f"{dataset}/{asset}[{partition}]: no version at {moment.isoformat()} or before")
        return found
