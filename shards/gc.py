"""Garbage collection: which versions and attempts nobody needs any more, and their removal.

Kept are, of every partition, the last `keep` versions and whatever was replaced within the grace period; the
same of snapshots, and those that a tag or a live lease names; and every version that a kept snapshot pins or
a lease names. An attempt that no manifest names, and the pieces of a build that never published, are removed
once nothing in them has changed for the grace period, so a writer must publish within it.

Removal can be cut short anywhere and done again: manifests go first and durably, then files.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from shards import marks, names
from shards.catalog import Catalog
from shards.commit import Directories
from shards.errors import InvalidArgument, ManifestError, NotFound, ShardError
from shards.manifest import Manifest
from shards.marks import Mark

INTENT_SECONDS = 3600.0
DRAFT_SECONDS = 3600.0
"""Age at which a mark that was never renamed into place is rubbish, whatever the grace period."""
DEFAULT_GRACE_SECONDS = 86_400.0
Coordinates = tuple[str, str, int]
"""Asset, partition, version number."""


@dataclass(frozen=True, slots=True)
class GcReport:
    """What was removed, or would be.

    Attributes
    ----------
    versions
        Asset, partition and number.
    attempts
        Directories below the root that no manifest names: of attempts and of pieces.
    size_bytes
        Bytes of the files of both.
    num_kept
        Versions that stay.
    skipped
        Partitions left alone because one of their manifests is unreadable, with the reason.
    """

    dataset: str
    dry_run: bool
    versions: tuple[Coordinates, ...]
    attempts: tuple[str, ...]
    size_bytes: int
    num_kept: int
    skipped: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class _Plan:
    """Manifests of what is doomed, attempts that no manifest names, and partitions left alone."""

    doomed: dict[Coordinates, Manifest]
    orphans: list[str]
    num_kept: int
    skipped: dict[str, str]


class _Collector:
    def __init__(
        self, catalog: Catalog, dataset: str, keep: int, grace_seconds: float, clock: Callable[[], float]
    ) -> None:
        self._catalog = catalog
        self._storage = catalog.storage
        self._dataset = names.check_name(dataset, "dataset")
        self._keep = keep
        self._grace_seconds = grace_seconds
        self._clock = clock

    def plan(self) -> _Plan:
        """Read leases before snapshots: a snapshot's writer holds a lease until it is published."""
        now = self._clock()
        held = _named(
            mark
            for kind in ("tag", "lease")
            for mark in marks.read_all(self._storage, self._dataset, kind)
            if mark.expires_at is None or mark.expires_at > now
        )
        plan = _Plan({}, [], 0, {})
        snapshots = self._manifests(names.SNAPSHOT, "all")
        for manifest in self._judge(plan, snapshots, held, now):
            assert manifest.snapshot is not None
            for asset, pins in manifest.snapshot.pins.items():
                held.update((asset, key, pin.number) for key, pin in pins.items())
        self._orphans(plan, names.SNAPSHOT, "all", snapshots, now)
        for asset in self._catalog.assets(self._dataset):
            if asset == names.SNAPSHOT:
                continue
            for partition in self._partitions(asset):
                try:
                    manifests = self._manifests(asset, partition)
                except ManifestError as error:
                    plan.skipped[f"{asset}[{partition}]"] = str(error)
                    continue
                self._judge(plan, manifests, held, now)
                self._orphans(plan, asset, partition, manifests, now)
        return plan

    def _partitions(self, asset: str) -> list[str]:
        found = set(self._catalog.partitions(self._dataset, asset))
        for name in self._storage.names(f"{self._dataset}/{asset}/data"):
            key = names.decode_partition(name)
            if key is not None:
                found.add(key)
        return sorted(found)

    def _manifests(self, asset: str, partition: str) -> list[Manifest]:
        found = []
        for number in self._catalog.versions(self._dataset, asset, partition):
            with contextlib.suppress(NotFound):  # collected meanwhile
                found.append(self._catalog.manifest(self._dataset, asset, partition, number))
        return found

    def _judge(
        self, plan: _Plan, manifests: list[Manifest], held: set[Coordinates], now: float
    ) -> list[Manifest]:
        """Divide a partition's versions; the kept ones."""
        kept = []
        for position, manifest in enumerate(manifests):
            coordinates = (manifest.asset, manifest.partition, manifest.number)
            if (
                position >= len(manifests) - self._keep
                or coordinates in held
                or manifests[position + 1].created_at.timestamp() > now - self._grace_seconds
            ):
                kept.append(manifest)
            else:
                plan.doomed[coordinates] = manifest
        plan.num_kept += len(kept)
        return kept

    def _orphans(
        self, plan: _Plan, asset: str, partition: str, manifests: list[Manifest], now: float
    ) -> None:
        parent = names.data_directory(self._dataset, asset, partition)
        named = {manifest.attempt for manifest in manifests}
        for name in sorted(self._storage.names(parent)):
            if (names.ATTEMPT.fullmatch(name) and name not in named) or names.PIECES.fullmatch(name):
                path = f"{parent}/{name}"
                inside = [f"{path}/{file}" for file in self._storage.names(path)]
                with contextlib.suppress(FileNotFoundError):  # removed meanwhile
                    if min(map(self._storage.age_seconds, [path, *inside])) >= self._grace_seconds:
                        plan.orphans.append(path)

    def directory(self, manifest: Manifest) -> str:
        """Directory of a version's files."""
        parent = names.data_directory(self._dataset, manifest.asset, manifest.partition)
        return f"{parent}/{manifest.attempt}"

    def report(self, plan: _Plan, *, dry_run: bool) -> GcReport:
        """Sum up a plan."""
        directories = [*map(self.directory, plan.doomed.values()), *plan.orphans]
        size = sum(
            bytes_ for path in directories for bytes_ in self._storage.sizes(path).values() if bytes_ > 0
        )
        return GcReport(
            self._dataset,
            dry_run,
            tuple(sorted(plan.doomed)),
            tuple(plan.orphans),
            size,
            plan.num_kept,
            plan.skipped,
        )

    def collect(self, directories: Directories) -> GcReport:
        """Remove what is doomed."""
        plan = self.plan()
        now = self._clock()
        pins: dict[str, dict[str, tuple[int, ...]]] = defaultdict(dict)
        for asset, partition, number in plan.doomed:
            pins[asset][partition] = (*pins[asset].get(partition, ()), number)
        intent = Mark("intent", secrets.token_hex(16), pins, now, now + INTENT_SECONDS, "gc")
        directories.ensure(marks.directory(self._dataset, "intent"))
        marks.write(self._storage, self._dataset, intent)
        again = self.plan()
        plan = _Plan(
            {key: manifest for key, manifest in plan.doomed.items() if key in again.doomed},
            [path for path in plan.orphans if path in set(again.orphans)],
            again.num_kept,
            again.skipped,
        )
        report = self.report(plan, dry_run=False)
        self._remove(plan, now + INTENT_SECONDS)
        self._sweep()
        marks.remove(self._storage, self._dataset, "intent", intent.name)
        return report

    def _remove(self, plan: _Plan, deadline: float) -> None:
        changed: set[str] = set()
        for asset, partition, number in sorted(plan.doomed):
            if self._clock() >= deadline - INTENT_SECONDS / 2:
                raise ShardError(f"{self._dataset}: gc ran out of its hour; run it again to go on")
            place = names.manifest_directory(self._dataset, asset, partition)
            self._storage.remove(f"{place}/{names.manifest_name(number)}")
            changed.add(place)
        for place in sorted(changed):
            self._storage.sync_directory(place)
        for path in [*map(self.directory, plan.doomed.values()), *plan.orphans]:
            for name in self._storage.names(path):
                self._storage.remove(f"{path}/{name}")
            self._storage.remove_directory(path)

    def _sweep(self) -> None:
        """Remove leases and intents that ended a grace period ago, and drafts of marks."""
        now = self._clock()
        for kind in ("lease", "intent"):
            for mark in marks.read_all(self._storage, self._dataset, kind):
                if mark.expires_at is not None and mark.expires_at <= now - self._grace_seconds:
                    marks.remove(self._storage, self._dataset, kind, mark.name)
        for kind in ("tag", "lease", "intent"):
            place = marks.directory(self._dataset, kind)
            for name in self._storage.names(place):
                path = f"{place}/{name}"
                with contextlib.suppress(FileNotFoundError):
                    if name.endswith(".draft") and self._storage.age_seconds(path) >= DRAFT_SECONDS:
                        self._storage.remove(path)


def _named(found: Iterable[Mark]) -> set[Coordinates]:
    return {
        (asset, partition, number)
        for mark in found
        for asset, pinned in mark.pins.items()
        for partition, numbers in pinned.items()
        for number in numbers
    }


def collect(
    catalog: Catalog,
    directories: Directories,
    dataset: str,
    *,
    keep: int,
    grace_seconds: float,
    dry_run: bool,
    clock: Callable[[], float] = time.time,
) -> GcReport:
    """Remove what nobody needs, or say what would be; see the module.

    Raises
    ------
    ManifestError
        A snapshot, tag, lease or intent is unreadable, so that it is not known what is needed.
    """
    if keep < 1 or not grace_seconds >= 0:
        raise InvalidArgument(f"keep {keep}, grace_seconds {grace_seconds}: allowed are from 1 and from 0")
    collector = _Collector(catalog, dataset, keep, grace_seconds, clock)
    if dry_run:
        return collector.report(collector.plan(), dry_run=True)
    return collector.collect(directories)
