"""Commands that check and change: verify, tag, gc, export."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from shards.cli.export import export as write_export
from shards.cli.output import Bar, print_json, print_table, spell_bytes, spell_rows
from shards.cli.target import Target, read_version
from shards.errors import InvalidArgument
from shards.names import SNAPSHOT
from shards.store import ShardStore


def verify(store: ShardStore, given: argparse.Namespace) -> int:
    """Look for damage; exit code 1 when there is any."""
    target = Target.find(store, given.target) if given.target else None
    dataset, asset = (target.dataset, target.asset) if target else (None, None)
    if target and target.partition:
        raise InvalidArgument(f"{given.target}: verify looks at whole assets; leave out the partition")
    report = store.verify(dataset, asset, full=given.full, progress=Bar("verify", spell_bytes))
    if given.json:
        print_json(dataclasses.asdict(report))
    else:
        for damage in report.damages:
            print(f"{damage.path}: {damage.reason}")
        how = "every byte" if report.full else "sizes and headers"
        print(
            f"{report.num_versions} versions, {report.num_files} files, {spell_bytes(report.size_bytes)}, "
            f"{how}: {len(report.damages)} damaged"
        )
    return 1 if report.damages else 0


def tag(store: ShardStore, given: argparse.Namespace) -> int:
    """List, set or remove tags."""
    dataset = Target.find(store, given.dataset).dataset
    if given.name is None:
        tags = store.tags(dataset)
        if given.json:
            print_json(tags)
        else:
            print_table(("tag", "snapshot"), list(tags.items()))
        return 0
    if given.remove:
        store.untag(dataset, given.name)
        done = {"tag": given.name, "snapshot": None}
    else:
        number = store.snapshot(dataset, read_version(given.version)).number
        store.tag(dataset, given.name, number, move=given.move)
        done = {"tag": given.name, "snapshot": number}
    if given.json:
        print_json(done)
    else:
        print(f"{done['tag']}: {'removed' if done['snapshot'] is None else done['snapshot']}")
    return 0


def gc(store: ShardStore, given: argparse.Namespace) -> int:
    """Remove what nobody needs, or say what would be."""
    dataset, grace_seconds = Target.find(store, given.dataset).dataset, given.grace_hours * 3600
    report = store.gc(dataset, keep=given.keep, grace_seconds=grace_seconds, dry_run=not given.delete)
    if given.json:
        print_json(dataclasses.asdict(report))
        return 0
    word = "would be removed; --delete removes them" if report.dry_run else "removed"
    for asset, partition, number in report.versions:
        print(f"{asset}[{partition}] version {number}")
    for path in report.attempts:
        print(f"attempt {path}")
    for place, reason in report.skipped.items():
        print(f"left alone: {place}: {reason}")
    print(
        f"{len(report.versions)} versions and {len(report.attempts)} attempts, "
        f"{spell_bytes(report.size_bytes)}, {word}; {report.num_kept} versions stay"
    )
    return 0


def export(store: ShardStore, given: argparse.Namespace) -> int:
    """Write a snapshot in another format."""
    target = Target.find(store, given.target)
    if target.asset not in (None, SNAPSHOT):
        raise InvalidArgument(f"{given.target}: exports are of snapshots; name the dataset alone")
    snapshot = target.snapshot(store, given.version)
    files = write_export(snapshot, given.form, Path(given.out), Bar("export", spell_rows))
    if given.json:
        print_json({"snapshot": snapshot.number, "files": [str(path) for path in files]})
    else:
        print("\n".join(map(str, files)))
    return 0
