"""Pieces: put down whole or not at all, found by a later build, collected when nobody comes back for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from shards import ShardStore


def test_pieces_are_found_by_name_and_key(store: ShardStore) -> None:
    pieces = store.pieces("things", "documents", "2024/01", "asked")
    assert pieces.get("plan") is None
    pieces.put("plan", [b"one", b"two"])
    again = ShardStore(store.root).pieces("things", "documents", "2024/01", "asked")
    assert again.get("plan") == b"onetwo"
    assert again.get("other") is None
    assert store.pieces("things", "documents", "2024/01", "asked otherwise").get("plan") is None
    assert store.partitions("things", "documents") == []
    again.remove()
    assert list((Path(store.root) / "things/documents/data/2024%2f01").iterdir()) == []
    pieces.put("plan", [b"anew"])


@pytest.mark.parametrize("damage", ["cut", "flip", "empty"])
def test_what_is_not_whole_is_no_piece(store: ShardStore, damage: str) -> None:
    pieces = store.pieces("things", "documents", "all", "asked")
    pieces.put("first", [bytes(1_000)])
    (path,) = (Path(store.root) / pieces.directory).iterdir()
    data = path.read_bytes()
    path.write_bytes({"cut": data[:-1], "flip": b"\1" + data[1:], "empty": b""}[damage])
    pieces = store.pieces("things", "documents", "all", "asked")
    assert pieces.get("first") is None
    pieces.put("first", [b"again"])
    assert store.pieces("things", "documents", "all", "asked").get("first") == b"again"


def test_pieces_left_behind_are_collected(store: ShardStore) -> None:
    pieces = store.pieces("things", "documents", "all", "asked")
    pieces.put("first", [b"data"])
    assert store.gc("things", dry_run=False).attempts == ()
    assert store.gc("things", grace_seconds=0).attempts == (pieces.directory,)
    store.gc("things", grace_seconds=0, dry_run=False)
    assert not (Path(store.root) / pieces.directory).exists()
