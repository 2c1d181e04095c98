"""Whatever is written comes back, for every kind of column, however it is cut into shards and appends."""

from __future__ import annotations

import itertools
import json
import os
import tempfile
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from shards import Column, InvalidArgument, ShardStore, arrow_types, names
from shards.limits import DTYPES
from shards.manifest import dump
from shards.parse import parse

FAST = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
"""In memory where that can be had: nothing here is about disks."""
KINDS = {
    "id": "fixed_size_binary[12]",
    "text": "large_string",
    "binary": "large_binary",
    "list": "large_list<large_list<float32>>",
    "record": 'struct<a: int64, "b c": struct<d: large_list<string>, e: bool>>',
    "datetime": "timestamp[ms, UTC]",
    "boxes": "large_list<fixed_size_list<float32>[4]>",
    "points": "large_list<fixed_size_list<float64>[2]>",
    "image": "struct<data: large_binary, shape: fixed_size_list<int32>[3]>",
    "number": "uint64",
}
SCALARS: dict[str, st.SearchStrategy[Any]] = {
    "bool": st.booleans(),
    "int32": st.integers(-(2**31), 2**31 - 1),
    "int64": st.integers(-(2**63), 2**63 - 1),
    "uint64": st.integers(0, 2**64 - 1),
    "float32": st.floats(width=32, allow_nan=False),
    "float64": st.floats(allow_nan=False),
    "string": st.text(max_size=8),
    "large_string": st.text(max_size=8),
    "large_binary": st.binary(max_size=8),
    "fixed_size_binary[12]": st.binary(min_size=12, max_size=12),
    "timestamp[ms, UTC]": st.integers(-(10**12), 10**12),
}


def values(dtype: pa.DataType) -> st.SearchStrategy[Any]:
    """Values of a type, nulls among them, as pyarrow takes them."""
    text = arrow_types.spell(dtype)
    if text in SCALARS:
        inner = SCALARS[text]
    elif pa.types.is_fixed_size_list(dtype):
        element = SCALARS[arrow_types.spell(dtype.value_type)]
        inner = st.lists(element, min_size=dtype.list_size, max_size=dtype.list_size)
    elif pa.types.is_struct(dtype):
        inner = st.fixed_dictionaries({field.name: values(field.type) for field in dtype})
    else:
        inner = st.lists(values(dtype.value_type), max_size=3)
    return st.none() | inner


@st.composite
def arrow_column(draw: st.DrawFn) -> tuple[Column, pa.Array]:
    kind = draw(st.sampled_from(sorted(KINDS)))
    column = Column("c", "arrow", arrow_type=KINDS[kind], kind=kind)
    rows = draw(st.lists(values(column.pyarrow_type), max_size=12))
    return column, pa.array(rows, column.pyarrow_type)


@st.composite
def dense_column(draw: st.DrawFn) -> tuple[Column, npt.NDArray[Any]]:
    dtype = draw(st.sampled_from(DTYPES))
    shape = tuple(draw(st.lists(st.integers(1, 3), max_size=3)))
    num_rows = draw(st.integers(0, 12))
    size = num_rows * int(np.prod(shape))
    raw = draw(st.binary(min_size=size * np.dtype(dtype).itemsize, max_size=size * np.dtype(dtype).itemsize))
    rows = np.frombuffer(raw, "|u1" if dtype == "|b1" else dtype)
    rows = (rows % 2).astype(bool) if dtype == "|b1" else rows
    return Column("c", "npy", dtype, shape), rows.reshape(num_rows, *shape)


def cut(rows: Any, cuts: list[int]) -> list[Any]:
    """Rows in pieces, empty ones among them."""
    edges = [0, *sorted(cut % (len(rows) + 1) for cut in cuts), len(rows)]
    return [rows[low:high] for low, high in itertools.pairwise(edges)]


def written(column: Column, pieces: list[Any], shard_bytes: int) -> Any:
    with tempfile.TemporaryDirectory(dir=FAST) as root:
        store = ShardStore(root, verify="full")
        with store.begin("d", "a", shard_bytes=shard_bytes) as attempt:
            writer = attempt.column(column)
            for piece in pieces:
                writer.append(piece)
            attempt.commit()
        version = store.latest("d", "a")
        assert version is not None
        reader = version.column("c")
        assert reader.column == column
        rows = reader.read()
        order = np.arange(len(rows))[::-1]
        return (
            rows,
            reader.take(np.concatenate([order, order])),
            [reader.read(i, i + 1) for i in range(len(rows))],
        )


@settings(max_examples=60)
@given(arrow_column(), st.lists(st.integers(0, 100), max_size=3), st.integers(1, 200))
def test_arrow_columns(made: tuple[Column, pa.Array], cuts: list[int], shard_bytes: int) -> None:
    column, rows = made
    read, reverse, single = written(column, cut(rows, cuts), shard_bytes)
    assert read.equals(rows)
    wanted = rows.to_pylist()
    assert reverse.to_pylist() == 2 * wanted[::-1]
    assert [row for one in single for row in one.to_pylist()] == wanted


@settings(max_examples=60)
@given(dense_column(), st.lists(st.integers(0, 100), max_size=3), st.integers(1, 200))
def test_dense_columns(made: tuple[Column, npt.NDArray[Any]], cuts: list[int], shard_bytes: int) -> None:
    column, rows = made
    read, reverse, single = written(column, cut(rows, cuts), shard_bytes)
    assert read.dtype.str == column.dtype
    assert read.shape == rows.shape
    assert read.tobytes() == rows.tobytes()
    assert reverse.tobytes() == np.concatenate([rows[::-1], rows[::-1]]).tobytes()
    assert b"".join(one.tobytes() for one in single) == rows.tobytes()


@given(st.text(min_size=1))
def test_a_partition_key_has_one_directory(key: str) -> None:
    try:
        name = names.encode_partition(key)
    except InvalidArgument:
        assert len(key.encode("utf-8", "surrogatepass")) * 3 > 240 or "\ud800" <= max(key) <= "\udfff"
        return
    assert names.decode_partition(name) == key
    assert name == name.lower()
    assert "/" not in name
    assert not name.startswith(".")


@given(st.text(max_size=20))
def test_only_the_spelling_of_a_type_is_read(text: str) -> None:
    try:
        assert arrow_types.spell(arrow_types.parse(text)) == text
    except InvalidArgument:
        return


NUMBERS = st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@settings(max_examples=40)
@given(st.dictionaries(st.text(max_size=5), JSON, max_size=3))
def test_statistics_come_back(statistics: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory(dir=FAST) as root:
        store = ShardStore(root)
        with store.begin("d", "a", "k") as attempt:
            version = attempt.commit(statistics=statistics, metadata=statistics).version
        with store.begin("d", "a", "k") as attempt:
            again = attempt.commit(statistics=statistics)
        assert not again.created
        found = store.version("d", "a", "k", 1)
        assert json.dumps(found.statistics) == json.dumps(statistics)
        assert parse("x", dump(found.manifest)) == found.manifest == version.manifest
