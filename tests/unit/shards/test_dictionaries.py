"""Texts of few distinct values lie as dictionaries in their files, and nobody who reads them can tell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from shards import Column, DamagedFile, ShardStore, dictionaries
from shards.manifest import Shard
from shards.readers import ShardFile, open_arrow
from shards.storage import LocalStorage

RECORD = (
    "struct<kind: string, note: large_string, tags: large_list<large_string>, "
    "pair: fixed_size_list<string>[2]>"
)
WORDS = ("red", "green", "", "blau äöü")


def records(num_rows: int) -> list[dict[str, Any] | None]:
    """Records with texts of few values and of many, with nulls at every level."""
    return [
        None
        if number % 11 == 3
        else {
            "kind": WORDS[number % 4] if number % 5 else None,
            "note": f"note {number}",
            "tags": None if number % 7 == 0 else [WORDS[k % 4] for k in range(number % 4)],
            "pair": [WORDS[number % 2], None],
        }
        for number in range(num_rows)
    ]


def write(store: ShardStore, column: Column, parts: list[pa.Array], shard_bytes: int) -> Any:
    with store.begin("demo", "records", shard_bytes=shard_bytes) as attempt:
        writer = attempt.column(column)
        for part in parts:
            writer.append(part)
        return attempt.commit().version


@pytest.mark.parametrize("shard_bytes", [1 << 20, 4000])
def test_texts_within_records_and_lists(tmp_path: Path, shard_bytes: int) -> None:
    column = Column("record", "arrow", arrow_type=RECORD, kind="record")
    values = records(500)
    array = pa.array(values, column.pyarrow_type)
    store = ShardStore(tmp_path)
    version = write(store, column, [array], shard_bytes)
    assert version.manifest.features == ("dictionaries",)
    reader = version.column("record")
    assert (reader.num_shards == 1) == (shard_bytes == 1 << 20)
    stored = reader.shard(0).type
    assert pa.types.is_dictionary(stored.field("kind").type)
    assert pa.types.is_dictionary(stored.field("tags").type.value_type)
    assert pa.types.is_dictionary(stored.field("pair").type.value_type)
    assert stored.field("note").type == pa.large_string()
    assert reader.read().equals(array)
    assert reader.read(17, 333).equals(array[17:333])
    rows = [499, 3, 3, 250, 0]
    assert reader.take(rows).equals(array.take(pa.array(rows)))
    assert not store.verify(full=True).damages


def test_texts_of_many_values_lie_as_they_are(tmp_path: Path) -> None:
    column = Column("text", "arrow", arrow_type="large_string", kind="text")
    array = pa.array([f"text {number // 4}" for number in range(3000)], pa.large_string())
    version = write(ShardStore(tmp_path), column, [array], 1 << 20)
    assert version.manifest.features == ()
    assert version.column("text").shard(0).type == pa.large_string()


def test_no_more_values_than_an_index_names() -> None:
    most = [f"{number % dictionaries.MAX_VALUES:05d}" for number in range(8 * dictionaries.MAX_VALUES)]
    assert pa.types.is_dictionary(dictionaries.encoded(pa.array(most)).type)
    more = [*most * 2, "one more"]
    assert dictionaries.encoded(pa.array(more)).type == pa.string()
    assert dictionaries.encoded(pa.array([None] * 100, pa.string())).type == pa.string()


def test_a_shard_chooses_for_itself(tmp_path: Path) -> None:
    column = Column("text", "arrow", arrow_type="string", kind="text")
    few = pa.array([WORDS[number % 4] for number in range(4000)], pa.string())
    many = pa.array([f"{number:08d}" for number in range(4000)], pa.string())
    version = write(ShardStore(tmp_path), column, [few, many, few], 16_000)
    reader = version.column("text")
    kinds = {pa.types.is_dictionary(reader.shard(number).type) for number in range(reader.num_shards)}
    assert kinds == {True, False}
    assert reader.read().equals(pa.concat_arrays([few, many, few]))
    rows = [11_999, 4001, 0, 7999]
    assert reader.take(rows).to_pylist() == [WORDS[3], "00000001", WORDS[0], "00003999"]


def test_content_is_the_same_however_it_is_appended(tmp_path: Path) -> None:
    column = Column("text", "arrow", arrow_type="string", kind="text")
    array = pa.array([WORDS[number % 3] for number in range(900)], pa.string())
    store = ShardStore(tmp_path)
    first = write(store, column, [array], 1 << 20)
    again = write(store, column, [array[:1], array[1:600], array[600:]], 1 << 20)
    assert again.number == first.number


def _broken(how: str) -> pa.RecordBatch:
    codes = pa.array([0, 1, None, 1], pa.int16())
    values = pa.array(["a", "b"])
    if how == "wide index":
        codes = codes.cast(pa.int32())
    if how == "of null":
        values = pa.array(["a", None])
    if how == "of numbers":
        values = pa.array([1, 2])
    if how == "empty":
        codes, values = pa.array([None] * 4, pa.int16()), pa.array([], pa.string())
    if how == "too many":
        values = pa.array([str(number) for number in range(dictionaries.MAX_VALUES + 1)])
    array = pa.DictionaryArray.from_arrays(codes, values, ordered=how == "ordered")
    if how == "beyond":
        buffers = [None, pa.py_buffer(b"\0\0\1\0\2\0\1\0")]
        indices = pa.Array.from_buffers(pa.int16(), 4, buffers)
        array = pa.DictionaryArray.from_arrays(indices, values, safe=False)
    return pa.record_batch([array], ["text"])


@pytest.mark.parametrize(
    "how",
    ["sound", "wide index", "of null", "of numbers", "empty", "too many", "ordered", "beyond", "compressed"],
)
def test_other_dictionaries_are_refused(tmp_path: Path, how: str) -> None:
    batch = _broken(how)
    options = pa.ipc.IpcWriteOptions(compression="zstd" if how == "compressed" else None)
    with pa.ipc.new_file(str(tmp_path / "file"), batch.schema, options=options) as writer:
        writer.write_batch(batch)
    file = ShardFile(".", Shard("file", 4, (tmp_path / "file").stat().st_size, "0" * 32))
    schema = pa.schema([("text", pa.string())])
    storage = LocalStorage(tmp_path)
    with pytest.raises(DamagedFile, match="file"):  # a table has none at all
        open_arrow(storage, file, schema)
    if how == "sound":
        [found] = open_arrow(storage, file, schema, is_column=True)
        assert found.column(0).to_pylist() == ["a", "b", None, "b"]
        return
    with pytest.raises(DamagedFile, match="file"):
        open_arrow(storage, file, schema, is_column=True)
