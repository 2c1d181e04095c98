"""Commands that look: ls, show, stats."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from typing import Any

from shards import manifest as manifests
from shards.cli.output import leaves, print_json, print_table, spell_bytes
from shards.cli.target import Target
from shards.names import SNAPSHOT
from shards.store import ShardStore


def ls(store: ShardStore, given: argparse.Namespace) -> int:
    """Datasets; assets and partitions of one; versions of a partition."""
    rows: list[dict[str, Any]]
    if given.target is None:
        rows = [
            {"dataset": name, "assets": store.assets(name), "snapshots": store.versions(name, SNAPSHOT)}
            for name in store.datasets()
        ]
        lines = [(row["dataset"], " ".join(row["assets"]), len(row["snapshots"])) for row in rows]
        return _print(given, rows, ("dataset", "assets", "snapshots"), lines)
    rows = list(_versions(store, Target.find(store, given.target)))
    versions = [
        (
            row["asset"],
            row["partition"],
            row["version"],
            row["num_rows"],
            spell_bytes(row["size_bytes"]),
            row["created_at"][:19],
            " ".join(row["tags"]),
        )
        for row in rows
    ]
    header = ("asset", "partition", "version", "rows", "size", "created", "tags")
    return _print(given, rows, header, versions)


def _print(
    given: argparse.Namespace, rows: Any, header: Sequence[str], lines: Sequence[Sequence[object]]
) -> int:
    if given.json:
        print_json(rows)
    else:
        print_table(header, lines)
    return 0


def _versions(store: ShardStore, target: Target) -> Iterator[dict[str, Any]]:
    tags = store.tags(target.dataset)
    for asset in store.assets(target.dataset) if target.asset is None else [target.asset]:
        for key in store.partitions(target.dataset, asset):
            if target.partition not in (None, key):
                continue
            numbers = store.versions(target.dataset, asset, key)
            for number in numbers if target.partition or asset == SNAPSHOT else numbers[-1:]:
                manifest = store.catalog.manifest(target.dataset, asset, key, number)
                yield {
                    "asset": asset,
                    "partition": key,
                    "version": number,
                    "num_rows": manifest.num_rows,
                    "size_bytes": manifest.size_bytes,
                    "created_at": manifests.spell_time(manifest.created_at),
                    "tags": [name for name, n in tags.items() if asset == SNAPSHOT and n == number],
                }


def show(store: ShardStore, given: argparse.Namespace) -> int:
    """One version's manifest."""
    version = Target.find(store, given.target).version(store, given.version)
    manifest = version.manifest
    members = json.loads(manifests.dump(manifest))
    if given.json:
        print_json(members)
        return 0
    print(f"{version}, content {version.content_hash}")
    print(f"created {manifests.spell_time(version.created_at)}, {version.num_rows} rows, ", end="")
    print(f"{spell_bytes(version.size_bytes)} in {len(version.files())} files below {version.directory}")
    facts = [
        (f"{group} {name}", value)
        for group in ("inputs", "provenance", "metadata")
        for name, value in members[group].items()
    ]
    if facts:
        print()
        print_table(("fact", "value"), facts)
    print()
    if manifest.columns:
        print_table(
            ("column", "kind", "stored as", "shards", "size"),
            [
                (e.column.name, e.column.kind, e.column.stored_as, len(e.shards),
                 spell_bytes(sum(s.bytes for s in e.shards)))
                for e in manifest.columns
            ],
        )  # fmt: skip
    for table in manifest.tables:
        print(f"table {table.name}: {sum(shard.rows for shard in table.shards)} rows of {table.arrow_type}")
    if manifest.snapshot is not None:
        columns = store.snapshot(version.dataset, version.number).columns
        print_table(
            ("column", "kind", "stored as"),
            [(name, column.kind, column.stored_as) for name, column in columns.items()],
        )
        print()
        for entry in (*manifest.snapshot.splits, *manifest.snapshot.subsets):
            parent = f" of {entry.parent}" if entry.parent else ""
            print(f"{entry.name}{parent}: {sum(shard.rows for shard in entry.shards)} rows")
        for asset, pins in manifest.snapshot.pins.items():
            numbers = ", ".join(f"{key} {pin.number}" for key, pin in list(pins.items())[:12])
            print(f"pins {asset}: {numbers}{', ...' if len(pins) > 12 else ''}")
    return 0


def stats(store: ShardStore, given: argparse.Namespace) -> int:
    """Statistics of a version."""
    version = Target.find(store, given.target).version(store, given.version)
    if given.json:
        print_json(dict(version.statistics))
        return 0
    lines: dict[str, list[str]] = {}
    for path, value in sorted(leaves(dict(version.statistics)).items()):
        group, _, name = path.rpartition(".")
        lines.setdefault(group, []).append(f"{name} {_brief(value)}")
    if not lines:
        print("no statistics")
    for group, values in lines.items():
        print(f"{group}\n  {'  '.join(values)}")
    return 0


def _brief(value: Any) -> str:
    """One number of a list of one, the length of a longer list."""
    if isinstance(value, list):
        alone = len(value) == 1 and not isinstance(value[0], (list, dict))
        return _brief(value[0]) if alone else f"({len(value)} values)"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
