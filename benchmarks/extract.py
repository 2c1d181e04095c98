"""Extraction: a collection, a dump file and GridFS, in one process, peers beside it.

Ours checks every value, names every document that does not fit, reads at one cluster time and keeps `_id`
order. The limit is raw commands whose replies nobody decodes or writes; peers read in natural order, which is
quicker.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import bson
import gridfs
import pyarrow as pa
from pymongo import MongoClient
from pymongo.collection import Collection
from pymongo.database import Database

from assets.mongo.columns import Columns
from assets.mongo.dump import find_files, read_dump
from assets.mongo.extract import Extraction, Pace, Query
from assets.mongo.range_read import RangeRead
from assets.mongo.read_plan import make_plan
from assets.mongo.replies import read_replies
from assets.mongo.schema import ID
from assets.mongo.server import guarantee
from benchmarks.extract_data import BAD_EVERY, load, make_dump, make_fields, peer_schema
from benchmarks.harness import Suite, requires
from demo.mongod import Mongod

QUICK_DOCUMENTS, DOCUMENTS = 100_000, 1_000_000
QUICK_FILES, FILES = 150, 1_000
FILE_BYTES = 79_000
PIECE_BYTES = 16 << 20
FIELDS = make_fields()


class ArrowFile:
    """A new file that record batches are written to as they come."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: Any = None
        self.num_rows = 0

    def write(self, batch: pa.RecordBatch) -> None:
        """Append a batch."""
        if self._writer is None:
            self._writer = pa.ipc.new_file(str(self._path), batch.schema)
        self._writer.write_batch(batch)
        self.num_rows += batch.num_rows

    def close(self) -> None:
        """End the file."""
        self._writer.close()


def measured(path: Path, amount: int, read: Callable[[ArrowFile], None]) -> float:
    """Amount a second of reading into a new file; that the old one is removed first is not measured."""
    path.unlink(missing_ok=True)
    out = ArrowFile(path)
    began = time.perf_counter()
    read(out)
    if out.num_rows:
        out.close()
    return amount / (time.perf_counter() - began)


class Ways:
    """Every way of reading one collection into one Arrow file; each gives documents a second."""

    def __init__(self, collection: Collection[Any], directory: Path, num_documents: int) -> None:
        self._collection = collection
        self._path = directory / "out.arrow"
        self._num_documents = num_documents

    def _measured(self, read: Callable[[ArrowFile], None]) -> float:
        return measured(self._path, self._num_documents, read)

    def _check(self, num_rows: int, num_rejects: int) -> None:
        if num_rejects != self._num_documents // BAD_EVERY:
            raise AssertionError(f"{num_rejects} rejects")
        if num_rows + num_rejects != self._num_documents:
            raise AssertionError(f"{num_rows} rows")

    def ours(self, order: tuple[str, ...] = ("_id",), hint: str | None = None) -> float:
        """Read by one cursor at one cluster time, strictly, with rejects; by `_id` unless told otherwise."""
        database = self._collection.database
        client: MongoClient[Any] = database.client
        query = Query(database.name, self._collection.name, {}, order=order, hint=hint)

        def read(out: ArrowFile) -> None:
            columns = Columns([ID, *FIELDS], out.write)
            at = guarantee(client, database, self._collection.name, None)
            Extraction(client, query, at, columns, Pace()).run()
            columns.flush()
            self._check(out.num_rows, columns.num_rejects)

        return self._measured(read)

    def side_by_side(self) -> float:
        """Read as the asset does: counted, planned, two ranges of `_id` at once."""
        database = self._collection.database
        client: MongoClient[Any] = database.client
        query = Query(database.name, self._collection.name, {})

        def read(out: ArrowFile) -> None:
            at = guarantee(client, database, self._collection.name, None)
            plan = make_plan(database, [query], at, Pace(), 2 * PIECE_BYTES)
            ranges = RangeRead(client, plan, {query.collection: query}, FIELDS, Pace(), None, PIECE_BYTES, 2)
            num_rejects = 0
            for _, piece in ranges.run():
                num_rejects += len(piece.rejects)
                for batch in piece.rows:
                    out.write(batch)
            self._check(out.num_rows, num_rejects)

        return self._measured(read)

    def undecoded(self, **order: int) -> float:
        """Read the same replies, decode nothing, write nothing; in natural order unless told otherwise."""
        database = self._collection.database
        command: dict[str, Any] = {"find": self._collection.name}
        if order:
            command["sort"] = order

        def read(out: ArrowFile) -> None:
            with database.client.start_session() as session:
                for _ in read_replies(database, command, session=session, batch_bytes=Pace().batch_bytes):
                    pass

        return self._measured(read)

    def arrow_streamed(self) -> float:
        """PyMongoArrow batch by batch, in natural order."""
        from pymongoarrow.context import PyMongoArrowContext

        schema = peer_schema()

        def read(out: ArrowFile) -> None:
            # Not strict: what it raises names no document, and one wrong value would end the read.
            options = self._collection.codec_options
            for batch in self._collection.find_raw_batches({}):
                context = PyMongoArrowContext(schema, codec_options=options, allow_invalid=True)
                context.process_bson_stream(batch)
                for part in context.finish().to_batches():
                    out.write(part)

        return self._measured(read)

    def arrow_at_once(self) -> float:
        """PyMongoArrow's `find_arrow_all`."""
        from pymongoarrow.api import find_arrow_all

        def read(out: ArrowFile) -> None:
            table = find_arrow_all(self._collection, {}, schema=peer_schema(), allow_invalid=True)
            for part in table.to_batches():
                out.write(part)

        return self._measured(read)

    def dicts(self) -> float:
        """PyMongo's documents, then Arrow's conversion of dicts; of the fields, four."""
        columns = {"_id": pa.binary(12), "seq": pa.int64(), "country": pa.string(), "opt": pa.int64()}

        def read(out: ArrowFile) -> None:
            schema = pa.schema(list(columns.items()))
            pending: list[dict[str, Any]] = []
            for document in self._collection.find({}):
                document["_id"] = document["_id"].binary
                pending.append(document)
                if len(pending) == 10_000:
                    out.write(pa.RecordBatch.from_pylist(pending, schema))
                    pending = []
            if pending:
                out.write(pa.RecordBatch.from_pylist(pending, schema))

        return self._measured(read)


