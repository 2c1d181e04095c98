"""The note of hashes of pieces that a snapshot has for large indices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xxhash

from shards import Column, InvalidArgument, ShardStore, Snapshot
from shards.index import PIECE_BYTES, PieceHashes, noted
from shards.manifest import Shard

MANY = PIECE_BYTES // 2  # rows of two pieces and the header


def write(store: ShardStore, metadata: dict[str, Any] | None = None, first: int = 0) -> Snapshot:
    if "demo" not in store.datasets():
        with store.begin("demo", "records") as attempt:
            attempt.column(Column("x", "npy", "|u1")).append(np.zeros(2 * MANY, np.uint8))
            attempt.commit()
    with store.begin_snapshot("demo") as attempt:
        attempt.pin(store.latest("demo", "records"))
        attempt.index("train", np.arange(first, MANY, dtype="<u4"))
        attempt.index("test", np.arange(MANY, MANY + 5, dtype="<u4"))
        attempt.subset("wide", parent="train", rows=np.arange(2 * MANY, dtype="<u8")[::-2])
        commit = attempt.commit(metadata=metadata)
    return store.snapshot("demo", commit.version.number)


def test_large_files_are_noted_by_the_hashes_of_their_pieces(tmp_path: Path) -> None:
    snapshot = write(ShardStore(tmp_path), {"mine": [1]})
    assert snapshot.metadata["mine"] == [1]
    for reader, num_pieces in ((snapshot.index_reader("train"), 3), (snapshot.subset_reader("wide"), 5)):
        assert reader.pieces is not None
        data = (tmp_path / reader.path(0)).read_bytes()
        pieces = [data[start : start + PIECE_BYTES] for start in range(0, len(data), PIECE_BYTES)]
        assert len(pieces) == num_pieces
        assert list(reader.pieces.hashes) == [xxhash.xxh3_128_hexdigest(piece) for piece in pieces]
        assert data.startswith(reader.header)
    assert snapshot.index_reader("test").pieces is None


def test_the_note_is_not_content(tmp_path: Path) -> None:
    store = ShardStore(tmp_path)
    first = write(store)
    assert write(store, {"mine": 2}).number == first.number
    changed = write(store, first=1)
    assert changed.number == first.number + 1
    assert changed.index_reader("train").pieces != first.index_reader("train").pieces


def test_verify_compares_the_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ShardStore(tmp_path)
    write(store)
    assert not store.verify(full=True).damages
    monkeypatch.setattr("shards.snapshot_attempt.hash_pieces", lambda head, body: ["0" * 32] * 3)
    write(store, first=1)
    assert [Path(found.path).name for found in store.verify(full=True).damages] == ["index.train.000000.npy"]
    assert not store.verify(full=False).damages


def test_metadata_cannot_have_a_note_of_their_own(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="index_pieces"):
        write(ShardStore(tmp_path), {"index_pieces": {}})


SHARD = Shard("index.train.000000.npy", 2500, 128 + 10_000, "0" * 32)


@pytest.mark.parametrize(
    "note",
    [
        None,
        3,
        {},
        {"piece_bytes": 128},
        {"piece_bytes": 4096, "xxh3_128": {}},
        {"piece_bytes": 4096, "xxh3_128": {SHARD.file: ["a", "b"]}},
        {"piece_bytes": 4096, "xxh3_128": {SHARD.file: ["a", "b", 3]}},
        {"piece_bytes": 4096, "xxh3_128": {SHARD.file: "abc"}},
        {"piece_bytes": 4100, "xxh3_128": {SHARD.file: ["a", "b", "c"]}},
        {"piece_bytes": True, "xxh3_128": {SHARD.file: ["a"] * 10128}},
        {"piece_bytes": 64, "xxh3_128": {SHARD.file: ["a"] * 159}},
        {"piece_bytes": 0, "xxh3_128": {SHARD.file: []}},
        {"piece_bytes": -4096, "xxh3_128": {SHARD.file: []}},
        {"piece_bytes": 1 << 40, "xxh3_128": {SHARD.file: ["a"]}},
        {"piece_bytes": "4096", "xxh3_128": {SHARD.file: ["a", "b", "c"]}},
        {"piece_bytes": 4096, "xxh3_128": [SHARD.file]},
    ],
)
def test_a_note_of_another_form_is_none(note: Any) -> None:
    assert noted({"index_pieces": note}, SHARD) is None


def test_a_note_may_have_pieces_of_another_size() -> None:
    note: Any = {"piece_bytes": 4096, "xxh3_128": {SHARD.file: ["a", "b", "c"]}, "more": 1}
    assert noted({"index_pieces": note}, SHARD) == PieceHashes(4096, ["a", "b", "c"])
    assert noted({}, SHARD) is None
