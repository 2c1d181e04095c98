"""Commands that look: ls, show, head, stats, diff."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from shards import manifest as manifests
from shards.cli.output import print_json, print_table, spell_bytes
from shards.cli.pictures import contact_sheet, in_terminal, is_picture, pixels
from shards.cli.rows import table_of
from shards.cli.target import Target
from shards.errors import NotFound
from shards.names import SNAPSHOT
from shards.store import ShardStore
from shards.version import Version


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
    rows = list(_versions(store, Target.parse(given.target)))
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
    if target.dataset not in store.datasets():
        raise NotFound(f"{store.root}: no dataset {target.dataset!r}")
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
    version = Target.parse(given.target).version(store, given.version)
    manifest = version.manifest
    members = json.loads(manifests.dump(manifest))
    if given.json:
        print_json(members)
        return 0
    print(f"{version}, content {version.content_hash}")
    print(f"created {manifests.spell_time(version.created_at)}, {version.num_rows} rows, ", end="")
    print(f"{spell_bytes(version.size_bytes)} in {len(version.files())} files below {version.directory}")
    for name in ("inputs", "provenance", "metadata"):
        if members[name]:
            print(f"{name}: {json.dumps(members[name], ensure_ascii=False)}")
    if manifest.columns:
        print_table(
            ("column", "kind", "stored as", "shards", "size"),
            [
                (e.column.name, e.column.kind, _stored_as(e), len(e.shards),
                 spell_bytes(sum(s.bytes for s in e.shards)))
                for e in manifest.columns
            ],
        )  # fmt: skip
    for table in manifest.tables:
        print(f"table {table.name}: {sum(shard.rows for shard in table.shards)} rows of {table.arrow_type}")
    if manifest.snapshot is not None:
        for entry in (*manifest.snapshot.splits, *manifest.snapshot.subsets):
            parent = f" of {entry.parent}" if entry.parent else ""
            print(f"{entry.name}{parent}: {sum(shard.rows for shard in entry.shards)} rows")
        for asset, pins in manifest.snapshot.pins.items():
            numbers = ", ".join(f"{key} {pin.number}" for key, pin in list(pins.items())[:12])
            print(f"pins {asset}: {numbers}{', ...' if len(pins) > 12 else ''}")
    return 0


def _stored_as(entry: manifests.ColumnEntry) -> str:
    column = entry.column
    return column.arrow_type or f"{column.dtype} {list(column.shape) if column.shape else ''}".rstrip()


def head(store: ShardStore, given: argparse.Namespace) -> int:
    """First rows, and their pictures."""
    target = Target.parse(given.target)
    if target.asset in (None, SNAPSHOT):
        snapshot = target.snapshot(store, given.version)
        readers = {name: snapshot.column(name) for name in snapshot.columns}
        rows = snapshot.index(given.split) if given.split else np.arange(snapshot.num_rows)
    else:
        version = target.version(store, given.version)
        readers = {name: version.column(name) for name in version.columns}
        rows = np.arange(version.num_rows)
        if not readers:
            return _head_of_table(version, given)
    rows = rows[: given.rows]
    plain = {name: reader for name, reader in readers.items() if not is_picture(reader.column)}
    found = [
        {"row": int(row)} | values
        for row, values in zip(rows, table_of(plain, rows).to_pylist() or [{}] * len(rows), strict=True)
    ]
    pictures = {
        name: [pixels(reader.column, value) for value in reader.take(rows)]
        for name, reader in readers.items()
        if is_picture(reader.column)
    }
    if given.json:
        print_json(found)
    else:
        _print_rows(found)
    for name, shown in pictures.items():
        if sys.stdout.isatty() and not given.json and not given.sheet:
            for row, picture in zip(rows, shown, strict=True):
                print(f"{name}, row {row}\n{in_terminal(picture, 40)}")
        elif given.sheet or not given.json:
            path = Path(given.sheet or f"{target.dataset}-{name}.png")
            path = path if len(pictures) == 1 else path.with_stem(f"{path.stem}-{name}")
            path.write_bytes(contact_sheet(shown))
            print(f"{name}: {path}", file=sys.stderr)
    return 0


def _head_of_table(version: Version, given: argparse.Namespace) -> int:
    name = version.tables[0] if version.tables else ""
    rows = version.table(name).read().slice(0, given.rows).to_pylist()
    if given.json:
        print_json(rows)
    else:
        _print_rows(rows)
    return 0


def _print_rows(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        cells = (
            f"{name}={value if len(str(value)) <= 60 else str(value)[:57] + '...'}"
            for name, value in row.items()
        )
        print("  ".join(cells))


def stats(store: ShardStore, given: argparse.Namespace) -> int:
    """Statistics of a version."""
    version = Target.parse(given.target).version(store, given.version)
    if given.json:
        print_json(dict(version.statistics))
    else:
        print_table(("statistic", "value"), sorted(_leaves(dict(version.statistics)).items()))
    return 0


def diff(store: ShardStore, given: argparse.Namespace) -> int:
    """What differs between two versions; exit code 1 when anything does."""
    target = Target.parse(given.target)
    old, new = target.version(store, given.old), target.version(store, given.new)
    before, after = _facts(old), _facts(new)
    changes = [
        {"what": name, "old": before.get(name), "new": after.get(name)}
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    ]
    if given.json:
        print_json({"old": old.number, "new": new.number, "changes": changes})
    elif changes:
        print_table(("what", str(old.number), str(new.number)), [tuple(c.values()) for c in changes])
    else:
        print(f"versions {old.number} and {new.number} do not differ")
    return 1 if changes else 0


def _facts(version: Version) -> dict[str, Any]:
    manifest = version.manifest
    facts: dict[str, Any] = {"rows": version.num_rows, "valid rows": int(version.validity().sum())}
    for entry in manifest.columns:
        column = entry.column
        facts[f"column {column.name}"] = f"{column.kind} {_stored_as(entry)}"
        facts[f"column {column.name} content"] = _content(entry.shards)
    for table in manifest.tables:
        facts[f"table {table.name}"] = table.arrow_type
        facts[f"table {table.name} rows"] = sum(shard.rows for shard in table.shards)
        facts[f"table {table.name} content"] = _content(table.shards)
    facts |= {f"input {asset}": number for asset, number in manifest.inputs.items()}
    facts |= {f"statistic {name}": value for name, value in _leaves(dict(manifest.statistics)).items()}
    if manifest.snapshot is not None:
        for entry_ in (*manifest.snapshot.splits, *manifest.snapshot.subsets):
            facts[f"{entry_.name} rows"] = sum(shard.rows for shard in entry_.shards)
            facts[f"{entry_.name} content"] = _content(entry_.shards)
        for asset, pins in manifest.snapshot.pins.items():
            facts |= {f"pin {asset}[{key}]": pin.number for key, pin in pins.items()}
        facts |= {
            f"transform {name}": json.dumps(steps) for name, steps in manifest.snapshot.transforms.items()
        }
    return facts


def _content(shards: tuple[manifests.Shard, ...]) -> str:
    return " ".join(shard.xxh3_128[:8] for shard in shards[:3])


def _leaves(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, dict):
        found: dict[str, Any] = {}
        for name, child in value.items():
            found |= _leaves(child, f"{prefix}.{name}" if prefix else str(name))
        return found
    return {prefix: value}