def dump_ours(path: Path, out: ArrowFile) -> None:
    """Our reader of a dump."""
    columns = Columns([ID, *FIELDS], out.write)
    for file in find_files(str(path)):
        read_dump(file, columns)
    columns.flush()


def dump_decoded(path: Path) -> None:
    """PyMongo's own reader of BSON files, to dicts and no further."""
    with path.open("rb") as file:
        for _ in bson.decode_file_iter(file):
            pass


def dump_arrow(path: Path, out: ArrowFile) -> None:
    """PyMongoArrow over pieces of the file."""
    from pymongoarrow.context import PyMongoArrowContext

    schema = peer_schema()
    for piece in _pieces(path.read_bytes()):
        context = PyMongoArrowContext(schema, allow_invalid=True)
        context.process_bson_stream(piece)
        for part in context.finish().to_batches():
            out.write(part)


def _pieces(data: bytes, piece_bytes: int = 8 << 20) -> Iterator[bytes]:
    start = place = 0
    while place < len(data):
        place += int.from_bytes(data[place : place + 4], "little")
        if place - start >= piece_bytes or place == len(data):
            yield data[start:place]
            start = place


def gridfs_legs(suite: Suite, database: Database[Any]) -> None:
    """Files of GridFS by ordered scans of their parts."""
    # Here, so that the process whose memory is measured holds nothing of it.
    from assets.vision.sources.gridfs import read_pictures

    num_files = QUICK_FILES if suite.quick else FILES
    bucket = gridfs.GridFS(database)
    ids = [bucket.put(bytes([number % 251]) * FILE_BYTES) for number in range(num_files)]

    def scans() -> None:
        for start in range(0, num_files, 200):
            for _, data in read_pictures(database, "fs", ids[start : start + 200], FILE_BYTES):
                assert len(data) == FILE_BYTES  # type: ignore[arg-type]

    def one_by_one() -> None:
        for file_id in ids:
            assert len(bucket.get(file_id).read()) == FILE_BYTES

    suite.leg(
        "GridFS, files of 79 KB",
        unit="files/s",
        amount=num_files,
        ours=scans,
        peers={"gridfs.get": one_by_one},
        goals={"vs_best_peer": ">= 5"},
    )


