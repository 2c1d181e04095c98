"""The command `head`: first rows, and their pictures in the terminal or on a contact sheet."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np

from shards.cli.output import print_json, print_records
from shards.cli.pictures import contact_sheet, in_terminal, is_picture, pixels
from shards.cli.rows import table_of
from shards.cli.target import Target
from shards.names import SNAPSHOT
from shards.store import ShardStore
from shards.version import Version


def head(store: ShardStore, given: argparse.Namespace) -> int:
    """First rows, and their pictures."""
    target = Target.find(store, given.target)
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
    values = table_of(plain, rows).to_pylist() or [{}] * len(rows)
    _print(given, [{"row": int(row)} | found for row, found in zip(rows, values, strict=True)])
    pictured = {name: reader for name, reader in readers.items() if is_picture(reader.column)}
    for name, reader in pictured.items() if len(rows) else ():
        pictures = [pixels(reader.column, value) for value in reader.take(rows)]
        if not given.json and not given.sheet and _terminal_shows_colors():
            print(f"\n{name} of rows {', '.join(map(str, rows))}")
            print(in_terminal(pictures, shutil.get_terminal_size().columns))
        elif given.sheet or not given.json:
            path = Path(given.sheet or f"{target.dataset}-{name}.png")
            path = path if len(pictured) == 1 else path.with_stem(f"{path.stem}-{name}")
            path.write_bytes(contact_sheet(pictures))
            print(f"{name}: {path}", file=sys.stderr)
    return 0


def _terminal_shows_colors() -> bool:
    return sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb" and not os.environ.get("NO_COLOR")


def _head_of_table(version: Version, given: argparse.Namespace) -> int:
    name = version.tables[0] if version.tables else ""
    _print(given, version.table(name).read().slice(0, given.rows).to_pylist())
    return 0


def _print(given: argparse.Namespace, rows: list[dict[str, Any]]) -> None:
    if given.json:
        print_json(rows)
    else:
        print_records(rows)
