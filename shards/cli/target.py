"""What a command is about: DATASET[/ASSET[/PARTITION]] and a version."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timezone

from shards.errors import InvalidArgument, NotFound
from shards.names import SNAPSHOT
from shards.snapshot import Snapshot
from shards.store import ShardStore
from shards.version import Version


@dataclass(frozen=True, slots=True)
class Target:
    """A dataset, or one of its assets, or one partition of that."""

    dataset: str
    asset: str | None
    partition: str | None

    @classmethod
    def find(cls, store: ShardStore, text: str) -> Target:
        """Read DATASET[/ASSET[/PARTITION]]; a partition key may contain slashes.

        Raises
        ------
        NotFound
            The store has no such dataset, asset or partition.
        """
        dataset, _, rest = text.partition("/")
        asset, _, partition = rest.partition("/")
        _check(dataset, store.datasets(), f"{store.root}: no dataset")
        if asset:
            _check(asset, store.assets(dataset), f"{dataset}: no asset")
        if partition:
            _check(partition, store.partitions(dataset, asset), f"{dataset}/{asset}: no partition")
        return cls(dataset, asset or None, partition or None)

    def snapshot(self, store: ShardStore, version: str | None) -> Snapshot:
        """Open the snapshot that the version names."""
        return store.snapshot(self.dataset, read_version(version))

    def version(self, store: ShardStore, version: str | None) -> Version:
        """Open the version of the asset's partition that is named."""
        asset = self.asset or SNAPSHOT
        if asset == SNAPSHOT:
            return self.snapshot(store, version).version
        keys = store.partitions(self.dataset, asset)
        partition = self.partition or (keys[0] if len(keys) == 1 else None)
        if partition is None:
            raise InvalidArgument(f"{self.dataset}/{asset}: name a partition; there are {_known(keys)}")
        wanted = read_version(version)
        if isinstance(wanted, int):
            return store.version(self.dataset, asset, partition, wanted)
        if isinstance(wanted, datetime):
            number = store.catalog.as_of(self.dataset, asset, partition, wanted).number
            return store.version(self.dataset, asset, partition, number)
        if wanted is not None:
            raise InvalidArgument(f"{wanted!r}: tags name snapshots; give a number or a date")
        latest = store.latest(self.dataset, asset, partition)
        if latest is None:
            raise NotFound(f"{self.dataset}/{asset}[{partition}]: no version")
        return latest


def _check(name: str, known: list[str], what: str) -> None:
    if name not in known:
        raise NotFound(f"{what} {name!r}; there are {_known(known)}")


def _known(names: list[str]) -> str:
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "") or "none"


def read_version(text: str | None) -> int | str | datetime | None:
    """Read a version from the command line: a number, a date (UTC unless it says otherwise), or a tag."""
    if text is None or text == "latest":
        return None
    if text.isascii() and text.isdigit():
        return int(text)
    if re.match(r"\d{4}-\d\d-\d\d", text):
        try:
            moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
        except ValueError:
            raise InvalidArgument(f"version {text!r}: allowed is an ISO 8601 date or time") from None
        if len(text) == 10:
            moment = moment.replace(hour=23, minute=59, second=59, microsecond=999_999)
        return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
    return text