def peak_of(uri: str, name: str, directory: Path, num_documents: int) -> float:
    """Peak memory of a process that reads the collection as the asset does and nothing else, MB."""
    command = [sys.executable, "-m", "benchmarks.extract", "child", uri, name, str(directory)]
    command.append(str(num_documents))
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def child(uri: str, name: str, directory: str, num_documents: str) -> int:
    """Read in a process of its own and print its peak of memory."""
    with MongoClient[Any](uri) as client:
        Ways(client[name]["things"], Path(directory), int(num_documents)).side_by_side()
    # Not getrusage: a child begins with the peak of its parent there.
    status = Path("/proc/self/status").read_text()
    print(int(status.split("VmHWM:")[1].split()[0]) / 1_000)
    return 0


def collection_legs(suite: Suite, ways: Ways) -> None:
    """One collection: beside what reads and decodes nothing, and beside the peers."""
    suite.leg(
        "a collection in _id order, one cursor",
        unit="documents/s",
        ours=ways.ours,
        limit=lambda: ways.undecoded(_id=1),
        peers={"PyMongoArrow streamed": requires("pymongoarrow", ways.arrow_streamed)},
        goals={"vs_best_peer": ">= 5", "vs_limit": ">= 0.75"},
    )
    suite.leg(
        "a collection as the asset reads it, counted, planned, two ranges; limit: _id order",
        unit="documents/s",
        ours=ways.side_by_side,
        limit=lambda: ways.undecoded(_id=1),
        goals={"vs_limit": ">= 0.75"},
    )
    suite.leg(
        "the same; limit: natural order, in which it cannot be resumed or divided",
        unit="documents/s",
        ours=ways.side_by_side,
        limit=ways.undecoded,
    )
    suite.leg(
        "natural order, one cursor; limit: the same",
        unit="documents/s",
        ours=lambda: ways.ours(()),
        limit=ways.undecoded,
        goals={"vs_limit": ">= 0.75"},
    )
    suite.leg(
        "order of reading: _id, and others",
        unit="documents/s",
        ours=ways.ours,
        peers={
            "natural order": lambda: ways.ours(()),
            "by a date's index": lambda: ways.ours(("updated_at",), "updated_at_1"),
        },
        rounds=min(3, suite.rounds),
    )
    suite.leg(
        "a collection, other peers",
        unit="documents/s",
        ours=ways.ours,
        peers={
            "PyMongoArrow at once": requires("pymongoarrow", ways.arrow_at_once),
            "PyMongo dicts, four fields": ways.dicts,
        },
        rounds=1 if suite.quick else min(3, suite.rounds),
        warm_up=False,
    )


def main() -> int:
    """Run all legs."""
    suite = Suite.from_command_line("extract", __doc__)
    num_documents = QUICK_DOCUMENTS if suite.quick else DOCUMENTS
    dump = suite.directory / f"documents-{num_documents}.bson"
    make_dump(dump, num_documents)
    print(f"{num_documents:,} documents of {dump.stat().st_size / num_documents:.0f} bytes", flush=True)
    out = suite.directory / "dump.arrow"
    # As large a cache as the data: what is measured is reading, not the disk.
    with Mongod(suite.directory / "mongod", cache_gb=2) as server, server.client() as client:
        name = f"bench_{num_documents}"
        client.drop_database(name)
        load(client[name]["things"], dump)
        client.admin.command("fsync")  # a server that still writes what was loaded is slow for everybody
        collection_legs(suite, Ways(client[name]["things"], suite.directory, num_documents))
        suite.leg(
            "peak memory of a reading process",
            unit="MB",
            ours=lambda: peak_of(server.uri, name, suite.directory, num_documents),
            goals={"ours": "<= 512"},
            better="lower",
            rounds=1,
            warm_up=False,
        )
        client.drop_database(name)
        suite.leg(
            "a dump file, uncompressed",
            unit="documents/s",
            amount=num_documents,
            ours=lambda: measured(out, num_documents, partial(dump_ours, dump)),
            peers={
                "PyMongoArrow": requires(
                    "pymongoarrow", lambda: measured(out, num_documents, partial(dump_arrow, dump))
                ),
                "bson.decode_file_iter": lambda: dump_decoded(dump),
            },
            goals={"ours": ">= 850000"},
        )
        gridfs_legs(suite, client["bench_gridfs"])
        client.drop_database("bench_gridfs")
    return suite.finish()


if __name__ == "__main__":
    sys.exit(child(*sys.argv[2:]) if sys.argv[1:2] == ["child"] else main())
