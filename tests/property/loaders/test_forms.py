"""Arrow columns of any type: what was written is what comes, in every form, as batch and as sample."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from loaders import ShardDataset
from loaders.forms import RAGGED
from shards import Column
from shards.arrow_types import spell
from tests.unit.loaders import datasets

NUMBERS = {
    pa.int8(): st.integers(-128, 127),
    pa.uint16(): st.integers(0, 65535),
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.float64(): st.floats(allow_nan=False),
    pa.bool_(): st.booleans(),
}
OTHERS = {
    pa.string(): st.text(max_size=5),
    pa.large_binary(): st.binary(max_size=5),
    pa.binary(3): st.binary(min_size=3, max_size=3),
}
LEAVES = NUMBERS | OTHERS


def lists(dtypes: st.SearchStrategy[pa.DataType]) -> st.SearchStrategy[pa.DataType]:
    """Types of lists of any length, of lists of one length, and of records."""
    return st.one_of(
        dtypes.map(pa.list_),
        dtypes.map(pa.large_list),
        st.builds(pa.list_, dtypes, st.integers(1, 3)),
        st.lists(dtypes, min_size=1, max_size=2).map(
            lambda members: pa.struct([(f"m{number}", member) for number, member in enumerate(members)])
        ),
    )


DTYPES = st.recursive(st.sampled_from(list(LEAVES)), lists, max_leaves=4)


def values(dtype: pa.DataType, nulls: bool, long: bool = True) -> st.SearchStrategy[Any]:
    """Python values of a type; lists at one level of it may be long, as such are copied otherwise."""
    if pa.types.is_struct(dtype):
        members = {member.name: values(member.type, nulls, long) for member in dtype}
        found: Any = st.fixed_dictionaries(members)
    elif pa.types.is_fixed_size_list(dtype):
        size = dtype.list_size
        found = st.lists(values(dtype.value_type, nulls, long), min_size=size, max_size=size)
    elif pa.types.is_nested(dtype):
        found = st.lists(values(dtype.value_type, nulls, long), max_size=3)
        if long:
            many = st.lists(values(dtype.value_type, nulls, False), max_size=3)
            found = st.one_of(found, many.map(lambda elements: 40 * elements))
    else:
        found = LEAVES[dtype]
    return st.one_of(st.none(), found) if nulls else found


@st.composite
def columns(draw: st.DrawFn) -> pa.Array:
    """Draw the rows of a column."""
    dtype = draw(DTYPES)
    return pa.array(draw(st.lists(values(dtype, draw(st.booleans())), min_size=1, max_size=9)), dtype)


def depth(dtype: pa.DataType) -> int:
    """Levels of lists of any length at the top of a type."""
    nested = pa.types.is_list(dtype) or pa.types.is_large_list(dtype)
    return 1 + depth(dtype.value_type) if nested else 0


def unpadded(batch: dict[str, Any], place: tuple[int, ...], levels: int) -> Any:
    """Give a row of a padded batch without what it was filled up with."""
    level = len(place) - 1
    if level == levels:
        return batch["v"][place].tolist()
    lengths = batch["v__lengths" + (f"_{level + 1}" if level else "")]
    return [unpadded(batch, (*place, number), levels) for number in range(int(lengths[place]))]


def rows(batch: dict[str, Any], dtype: pa.DataType) -> list[Any]:
    """Give the rows of a batch as Python values."""
    found = batch["v"]
    if isinstance(found, list):
        return found
    if found.is_nested:
        return [row.tolist() for row in found.unbind()]
    if "v__offsets" in batch:
        return [row.tolist() for row in found.tensor_split(batch["v__offsets"][1:-1])]
    return [unpadded(batch, (row,), depth(dtype)) for row in range(len(found))]


def same(value: Any, written: Any) -> bool:
    """Compare values; a fixed binary that is not in a list comes as its bytes in a tensor."""
    value = value.tolist() if isinstance(value, torch.Tensor) else value
    return bool(value == written or (isinstance(written, bytes) and bytes(value) == written))


@settings(max_examples=40, deadline=None)
@given(written=columns(), shard_bytes=st.sampled_from([2000, 1 << 20]), seed=st.integers(0, 9))
def test_what_was_written_comes(written: pa.Array, shard_bytes: int, seed: int) -> None:
    column = Column("v", "arrow", arrow_type=spell(written.type), kind="list")
    size, wanted = len(written), written.to_pylist()
    with tempfile.TemporaryDirectory() as folder:
        path = datasets.write(
            Path(folder), {"v": (column, written)}, {"train": np.arange(size)}, shard_bytes=shard_bytes
        )
        for ragged in RAGGED:
            train = ShardDataset(path, ragged=ragged, lease_seconds=None)  # type: ignore[arg-type]
            drawn = np.random.default_rng(seed).integers(0, size, 5).tolist()
            found = rows(train.batch(drawn), written.type)
            assert all(map(same, found, [wanted[row] for row in drawn]))
            found = [row for batch in train.loader(2, num_threads=0) for row in rows(batch, written.type)]
            assert all(map(same, found, wanted))
            assert len(found) == size
            assert all(same(train[row]["v"], wanted[row]) for row in drawn)
        assert train.to_arrow()["v"].to_pylist() == wanted
        assert all(map(same, train.to_numpy()["v"].tolist(), wanted))
