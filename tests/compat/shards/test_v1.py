"""The golden dataset of format version 1 reads as it did when it was written."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from shards import Column, ShardStore
from tests.compat.shards.make_v1 import DATASET, DTYPES, KEYS

ROOT = Path(__file__).parent / "v1"
FORMAT = Path(__file__).parents[3] / "docs" / "format.md"


def test_it_verifies_in_full() -> None:
    report = ShardStore(ROOT).verify(full=True)
    assert not report.damages
    assert report.num_versions == 7


@pytest.mark.parametrize("dtype", DTYPES)
def test_dense_columns(dtype: str) -> None:
    rows = ShardStore(ROOT, verify="full").snapshot(DATASET, "v1").column(f"c_{dtype[1:]}").read()
    assert rows.dtype.str == dtype
    assert np.array_equal(rows, np.concatenate([np.arange(4), np.arange(4) + 1]).astype(dtype))


def test_arrow_columns() -> None:
    snapshot = ShardStore(ROOT).snapshot(DATASET)
    assert snapshot.column("lists").read(0, 4).to_pylist() == [[1], [], None, [2, 3]]
    assert snapshot.column("record").take([0, 5]).to_pylist() == [{"a b": "ä", "n": 1.5}, None]
    image = snapshot.column("image").read(3, 4)[0].as_py()
    assert image == {"data": bytes(range(12)), "shape": [1, 4, 3]}


def test_snapshot_members() -> None:
    snapshot = ShardStore(ROOT).snapshot(DATASET)
    assert snapshot.partitions == [(KEYS[0], 0, 4), (KEYS[1], 4, 4)]
    assert {split: snapshot.index(split).tolist() for split in snapshot.splits} == {
        "train": [0, 1, 3, 4], "test": [5, 7], "none": []
    }  # fmt: skip
    assert snapshot.subset_index("balanced").tolist() == [4, 0, 0]
    assert snapshot.vocabulary("color").to_pylist() == ["red", "green"]
    assert snapshot.transforms == {"c_f4": [{"op": "standardize", "mean": [2.0], "std": [1.0]}]}
    documents = snapshot.versions["documents"][1]
    assert documents.table("documents").read()["_id"].to_pylist() == [b"0", b"1", b"2", b"3"]
    assert documents.table("rejects").read().num_rows == 0
    assert snapshot.versions["records"][0].validity().tolist() == [True, True, False, True]


def test_numpy_and_pyarrow_alone_read_it_as_the_specification_says(tmp_path: Path) -> None:
    block = re.search(r"```python\n(.*?)```", FORMAT.read_text(encoding="utf-8"), re.DOTALL)
    assert block is not None
    shutil.copytree(ROOT, tmp_path / "store")
    with ShardStore(tmp_path / "store").begin("dots", "records", "..Ä/") as attempt:
        attempt.column(Column("x", "npy", "<i4")).append(np.arange(3, dtype="<i4"))
        attempt.commit()
    program = tmp_path / "reader.py"
    checks = f"""
import sys
sys.modules["shards"] = None
root = {str(tmp_path / "store" / DATASET)!r}
assert np.concatenate(snapshot_column(root, "records", "c_f8")).tolist() == [0, 1, 2, 3, 1, 2, 3, 4]
matrices = np.concatenate(snapshot_column(root, "records", "matrix"))
assert matrices.shape == (8, 2, 3) and matrices[7, 1, 2] == 24
lists = pa.chunked_array(snapshot_column(root, "records", "lists"))
assert lists.to_pylist() == [[1], [], None, [2, 3]] * 2
images = pa.chunked_array(snapshot_column(root, "images", "image"))
assert images[7].as_py() == {{"data": bytes(range(12)), "shape": [1, 4, 3]}}
[dots] = column(manifest({str(tmp_path / "store" / "dots")!r}, "records", "..Ä/"), "x")
assert dots.tolist() == [0, 1, 2]
assert split(root, "train").tolist() == [0, 1, 3, 4] and split(root, "none").tolist() == []
print("read")
"""
    program.write_text(block[1] + checks, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-I", program], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.stdout == "read\n", done.stderr
