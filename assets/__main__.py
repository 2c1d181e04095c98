"""`python -m assets infer`: look at a collection and write a dataset specification for it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bson.codec_options import CodecOptions, DatetimeConversion
from pymongo.errors import PyMongoError

from assets.columns.infer import profile_of, suggest
from assets.mongo.connect import connect
from assets.mongo.errors import MongoError
from assets.spec.source import Source

PROGRESS_EVERY = 500


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; gives the exit code."""
    parser = argparse.ArgumentParser(prog="python -m assets", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    infer = commands.add_parser(
        "infer",
        help="sample a collection and write a commented defs.yaml",
        description="Samples a collection and writes a commented defs.yaml: types seen with their shares, "
        "nested paths, cardinalities, what looks like pictures, a partition field, a column for each path.",
    )
    infer.add_argument("--database", required=True)
    infer.add_argument("--collection", required=True)
    infer.add_argument(
        "--uri-env", default="MONGODB_URI", help="environment variable that holds the connection string"
    )
    infer.add_argument("--sample", type=_positive, default=2_000, help="documents to look at (2000)")
    infer.add_argument("--output", type=Path, help="file to write; standard output when absent")
    options = parser.parse_args(arguments)
    try:
        text = _infer(options)
        if options.output is None:
            sys.stdout.write(text)
        else:
            with options.output.open("x", encoding="utf-8") as file:
                file.write(text)
    except FileExistsError:
        print(f"{options.output} exists; name another file, nothing was written", file=sys.stderr)
        return 1
    except (MongoError, ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    except PyMongoError as error:
        # Not the message: it can hold the server's address and the user's name.
        print(
            f"{options.database}.{options.collection} cannot be read: {type(error).__name__}", file=sys.stderr
        )
        return 1
    return 0


def _positive(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 1_000_000:
        raise argparse.ArgumentTypeError(f"{number} is not from 1 to 1000000")
    return number


def _counted(documents: Iterable[Mapping[str, Any]], sample: int) -> Iterator[Mapping[str, Any]]:
    """Pass documents on; a person who waits is told how many there were."""
    shown = sys.stderr.isatty()
    for number, document in enumerate(documents, 1):
        yield document
        if shown and number % PROGRESS_EVERY == 0:
            print(f"\r{number:,} of {sample:,} documents", end="", file=sys.stderr, flush=True)
    if shown:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _infer(options: argparse.Namespace) -> str:
    source = Source(uri_env=options.uri_env, database=options.database, collection=options.collection)
    codec: CodecOptions[dict[str, Any]] = CodecOptions(
        tz_aware=True,
        datetime_conversion=DatetimeConversion.DATETIME_AUTO,
        unicode_decode_error_handler="replace",
    )
    with connect(source) as client:
        collection = client[options.database].get_collection(options.collection, codec_options=codec)
        with collection.aggregate(
            [{"$sample": {"size": options.sample}}],
            allowDiskUse=True,
            comment="shardmill infer",
            batchSize=200,
        ) as documents:
            profile = profile_of(_counted(documents, options.sample))
    return suggest(profile, database=options.database, collection=options.collection, uri_env=options.uri_env)


if __name__ == "__main__":
    sys.exit(main())
