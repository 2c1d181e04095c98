"""What is fuzzed, with what it begins, and what must hold for every input."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash

from fuzz.engine import Target
from loaders import nodes
from shards import (
    Column,
    ManifestError,
    Provenance,
    ShardError,
    ShardStore,
    arrow_types,
    dictionaries,
    names,
)
from shards.errors import InvalidArgument
from shards.manifest import Shard, dump
from shards.parse import parse
from shards.readers import ShardFile, map_npy, open_arrow
from shards.storage import LocalStorage
from shards.strict_json import load

_SCHEMA = pa.schema([("t", pa.large_list(pa.string())), ("n", pa.int32()), ("b", pa.large_binary())])
_TAIL_BYTES = len(b',"checksum":"' + b"0" * 32 + b'"}\n')


def _store(root: str) -> ShardStore:
    store = ShardStore(root)
    with store.begin("d", "documents") as attempt:
        table = pa.table({"_id": pa.array([b"a", b"b"], pa.large_binary())})
        attempt.table("documents", table.schema).append(table)
        attempt.commit(provenance=Provenance(source_alias="mongodb"))
    with store.begin("d", "records", shard_bytes=8) as attempt:
        attempt.column(Column("x", "npy", "<f4", (2,), mask="m")).append(np.ones((2, 2), "<f4"))
        attempt.column(Column("m", "npy", "|b1", kind="bool")).append(np.array([True, False]))
        attempt.column(Column("t", "arrow", arrow_type="large_list<string>", kind="list")).append(
            pa.array([["a"], None], pa.large_list(pa.string()))
        )
        attempt.validity(np.array([True, True]))
        attempt.commit(inputs={"documents": 1}, statistics={"x": {"mean": 1.0}})
    with store.begin_snapshot("d") as snapshot:
        for asset in ("documents", "records"):
            version = store.latest("d", asset)
            assert version is not None
            snapshot.pin(version)
        snapshot.index("train", np.array([0], np.uint32))
        snapshot.subset("few", parent="train", rows=np.array([0, 0], np.uint32))
        snapshot.vocabulary("x", pa.array(["a"]))
        snapshot.commit(transforms={"x": [{"op": "log1p"}]})
    store.tag("d", "t", 1)
    return store


def _unsealed(path: Path) -> bytes:
    return path.read_bytes()[:-_TAIL_BYTES] + b"}"


def _sealed(data: bytes) -> bytes:
    """Put the right checksum at the end, so that what lies behind it is reached."""
    body = data.rstrip().removesuffix(b"}")
    return body + b',"checksum":"' + xxhash.xxh3_128_hexdigest(body).encode() + b'"}\n'


def manifest() -> tuple[Target, list[bytes]]:
    """A manifest is read into what writes it again, or refused with problems."""

    def target(data: bytes) -> None:
        try:
            found = parse("fuzz", _sealed(data))
        except ManifestError as error:
            if not error.problems:
                raise AssertionError("refused without a problem") from error
            return
        assert parse("again", dump(found)) == found
        assert found.size_bytes >= 0
        assert all("/" not in shard.file and not shard.file.startswith(".") for shard in found.shards())

    with tempfile.TemporaryDirectory() as root:
        _store(root)
        seeds = [_unsealed(path) for path in sorted(Path(root).glob("d/*/manifests/*/*.json"))]
    return target, seeds


def sealed() -> tuple[Target, list[bytes]]:
    """Bytes that are no sealed JSON object are refused."""

    def target(data: bytes) -> None:
        with contextlib.suppress(ManifestError):
            assert isinstance(load("fuzz", data), dict)
        with contextlib.suppress(ManifestError):
            assert isinstance(load("fuzz", _sealed(data)), dict)

    with tempfile.TemporaryDirectory() as root:
        _store(root)
        paths = sorted(Path(root).glob("d/_tags/*.json"))
        return target, [path.read_bytes() for path in paths] + [_unsealed(path) for path in paths]


def arrow_type() -> tuple[Target, list[bytes]]:
    """A text is the one spelling of a type, or refused."""

    def target(data: bytes) -> None:
        text = data.decode("utf-8", "replace")
        with contextlib.suppress(InvalidArgument):
            assert arrow_types.spell(arrow_types.parse(text)) == text

    texts = [
        'struct<a: int8, "b c": large_list<fixed_size_list<float32>[4]>>',
        "timestamp[ms, UTC]",
        "string",
        "fixed_size_binary[12]",
        "list<struct<>>",
    ]
    return target, [text.encode() for text in texts]


def partition() -> tuple[Target, list[bytes]]:
    """A directory is the one name of a key, or of none."""

    def target(data: bytes) -> None:
        name = data.decode("latin-1")
        key = names.decode_partition(name)
        assert key is None or names.encode_partition(key) == name

    return target, [b"2024-01", b"k%c3%b6ln", b"%2e%2e", b"%55%53", b"%zz", b".."]


def _file_target(check: Callable[[LocalStorage, ShardFile], Any], rows: int) -> Target:
    directory = tempfile.mkdtemp(prefix="fuzz-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
    storage = LocalStorage(directory)

    def target(data: bytes) -> None:
        path = storage.root / "file"
        path.write_bytes(data)
        if data:
            with contextlib.suppress(ShardError):
                check(storage, ShardFile(".", Shard("file", rows, len(data), "0" * 32)))

    weakref.finalize(target, shutil.rmtree, directory)
    return target


def arrow_file() -> tuple[Target, list[bytes]]:
    """An Arrow file of any bytes is refused, or loaders read in it what pyarrow does; hashes are not seen."""
    table = pa.table({"t": [["a", "ä"], None, []], "n": [1, None, 3], "b": [b"x", b"", None]}, schema=_SCHEMA)
    coded = pa.large_list(pa.dictionary(dictionaries.INDEX, pa.string()))
    seeds = []
    for given in (table, table.set_column(0, "t", table["t"].cast(coded))):
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, given.schema) as writer:
            writer.write_table(given)
        seeds.append(sink.getvalue().to_pybytes())

    def check(storage: LocalStorage, file: ShardFile) -> None:
        for batch in open_arrow(storage, file, _SCHEMA, is_column=True):
            for array in batch.columns:
                expected = array.to_pylist()
                tree = nodes.node(dictionaries.plain(array.type), 1)
                tree.add(0, array)
                assert tree.gather(0, np.arange(len(array))).python() == expected

    return _file_target(check, 3), seeds


def npy_file() -> tuple[Target, list[bytes]]:
    """An npy file of any bytes is refused or has the declared rows."""
    with tempfile.TemporaryDirectory() as root:
        _store(root)
        seeds = [path.read_bytes() for path in sorted(Path(root).glob("d/records/data/*/*/column.x.*"))]

    def check(storage: LocalStorage, file: ShardFile) -> None:
        expected = 128 + 8
        if file.shard.bytes == expected:
            assert map_npy(storage, file, "<f4", (2,)).shape == (1, 2)

    return _file_target(check, 1), seeds


TARGETS = {
    "manifest": manifest,
    "sealed": sealed,
    "arrow_type": arrow_type,
    "partition": partition,
    "arrow_file": arrow_file,
    "npy_file": npy_file,
}
