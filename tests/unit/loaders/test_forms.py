"""Lists, lists of lists, boxes, masks and nulls: as batches in every form, as samples, as arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from loaders import ShardDataset
from shards import Column
from tests.unit.loaders import datasets

NUM_ROWS = 12
BOXES = "large_list<fixed_size_list<float32>[4]>"
SHAPED = "struct<data: large_binary, shape: fixed_size_list<int32>[3]>"


def write(root: Path, values: list[Any], arrow_type: str, kind: str = "list", **options: Any) -> Path:
    """Write one Arrow column `v`."""
    column = Column("v", "arrow", arrow_type=arrow_type, kind=kind)
    columns = {"v": (column, pa.array(values, column.pyarrow_type))}
    return datasets.write(root, columns, {"train": np.arange(len(values))}, **options)


@pytest.mark.parametrize("shard_bytes", [256 << 20, 2000], ids=["one shard", "many shards"])
@pytest.mark.parametrize("most_inner", [3, 99], ids=["short lists", "long lists"])
@pytest.mark.parametrize("most_outer", [3, 99], ids=["few", "many"])
def test_lists_of_lists(tmp_path: Path, most_outer: int, most_inner: int, shard_bytes: int) -> None:
    """Short lists are copied at once, long ones run by run, at both levels."""
    rng = np.random.default_rng(0)
    values = [
        [rng.integers(0, 9, rng.integers(most_inner)).tolist() for _ in range(rng.integers(most_outer))]
        for _ in range(NUM_ROWS)
    ]
    path = write(tmp_path, values, "large_list<large_list<int64>>", shard_bytes=shard_bytes)
    train = ShardDataset(path)
    for batch in (train[:], next(iter(train.loader(NUM_ROWS, num_threads=1)))):
        for row, wanted in enumerate(values):
            lengths = batch["v__lengths_2"][row, : batch["v__lengths"][row]].tolist()
            assert [batch["v"][row, k, :n].tolist() for k, n in enumerate(lengths)] == wanted
        assert int(batch["v"].sum()) == sum(sum(map(sum, lists)) for lists in values)  # zeros around
    assert [train[row]["v"] for row in range(NUM_ROWS)] == values


@pytest.mark.parametrize("most", [3, 200], ids=["few", "many"])
def test_boxes(tmp_path: Path, most: int) -> None:
    """Four numbers each, any number of them a row."""
    rng = np.random.default_rng(0)
    values = [rng.random((n, 4)).astype(np.float32).tolist() for n in rng.integers(0, most, NUM_ROWS)]
    path = write(tmp_path, values, BOXES, "boxes", shard_bytes=1000)
    padded = ShardDataset(path)[:]
    lengths = padded["v__lengths"].tolist()
    assert padded["v"].shape == (NUM_ROWS, max(lengths), 4)
    assert [boxes[:n].tolist() for boxes, n in zip(padded["v"], lengths, strict=True)] == values
    assert not any(boxes[n:].any() for boxes, n in zip(padded["v"], lengths, strict=True))
    flat = ShardDataset(path, ragged="flat")[:]
    assert [boxes.tolist() for boxes in flat["v"].tensor_split(flat["v__offsets"][1:-1])] == values
    nested = ShardDataset(path, ragged="nested")[:]
    assert [boxes.tolist() for boxes in nested["v"].unbind()] == values
    samples = [ShardDataset(path)[row]["v"] for row in range(NUM_ROWS)]
    assert [sample.tolist() for sample in samples] == values
    assert {sample.shape[1:] for sample in samples} == {(4,)}
    assert ShardDataset(path).to_arrow()["v"].to_pylist() == values


@pytest.mark.parametrize("images", ["list", "padded"])
def test_masks_of_many_shapes_are_pictures(tmp_path: Path, images: Any) -> None:
    pictures = [np.full((2 + row, 3, 1), row, np.uint8) for row in range(NUM_ROWS)]
    cells = [{"data": picture.tobytes(), "shape": picture.shape} for picture in pictures]
    train = ShardDataset(write(tmp_path, cells, SHAPED, "mask_image"), images=images)
    batch = train[:]["v"]
    for row, picture in enumerate(pictures):
        assert np.array_equal(batch[row][: 2 + row].numpy(), picture)
        assert np.array_equal(train[row]["v"].numpy(), picture)


@pytest.mark.parametrize("width", [1, 3, 4, 8, 12, 16])
@pytest.mark.parametrize("most", [3, 200], ids=["short lists", "long lists"])
def test_lists_of_fixed_binaries(tmp_path: Path, most: int, width: int) -> None:
    """As lists of ObjectIds are, whose rows begin at no multiple of their width in every shard."""
    rng = np.random.default_rng(0)
    values = [
        [rng.integers(0, 256, width, dtype=np.uint8).tobytes() for _ in range(rng.integers(most))]
        for _ in range(400)
    ]
    path = write(tmp_path, values, f"list<fixed_size_binary[{width}]>", shard_bytes=500 * most)
    train = ShardDataset(path)
    order = np.random.default_rng(1).permutation(400)
    assert train.opened.columns["v"].locator.num_shards > 1 or width < 8
    assert train.batch(order)["v"] == [values[row] for row in order]
    assert all(train[row]["v"] == values[row] for row in order[:20])
    assert train.to_arrow()["v"].to_pylist() == values


NULLS: dict[str, list[Any]] = {
    "int64": [1, None, 3],
    "bool": [True, None, False],
    "list<int64>": [[1], None, [3, 4]],
    "large_list<int64>": [[1], [2, None], [3, 4]],
    "list<int16>": [list(range(100)), None, list(range(100, 200))],
    "list<list<int64>>": [[[1]], [[2], None], [[3], []]],
    "fixed_size_list<int64>[2]": [[1, 2], [3, None], [5, 6]],
    "fixed_size_list<float32>[1]": [[1], None, [3]],
    BOXES: [[[1, 2, 3, 4]], [None], []],
}


@pytest.mark.parametrize("arrow_type", NULLS)
@pytest.mark.parametrize("ragged", ["padded", "nested", "flat"])
def test_nulls_are_none_and_no_number(tmp_path: Path, arrow_type: str, ragged: Any) -> None:
    values = NULLS[arrow_type]
    train = ShardDataset(write(tmp_path, values, arrow_type), ragged=ragged)
    assert train[:]["v"] == values
    assert train[1]["v"] == values[1]
    assert train.to_numpy()["v"].tolist() == values
    assert train.to_arrow()["v"].to_pylist() == values
    one, null, other = train.loader(1, num_threads=1)  # gathered together; nulls lie in one of them
    assert null["v"] == values[1:2]
    assert all(isinstance(batch["v"], torch.Tensor) for batch in (one, other))
    samples = train.__getitems__([0, 1, 2])
    assert samples[1]["v"] == values[1]
    assert samples.collated()["v"] == values


def test_samples_hold_no_memory_of_others(tmp_path: Path) -> None:
    train = ShardDataset(write(tmp_path, [[1, 2], [3], [4, 5]], "list<int64>"))
    samples = train.__getitems__([0, 1, 2])
    samples[1]["v"].fill_(9)
    assert samples[1]["v"].tolist() == [3]
    assert samples.collated()["v"].tolist() == [[1, 2], [3, 0], [4, 5]]
