"""Dumps give the same version as the server they came from."""

from __future__ import annotations

import gzip
import random
from pathlib import Path
from typing import Any

import bson
import pytest
from pymongo.database import Database

from assets.mongo.build import build_documents
from assets.mongo.errors import SourceError
from assets.spec import DatasetSpec
from shards import ShardStore
from tests.integration.mongo.conftest import FIELDS, make_documents, make_spec

DOCUMENTS = make_documents(3_000)
ENCODED = [bson.encode(document) for document in DOCUMENTS]
TERMINATOR = b"\xff\xff\xff\xff"


def archive(collections: dict[str, list[bytes]]) -> bytes:
    """An archive with the blocks of its collections interleaved, as mongodump writes it."""
    out = (0x8199E26D).to_bytes(4, "little") + bson.encode({"version": "0.1", "server_version": "6.0.5"})
    for name in collections:
        out += bson.encode({"db": "d", "collection": name, "metadata": "{}", "size": 1, "type": "collection"})
    out += TERMINATOR
    for start in range(0, max(map(len, collections.values())), 500):
        for name, documents in collections.items():
            block = documents[start : start + 500]
            if block:
                out += bson.encode({"db": "d", "collection": name, "EOF": False, "CRC": bson.Int64(0)})
                out += b"".join(block) + TERMINATOR
    for name in collections:
        out += bson.encode({"db": "d", "collection": name, "EOF": True, "CRC": bson.Int64(5)}) + TERMINATOR
    return out


def dump_spec(path: Path) -> DatasetSpec:
    return DatasetSpec.model_validate(
        {
            "name": "things",
            "source": {"dump": str(path)},
            "columns": {"value": {"kind": "number", "path": "value"}},
        }
    )


@pytest.fixture
def from_server(database: Database[Any], tmp_path: Path) -> Any:
    database["things"].insert_many(DOCUMENTS)
    return build_documents(
        make_spec(database.name), "all", FIELDS, client=database.client, store=ShardStore(tmp_path / "server")
    )


@pytest.mark.parametrize("shape", ["bson", "bson.gz", "directory", "archive", "archive.gz", "shuffled"])
def test_every_shape_of_dump_equals_the_server(
    from_server: Any, store: ShardStore, tmp_path: Path, shape: str
) -> None:
    data = b"".join(ENCODED)
    path = tmp_path / "dump" / "things.bson"
    path.parent.mkdir()
    if shape == "shuffled":
        mixed = ENCODED[:]
        random.Random(1).shuffle(mixed)
        path.write_bytes(b"".join(mixed))
    elif shape == "directory":
        (path.parent / "d").mkdir()
        (path.parent / "d" / "things.bson").write_bytes(data)
        (path.parent / "d" / "system.views.bson").write_bytes(b"no dump of ours")
        path = path.parent
    else:
        if shape.startswith("archive"):
            data = archive({"things": ENCODED})
        path.write_bytes(gzip.compress(data) if shape.endswith("gz") else data)
    report = build_documents(dump_spec(path), "all", FIELDS, client=None, store=store)
    assert report.content_hash == from_server.content_hash
    assert report.rejects == from_server.rejects
    assert report.metadata["guarantee"] == "dump"


@pytest.mark.parametrize(
    "data",
    [
        b"".join(ENCODED)[:-7],
        b"".join(ENCODED) + b"\x05",
        b"".join(ENCODED[:5]) + b"\xff\xff\xff\x7f" + b"".join(ENCODED[5:]),
        b"".join(ENCODED[:5]) + b"\x01\x00\x00\x00" + b"".join(ENCODED[5:]),
        archive({"things": ENCODED})[:-600],
        archive({"things": ENCODED})[:40],
        gzip.compress(b"".join(ENCODED))[:-100],
    ],
    ids=["cut", "rest", "too long", "too short", "archive cut", "archive header", "gzip cut"],
)
def test_a_damaged_dump_publishes_nothing(store: ShardStore, tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "things.bson"
    path.write_bytes(data)
    with pytest.raises(SourceError, match=r"things\.bson"):
        build_documents(dump_spec(path), "all", FIELDS, client=None, store=store)
    assert store.latest("things", "documents") is None


def test_a_dump_takes_no_pipeline(store: ShardStore, tmp_path: Path) -> None:
    path = tmp_path / "things.bson"
    path.write_bytes(b"".join(ENCODED))
    spec = dump_spec(path)
    source = spec.source.model_copy(update={"pipeline": [{"$match": {"value": 1}}]})
    with pytest.raises(SourceError, match="pipeline cannot be used"):
        build_documents(spec.model_copy(update={"source": source}), "all", FIELDS, client=None, store=store)


def test_several_collections_of_a_dump_are_read(store: ShardStore, tmp_path: Path) -> None:
    directory = tmp_path / "dump" / "d"
    directory.mkdir(parents=True)
    half = len(ENCODED) // 2
    (directory / "second.bson").write_bytes(b"".join(ENCODED[:half]))
    (directory / "first.bson.gz").write_bytes(gzip.compress(b"".join(ENCODED[half:])))
    report = build_documents(dump_spec(tmp_path / "dump"), "all", FIELDS, client=None, store=store)
    whole = tmp_path / "things.bson"
    whole.write_bytes(b"".join(ENCODED))
    other = ShardStore(tmp_path / "other")
    expected = build_documents(dump_spec(whole), "all", FIELDS, client=None, store=other)
    assert report.content_hash == expected.content_hash


def test_packed_measurements_are_refused_and_not_left_out(store: ShardStore, tmp_path: Path) -> None:
    (tmp_path / "things.bson").write_bytes(b"".join(ENCODED))
    (tmp_path / "system.buckets.series.bson").write_bytes(b"")
    with pytest.raises(SourceError, match=r"system\.buckets\.series\.bson.*restore"):
        build_documents(dump_spec(tmp_path), "all", FIELDS, client=None, store=store)


def test_an_empty_file_is_an_empty_version(store: ShardStore, tmp_path: Path) -> None:
    path = tmp_path / "things.bson"
    path.write_bytes(b"")
    assert build_documents(dump_spec(path), "all", FIELDS, client=None, store=store).rows == 0
