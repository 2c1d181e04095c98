"""Extraction: a collection, a dump file and GridFS, in one process, peers beside it.

Ours checks every value, names every document that does not fit, and keeps `_id` order. The limit reads the
same replies and decodes nothing.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
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
from assets.mongo.replies import read_replies
from assets.mongo.schema import ID
from assets.mongo.server import guarantee
from benchmarks.extract_data import BAD_EVERY, load, make_dump, make_fields, peer_schema
from benchmarks.harness import Suite, requires
from demo.mongod import Mongod

QUICK_DOCUMENTS, DOCUMENTS = 40_000, 400_000
QUICK_FILES, FILES = 150, 1_000
FILE_BYTES = 79_000
FIELDS = make_fields()


class ArrowFile:
    """Writes record batches as they come."""

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


class Ways:
    """Every way of reading one collection into one Arrow file."""

    def __init__(self, collection: Collection[Any], directory: Path, num_documents: int) -> None:
        self._collection = collection
        self._path = directory / "out.arrow"
        self._num_documents = num_documents

    def ours(self) -> None:
        """Read at one cluster time, strictly, with rejects."""
        out = ArrowFile(self._path)
        columns = Columns([ID, *FIELDS], out.write)
        database = self._collection.database
        client: MongoClient[Any] = database.client
        at = guarantee(client, database, self._collection.name, None)
        query = Query(database.name, self._collection.name, {})
        Extraction(client, query, at, columns, Pace()).run()
        columns.flush()
        out.close()
        if columns.num_rejects != self._num_documents // BAD_EVERY:
            raise AssertionError(f"{columns.num_rejects} rejects")
        if out.num_rows + columns.num_rejects != self._num_documents:
            raise AssertionError(f"{out.num_rows} rows")

    def undecoded(self) -> None:
        """Read the same replies, decode nothing, write nothing."""
        database = self._collection.database
        command = {"find": self._collection.name, "sort": {"_id": 1}}
        with database.client.start_session() as session:
            for _ in read_replies(database, command, session=session, batch_bytes=4 << 20):
                pass

    def arrow_streamed(self) -> None:
        """PyMongoArrow batch by batch."""
        from pymongoarrow.context import PyMongoArrowContext

        out, schema = ArrowFile(self._path), peer_schema()
        # Not strict: what it raises names no document, and one wrong value would end the read.
        for batch in self._collection.find_raw_batches({}, sort=[("_id", 1)], batch_size=10_000):
            context = PyMongoArrowContext(
                schema, codec_options=self._collection.codec_options, allow_invalid=True
            )
            context.process_bson_stream(batch)
            for part in context.finish().to_batches():
                out.write(part)
        out.close()

    def arrow_at_once(self) -> None:
        """PyMongoArrow's `find_arrow_all`."""
        from pymongoarrow.api import find_arrow_all

        table = find_arrow_all(self._collection, {}, schema=peer_schema(), allow_invalid=True)
        out = ArrowFile(self._path)
        for part in table.to_batches():
            out.write(part)
        out.close()

    def dicts(self) -> None:
        """PyMongo's documents, then Arrow's conversion of dicts; values that differ in type become texts."""
        out = ArrowFile(self._path)
        pending: list[dict[str, Any]] = []
        schema = pa.schema(
            [
                ("_id", pa.binary(12)),
                ("name", pa.string()),
                ("seq", pa.int64()),
                ("emb", pa.list_(pa.float64())),
            ]
        )
        for document in self._collection.find({}, sort=[("_id", 1)]):
            document["_id"] = document["_id"].binary
            pending.append(document)
            if len(pending) == 10_000:
                out.write(pa.RecordBatch.from_pylist(pending, schema))
                pending = []
        out.write(pa.RecordBatch.from_pylist(pending, schema))
        out.close()


def dump_ours(path: Path, out_path: Path) -> None:
    """Our reader of a dump."""
    out = ArrowFile(out_path)
    columns = Columns([ID, *FIELDS], out.write)
    for file in find_files(str(path)):
        read_dump(file, columns)
    columns.flush()
    out.close()


def dump_decoded(path: Path) -> None:
    """PyMongo's own reader of BSON files, to dicts and no further."""
    with path.open("rb") as file:
        for _ in bson.decode_file_iter(file):
            pass


def dump_arrow(path: Path, out_path: Path) -> None:
    """PyMongoArrow over pieces of the file."""
    from pymongoarrow.context import PyMongoArrowContext

    out, schema = ArrowFile(out_path), peer_schema()
    for piece in _pieces(path.read_bytes()):
        context = PyMongoArrowContext(schema, allow_invalid=True)
        context.process_bson_stream(piece)
        for part in context.finish().to_batches():
            out.write(part)
    out.close()


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
    """Peak memory of a process that reads the collection and nothing else, MB."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.extract",
        "child",
        uri,
        name,
        str(directory),
        str(num_documents),
    ]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def child(uri: str, name: str, directory: str, num_documents: str) -> int:
    """Read in a process of its own and print its peak of memory."""
    with MongoClient[Any](uri) as client:
        Ways(client[name]["things"], Path(directory), int(num_documents)).ours()
    # Not getrusage: a child begins with the peak of its parent there.
    status = Path("/proc/self/status").read_text()
    print(int(status.split("VmHWM:")[1].split()[0]) / 1_000)
    return 0


def main() -> int:
    """Run all legs."""
    suite = Suite.from_command_line("extract", __doc__)
    num_documents = QUICK_DOCUMENTS if suite.quick else DOCUMENTS
    dump = suite.directory / "things.bson"
    make_dump(dump, num_documents)
    out = suite.directory / "dump.arrow"
    with Mongod(suite.directory / "mongod") as server, server.client() as client:
        name = f"bench_{num_documents}"
        client.drop_database(name)
        load(client[name]["things"], dump)
        ways = Ways(client[name]["things"], suite.directory, num_documents)
        for leg, peers, goals in (
            (
                "a collection, streamed",
                {"PyMongoArrow streamed": requires("pymongoarrow", ways.arrow_streamed)},
                True,
            ),
            (
                "a collection, other peers",
                {
                    "PyMongoArrow at once": requires("pymongoarrow", ways.arrow_at_once),
                    "PyMongo dicts": ways.dicts,
                },
                False,
            ),
        ):
            suite.leg(
                leg,
                unit="documents/s",
                amount=num_documents,
                ours=ways.ours,
                limit=ways.undecoded,
                peers=peers,
                goals={"vs_best_peer": ">= 5", "vs_limit": ">= 0.75"} if goals else {},
            )
        suite.leg(
            "peak memory of a reading process",
            unit="MB",
            ours=lambda: peak_of(server.uri, name, suite.directory, num_documents),
            goals={"ours": "<= 512"},
            better="lower",
            rounds=1,
            warm_up=False,
        )
        suite.leg(
            "a dump file, uncompressed",
            unit="documents/s",
            amount=num_documents,
            ours=lambda: dump_ours(dump, out),
            peers={
                "PyMongoArrow": requires("pymongoarrow", lambda: dump_arrow(dump, out)),
                "bson.decode_file_iter": lambda: dump_decoded(dump),
            },
            goals={"ours": ">= 850000"},
        )
        gridfs_legs(suite, client["bench_gridfs"])
        client.drop_database("bench_gridfs")
    return suite.finish()


if __name__ == "__main__":
    sys.exit(child(*sys.argv[2:]) if sys.argv[1:2] == ["child"] else main())
