"""Text as token ids, by a tokenizer file that holds data alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from assets.columns.build import build_records
from assets.columns.errors import ColumnError
from assets.columns.kinds import lists
from shards import ShardStore
from tests.unit.columns.made import publish, spec_of

WORDS = {"[UNK]": 0, "a": 1, "small": 2, "cat": 3}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    tokenizer = Tokenizer(models.WordLevel(WORDS, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    path = tmp_path / "words.json"
    tokenizer.save(str(path))
    return path


def test_tokens_are_cut_and_measured(store: ShardStore, file: Path) -> None:
    spec = spec_of({"x": {"kind": "text", "tokenizer": str(file), "max_tokens": 3, "missing": "mask"}})
    publish(store, spec, {"x": ["a small cat", "a a a a a", "dog", "", None]})
    build_records(spec, "all", store=store)
    version = store.latest("made", "records")
    assert version is not None
    assert version.column("x").read().to_pylist() == [[1, 2, 3], [1, 1, 1], [0], [], []]
    assert version.column("x__present").read().tolist() == [True] * 4 + [False]
    attributes = version.columns["x"].attributes
    assert (attributes["num_tokens"], attributes["max_tokens"]) == (4, 3)
    assert attributes["tokenizer"] == "words.json"


def test_wrong_tokenizer_files_are_named(store: ShardStore, tmp_path: Path, file: Path) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text('{"model": "cos\\nsystem"}')
    for path, says in ((broken, "is no tokenizers JSON file"), (tmp_path / "absent.json", "is no file")):
        spec = spec_of({"x": {"kind": "text", "tokenizer": str(path)}})
        publish(store, spec, {"x": ["a"]})
        with pytest.raises(ColumnError, match=says):
            build_records(spec, "all", store=store)


def test_large_tokenizer_files_are_not_read(
    store: ShardStore, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists, "MAX_TOKENIZER_BYTES", 10)
    spec = spec_of({"x": {"kind": "text", "tokenizer": str(file)}})
    publish(store, spec, {"x": ["a"]})
    with pytest.raises(ColumnError, match="larger than"):
        build_records(spec, "all", store=store)
