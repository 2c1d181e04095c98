"""What differs between two versions: rows, schema, content, statistics, and what a snapshot adds."""

from __future__ import annotations

import argparse
import json
from typing import Any

import xxhash

from shards.cli.output import leaves, print_json, print_table
from shards.cli.target import Target
from shards.manifest import Manifest, Shard, SnapshotEntry
from shards.store import ShardStore
from shards.version import Version

ABSENT = "-"


def diff(store: ShardStore, given: argparse.Namespace) -> int:
    """What differs between two versions; exit code 1 when anything does."""
    target = Target.find(store, given.target)
    old, new = target.version(store, given.old), target.version(store, given.new)
    before, after = _facts(store, old), _facts(store, new)
    changes = [
        {"what": name, "old": before.get(name), "new": after.get(name)}
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    ]
    if given.json:
        print_json({"old": old.number, "new": new.number, "changes": changes})
    elif changes:
        lines = [[ABSENT if cell is None else cell for cell in change.values()] for change in changes]
        print_table(("what", f"version {old.number}", f"version {new.number}"), lines)
    else:
        print(f"versions {old.number} and {new.number} do not differ")
    return 1 if changes else 0


def _facts(store: ShardStore, version: Version) -> dict[str, Any]:
    manifest = version.manifest
    facts: dict[str, Any] = {"rows": version.num_rows}
    columns = version.columns
    if manifest.snapshot is not None:
        columns = store.snapshot(version.dataset, version.number).columns
        facts |= _facts_of_snapshot(manifest.snapshot)
    else:
        facts["valid rows"] = int(version.validity().sum())
    for name, column in columns.items():
        facts[f"column {name}"] = f"{column.kind} {column.stored_as}"
    facts |= _contents(manifest)
    for table in manifest.tables:
        facts[f"table {table.name}"] = table.arrow_type
        facts[f"table {table.name} rows"] = sum(shard.rows for shard in table.shards)
    facts |= {f"input {asset}": number for asset, number in manifest.inputs.items()}
    return facts | {f"statistic {name}": value for name, value in leaves(dict(manifest.statistics)).items()}


def _facts_of_snapshot(snapshot: SnapshotEntry) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    for entry in (*snapshot.splits, *snapshot.subsets):
        facts[f"{entry.name} rows"] = sum(shard.rows for shard in entry.shards)
        facts[f"{entry.name} content"] = _content(entry.shards)
    for vocabulary in snapshot.vocabularies:
        facts[f"vocabulary {vocabulary.column}"] = _content(vocabulary.shards)
    for asset, pins in snapshot.pins.items():
        facts |= {f"pin {asset}[{key}]": pin.number for key, pin in pins.items()}
    return facts | {f"transform {name}": json.dumps(steps) for name, steps in snapshot.transforms.items()}


def _contents(manifest: Manifest) -> dict[str, str]:
    """Return a hash of what each column and table holds."""
    contents = {f"column {entry.column.name} content": _content(entry.shards) for entry in manifest.columns}
    return contents | {f"table {entry.name} content": _content(entry.shards) for entry in manifest.tables}


def _content(shards: tuple[Shard, ...]) -> str:
    """Return a short hash over all files."""
    return xxhash.xxh3_64_hexdigest("".join(shard.xxh3_128 for shard in shards).encode())
