"""Texts whose shards have dictionaries, beside shards that have none: batches cannot tell."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from loaders import MixedDataset, ShardDataset
from shards import Column
from tests.unit.loaders.datasets import mixed, write

TYPE = "struct<kind: large_string, tags: list<string>>"
NUM_ROWS = 3000


def values(kind: str) -> list[Any]:
    """Few values in the first third, many in the second, few again in the last; nulls in between."""

    def text(number: int) -> str | None:
        if number % 13 == 5:
            return None
        return f"{number:06d}" if number // 1000 == 1 else ("red", "green", "", "äöü\0x")[number % 4]

    if kind == "text":
        return [text(number) for number in range(NUM_ROWS)]
    if kind == "list":
        return [[text(number), text(number + 1)][: number % 3] for number in range(NUM_ROWS)]
    return [
        None if number % 17 == 2 else {"kind": text(number), "tags": [text(number)] * (number % 3)}
        for number in range(NUM_ROWS)
    ]


@pytest.fixture(params=["text", "list", "record"])
def dataset(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, list[Any]]:
    """Write a column of texts over thirty partitions."""
    arrow_type = {"text": "string", "list": "large_list<string>", "record": TYPE}[request.param]
    column = Column("value", "arrow", arrow_type=arrow_type, kind=request.param)
    given = values(request.param)
    columns = {"value": (column, pa.array(given, column.pyarrow_type))}
    path = write(tmp_path, columns, {"train": np.arange(NUM_ROWS)}, num_partitions=30)
    return path, given


def test_batches_over_both_kinds_of_shards(dataset: tuple[Path, list[Any]]) -> None:
    path, given = dataset
    found = ShardDataset(path)
    column = found.opened.columns["value"]
    assert found.batch(np.arange(NUM_ROWS)[::-1])["value"] == given[::-1]
    assert found.batch(np.arange(100))["value"] == given[:100]  # a coded shard alone
    assert found.batch(np.arange(1500, 1520))["value"] == given[1500:1520]  # a plain one
    assert found.batch([])["value"] == []
    assert found[5]["value"] == given[5]
    stored = {_has_dictionary(column._reader.shard(number).type) for number in range(30)}
    assert stored == {True, False}
    assert found.to_arrow()["value"].to_pylist() == given


@pytest.mark.parametrize("num_threads", [0, 2])
def test_a_shuffled_epoch(dataset: tuple[Path, list[Any]], num_threads: int) -> None:
    path, given = dataset
    loader = ShardDataset(path).loader(64, shuffle=True, num_threads=num_threads)
    found = [value for batch in loader for value in batch["value"]]
    assert sorted(map(repr, found)) == sorted(map(repr, given))


@pytest.mark.parametrize("arrow_type", ["string", "large_string", "binary", "large_binary"])
@pytest.mark.parametrize("size", [1, 24, 500])
@pytest.mark.parametrize("null", [None, 777])
def test_texts_of_one_length(tmp_path: Path, arrow_type: str, size: int, null: int | None) -> None:
    given: list[Any] = [f"{number:0{size}x}"[-size:] for number in range(1000)]
    if "binary" in arrow_type:
        given = [value.encode() for value in given]
    if null is not None:
        given[null] = None
    column = Column("value", "arrow", arrow_type=arrow_type, kind="text" if "str" in arrow_type else "binary")
    columns = {"value": (column, pa.array(given, column.pyarrow_type))}
    found = ShardDataset(write(tmp_path, columns, {"train": np.arange(1000)}, num_partitions=3))
    order = np.random.default_rng(0).permutation(1000)
    assert found.batch(order)["value"] == [given[row] for row in order]
    assert found.batch(order[order != null])["value"] == [given[row] for row in order if row != null]
    assert found.batch([999])["value"] == given[999:]


def test_rows_share_the_objects_of_their_texts(tmp_path: Path) -> None:
    column = Column("value", "arrow", arrow_type="string", kind="text")
    columns = {"value": (column, pa.array(["a long text"] * 1000))}
    path = write(tmp_path, columns, {"train": np.arange(1000)}, num_partitions=4)
    batch = ShardDataset(path).batch(np.arange(1000))
    assert len({id(value) for value in batch["value"]}) == 1


def _has_dictionary(dtype: pa.DataType) -> bool:
    fields = [dtype.field(number) for number in range(dtype.num_fields)]
    return pa.types.is_dictionary(dtype) or any(_has_dictionary(field.type) for field in fields)


def test_a_first_batch_needs_no_large_imports(tmp_path: Path) -> None:
    path, _ = mixed(tmp_path)
    code = (
        "import sys; from loaders import ShardDataset\n"
        f"batch = next(iter(ShardDataset({str(path)!r}, split='train').loader(64, shuffle=True)))\n"
        "assert len(batch['record']) == 64\n"
        "print(sorted({'pandas', 'pyarrow.compute', 'dagster', 'pymongo', 'PIL.Image'} & sys.modules.keys()))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_a_transform_sees_one_batch_at_a_time(tmp_path: Path) -> None:
    path, _ = mixed(tmp_path)
    seen: list[int] = []

    def count(batch: dict[str, Any]) -> dict[str, Any]:
        assert all(isinstance(text, str) for text in batch["text"])
        assert batch["record"][0] is None or isinstance(batch["record"][0], dict)
        seen.append(len(batch["text"]))
        return batch

    loader = ShardDataset(path, split="train").loader(16, shuffle=True, num_threads=1, transform=count)
    batches = iter(loader)
    next(batches)
    next(batches)
    assert seen == [16, 16]
    assert loader.state_dict()["position"] == 32
    batches.close()


def test_a_transform_that_fails_loses_no_place(tmp_path: Path) -> None:
    path, values = mixed(tmp_path)
    calls = 0

    def fail_at_first(batch: dict[str, Any]) -> dict[str, Any]:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise RuntimeError("no")
        return batch

    loader = ShardDataset(path, split="train").loader(16, num_threads=1, transform=fail_at_first)
    batches = iter(loader)
    with pytest.raises(RuntimeError, match="no"):
        next(batches)
    assert loader.state_dict()["position"] == 0
    assert next(batches)["text"] == [values["text"][row] for row in values["train"][:16]]
    assert loader.state_dict()["position"] == 16
    batches.close()


def test_texts_of_datasets_that_are_mixed_by_batches(tmp_path: Path) -> None:
    path, values = mixed(tmp_path)
    dataset = ShardDataset(path, split="train", columns=["text", "record", "words"])
    loader = MixedDataset([dataset, dataset], mix="batch").loader(16, seed=3, num_threads=2)
    batches = iter(loader)
    batch = next(batches)
    batches.close()
    assert len(batch["text"]) == 16
    assert set(batch["text"]) <= set(values["text"])
    assert batch["words"] == [text.split() for text in batch["text"]]
