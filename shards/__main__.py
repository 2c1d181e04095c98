"""`python -m shards`: look at a store, check it, tag, collect, export."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from shards.cli import act, look
from shards.cli.diff import diff
from shards.cli.head import head
from shards.errors import InvalidArgument, NotFound, ShardError
from shards.remote import is_url
from shards.store import ShardStore


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m shards", description=__doc__)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("root", metavar="ROOT", help="directory of the store, such as data/shards")
    common.add_argument("--json", action="store_true", help="print one JSON document")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    target = "DATASET[/ASSET[/PARTITION]]"
    which = "a number, a date or time (UTC), a tag; default: the latest"

    def add(name: str, run: object, text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text, parents=[common])
        command.set_defaults(run=run)
        return command

    command = add("ls", look.ls, "list datasets, assets, partitions, versions")
    command.add_argument("target", nargs="?", metavar=target)
    command = add("show", look.show, "describe one version")
    command.add_argument(
        "target", nargs="?", metavar=target, help="may be left out when there is one dataset"
    )
    command.add_argument("--version", help=which)
    command = add("head", head, "print the first rows; show pictures, or save them as a contact sheet")
    command.add_argument(
        "target", nargs="?", metavar=target, help="may be left out when there is one dataset"
    )
    command.add_argument("--version", help=which)
    command.add_argument("--split", help="rows of one split")
    command.add_argument("-n", "--rows", type=_positive, default=5, help="how many (5)")
    command.add_argument("--sheet", metavar="FILE", help="save a contact sheet instead of showing pictures")
    command = add("stats", look.stats, "print the statistics of one version")
    command.add_argument("target", metavar=target)
    command.add_argument("--version", help=which)
    command = add("diff", diff, "compare two versions; exit code 1 when they differ")
    command.add_argument("target", metavar=target)
    command.add_argument("old", help=which)
    command.add_argument("new", nargs="?", default="latest", help=which)
    command = add("verify", act.verify, "look for damage; exit code 1 when there is any")
    command.add_argument("target", nargs="?", metavar="DATASET[/ASSET]")
    command.add_argument("--full", action="store_true", help="read every byte and compare its hash")
    command = add("tag", act.tag, "list tags, or name a snapshot, which keeps it")
    command.add_argument("dataset")
    command.add_argument("name", nargs="?")
    command.add_argument("version", nargs="?", help=which)
    command.add_argument("--move", action="store_true", help="take the name from another snapshot")
    command.add_argument("--remove", action="store_true")
    command = add("gc", act.gc, "remove versions that nobody needs; says which unless --delete is given")
    command.add_argument("dataset")
    command.add_argument("--keep", type=int, default=3, help="newest versions that stay (default: 3)")
    command.add_argument("--grace-hours", type=float, default=24.0, help="how long replaced ones stay")
    command.add_argument("--delete", action="store_true", help="remove, not only say")
    command = add("export", act.export, "write a snapshot in another format")
    command.add_argument("target", metavar="DATASET")
    command.add_argument("form", choices=["parquet", "huggingface", "webdataset"])
    command.add_argument("out", help="new directory")
    command.add_argument("--version", help=which)
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not 1 or more")
    return number


def _only_dataset(store: ShardStore) -> str:
    names = store.datasets()
    if len(names) != 1:
        raise InvalidArgument(f"{store.root}: name a dataset; there are {', '.join(names) or 'none'}")
    return names[0]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit code: 0, 1 for a finding, 2 for an error."""
    given = _parser().parse_args(arguments)
    try:
        if not is_url(given.root) and not Path(given.root).is_dir():
            raise NotFound(f"{given.root}: no such directory")
        store = ShardStore(given.root)
        if is_url(given.root) and not store.datasets():  # there are no directories to look for
            raise NotFound(f"{given.root}: no dataset there")
        if given.run in (look.show, head) and given.target is None:
            given.target = _only_dataset(store)
        return int(given.run(store, given))
    except BrokenPipeError:  # the reader of the output went away, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ShardError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
