"""Samples as Arrow tables and NumPy arrays: stored values, no fits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from loaders.cells import Cells
from loaders.columns import DenseColumn
from loaders.errors import InvalidOption
from loaders.forms import numbers
from loaders.options import integer
from loaders.permutation import Permutation, key_of
from loaders.pool import Pool
from loaders.samples import sample_numbers

if TYPE_CHECKING:
    from loaders.dataset import ShardDataset
    from loaders.samples import Sample

SAMPLING = 0x5A


def to_arrow(dataset: ShardDataset, samples: npt.ArrayLike | None) -> pa.Table:
    """Give samples as a table; rows of a shape become (nested) lists of one length."""
    rows = _rows(dataset, samples)
    arrays: dict[str, pa.Array] = {}
    for name, column in dataset.opened.columns.items():
        if isinstance(column, DenseColumn):
            array = column.gather(rows, Pool()).numpy()
            found = pa.array(array.reshape(-1))
            for size in reversed(array.shape[1:]):
                found = pa.FixedSizeListArray.from_arrays(found, size)
            arrays[name] = found
        else:
            with column.watch.copying():
                arrays[name] = column.gather(rows).arrow(column.type)
    return pa.table(arrays)


def to_numpy(dataset: ShardDataset, samples: npt.ArrayLike | None) -> dict[str, npt.NDArray[Any]]:
    """Give samples as arrays; an array of objects where rows have no common shape."""
    rows = _rows(dataset, samples)
    arrays: dict[str, npt.NDArray[Any]] = {}
    for name, column in dataset.opened.columns.items():
        if isinstance(column, DenseColumn):
            arrays[name] = column.gather(rows, Pool()).numpy()
        else:
            with column.watch.copying():
                arrays[name] = _array(column.gather(rows))
    return arrays


def sample(dataset: ShardDataset, num_samples: int, seed: int) -> list[Sample]:
    """Draw samples without repeats."""
    num_samples = integer("num_samples", num_samples)
    if num_samples < 0:
        raise InvalidOption(f"num_samples={num_samples}; allowed: 0 or more")
    size = len(dataset)
    if not size:
        return []
    drawn = Permutation(size, key_of(seed, SAMPLING))(np.arange(min(num_samples, size)))
    return list(dataset.__getitems__(drawn))


def _rows(dataset: ShardDataset, samples: npt.ArrayLike | None) -> npt.NDArray[np.int64]:
    size = len(dataset)
    return dataset.opened.index(np.arange(size) if samples is None else sample_numbers(samples, size))


def _array(found: Cells) -> npt.NDArray[Any]:
    levels, values = numbers(found)
    if values is not None and not levels:
        return values
    objects = np.empty(len(found), object)
    objects[:] = found.python()
    return objects
