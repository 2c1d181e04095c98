"""How gathered values are handed out: tensors, padded or nested lists, dicts, pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch

from loaders import cells, pictures
from loaders.errors import InvalidOption
from loaders.pool import Pool
from loaders.runs import copy_runs
from shards import Column

Batch: TypeAlias = "dict[str, Any]"

RAGGED = ("padded", "nested", "flat")
RECORDS = ("dict", "columns", "arrow")
IMAGES = ("list", "padded")
PADDED = 4  # times the bytes of lists, about, that they take once they are filled up


@dataclass(frozen=True, slots=True)
class Forms:
    """The forms of values that are no tensor of one shape.

    Parameters
    ----------
    ragged
        Lists of numbers. `padded`: one tensor filled up with zeros, and `<name>__lengths`. `nested`: a jagged
        `torch.nested` tensor, and `<name>__lengths`. `flat`: all values end to end, and `<name>__offsets` of
        one more element than there are rows. Lists of lists are always padded, in every dimension, with the
        lengths of the second level in `<name>__lengths_2` and so on.
    records
        Dicts. `dict`: a list of Python dicts. `columns`: one dict of columns. `arrow`: a `pa.StructArray`.
    images
        Pictures of many shapes. `list`: one tensor each. `padded`: one tensor, filled with
        zeros at the bottom and at the right, and `<name>__sizes` (height, width).
    """

    ragged: Literal["padded", "nested", "flat"] = "padded"
    records: Literal["dict", "columns", "arrow"] = "dict"
    images: Literal["list", "padded"] = "list"

    def __post_init__(self) -> None:
        """Refuse what is not known."""
        for name, allowed in (("ragged", RAGGED), ("records", RECORDS), ("images", IMAGES)):
            if getattr(self, name) not in allowed:
                raise InvalidOption(f"{name}={getattr(self, name)!r}; allowed: {', '.join(allowed)}")

    def weight(self, column: Column) -> int:
        """About how many times its stored bytes a column takes as it is handed out."""
        return PADDED if self.ragged == "padded" and column.kind == "list" else 1


@dataclass(frozen=True, slots=True)
class Later:
    """Values that become Python objects when their batch is handed out (docs/decisions/0507)."""

    cells: cells.Cells


def finished(batch: Batch) -> Batch:
    """Make the Python objects of a batch."""
    return {name: _made(value) for name, value in batch.items()}


def _made(value: Any) -> Any:
    if isinstance(value, Later):
        return value.cells.python()
    return finished(value) if isinstance(value, dict) else value


def deliver(
    column: Column, found: cells.Cells, edges: Sequence[tuple[int, int]], forms: Forms, pool: Pool
) -> list[Batch]:
    """Turn the cells of one column into members of batches, by name; `finished` makes the rest.

    Parameters
    ----------
    edges
        The rows of each batch, one behind the other: first, and after the last.
    """
    if isinstance(found, cells.Runs) and forms.ragged == "padded" and column.kind != "image":
        return _padded_runs(column.name, found, edges, pool)
    if len(edges) == 1:
        return [_deliver(column, found, forms, pool)]
    return [_deliver(column, found.slice(*edge), forms, pool) for edge in edges]


def _deliver(column: Column, found: cells.Cells, forms: Forms, pool: Pool) -> Batch:
    name = column.name
    if column.kind == "image":
        return _images(column, found, forms, pool)
    if isinstance(found, cells.Fixed):
        return {name: torch.from_numpy(found.values)}
    if isinstance(found, (cells.Text, cells.Coded)):
        return {name: Later(found)}
    if isinstance(found, cells.Record):
        return {name: _records(column, found, forms)}
    if isinstance(found, cells.FixedList):
        return {name: _fixed_list(found)}
    if isinstance(found, cells.Runs):
        found = found.gathered()
    depth = _depth(found)
    if depth == 0:
        return {name: Later(found)}
    if depth > 1:
        return _padded(name, found, pool)
    values = _leaf(found)
    if forms.ragged == "padded":
        return _padded(name, found, pool)
    lengths = torch.from_numpy(np.diff(found.bounds))
    if forms.ragged == "flat":
        return {name: torch.from_numpy(values), f"{name}__offsets": torch.from_numpy(found.bounds)}
    nested = torch.nested.nested_tensor_from_jagged(torch.from_numpy(values), torch.from_numpy(found.bounds))
    return {name: nested, f"{name}__lengths": lengths}


def deliver_one(column: Column, found: cells.Cells) -> Any:
    """Turn the cells of one row into the value of a sample: nothing is padded."""
    if column.kind == "image":
        return pictures.tensors(column, found)[0]
    if isinstance(found, cells.Fixed):
        return torch.from_numpy(found.values)[0]
    if isinstance(found, cells.FixedList):
        return _made(_fixed_list(found))[0]
    if isinstance(found, cells.Runs):
        found = found.gathered()
    if isinstance(found, cells.Ragged) and _depth(found) == 1:
        return torch.from_numpy(_leaf(found))
    return found.python()[0]


def _depth(found: cells.Cells) -> int:
    """Levels of lists above numbers; 0 when there are no numbers below, or nulls among them."""
    depth = 0
    while isinstance(found, cells.Ragged):
        depth, found = depth + 1, found.elements
    return depth if isinstance(found, cells.Fixed) and found.present is None and found.values.ndim == 1 else 0


def _leaf(found: cells.Cells) -> npt.NDArray[Any]:
    while isinstance(found, cells.Ragged):
        found = found.elements
    assert isinstance(found, cells.Fixed)
    return found.values


def _fixed_list(found: cells.FixedList) -> Any:
    elements, shape = found.elements, [found.size]
    while isinstance(elements, cells.FixedList):
        shape.append(elements.size)
        elements = elements.elements
    if isinstance(elements, cells.Fixed) and elements.present is None:
        return torch.from_numpy(elements.values.reshape(len(found), *shape, *elements.values.shape[1:]))
    return Later(found)


def _records(column: Column, found: cells.Record, forms: Forms) -> Any:
    if forms.records == "dict":
        return Later(found)
    if forms.records == "arrow":
        dtype: pa.DataType = column.pyarrow_type
        return found.arrow(dtype)
    return _columns(found)


def _columns(found: cells.Cells) -> Any:
    """Give tensors where the values are numbers, dicts of columns for records, lists for the rest."""
    if isinstance(found, cells.Record) and found.present is None:
        return {name: _columns(member) for name, member in found.members.items()}
    if isinstance(found, cells.Fixed) and found.present is None:
        return torch.from_numpy(found.values)
    return Later(found)


def _padded(name: str, found: cells.Ragged, pool: Pool) -> Batch:
    """Fill up every level of lists with zeros."""
    batch: Batch = {}
    levels: list[npt.NDArray[np.int64]] = []
    level: cells.Cells = found
    while isinstance(level, cells.Ragged):
        levels.append(level.bounds)
        level = level.elements
    values = _leaf(found)
    tensor: torch.Tensor | None = None
    for depth in range(len(levels) - 1, -1, -1):
        bounds = levels[depth]
        lengths = np.diff(bounds)
        width = int(lengths.max(initial=0))
        tensor, padded = pool.tensor((len(lengths), width, *values.shape[1:]), values.dtype)
        _pad(values, bounds, lengths, padded)
        values = padded
        _add_lengths(batch, name, lengths, levels, depth)
    assert tensor is not None
    return {name: tensor, **batch}


def _padded_runs(name: str, found: cells.Runs, edges: Sequence[tuple[int, int]], pool: Pool) -> list[Batch]:
    """Copy the lists of all batches once, from where they are mapped to where they are wanted."""
    lengths = found.lengths
    widths = [int(lengths[low:high].max(initial=0)) for low, high in edges]
    sizes = [high - low for low, high in edges]
    areas = [size * width for size, width in zip(sizes, widths, strict=True)]
    whole, padded = pool.zeros((sum(areas),), found.source.dtype)
    steps = np.repeat(widths, sizes)
    copy_runs(found.source, found.starts, lengths, padded, np.cumsum(steps) - steps)
    tensors = zip(torch.split(whole, areas), sizes, widths, edges, strict=True)
    return [
        {
            name: tensor.view(size, width),
            f"{name}__lengths": torch.from_numpy(lengths[low:high]),
        }
        for tensor, size, width, (low, high) in tensors
    ]


def _add_lengths(
    batch: Batch,
    name: str,
    lengths: npt.NDArray[np.int64],
    levels: list[npt.NDArray[np.int64]],
    depth: int,
) -> None:
    """Pad the lengths of an inner level by the levels above it."""
    for outer in range(depth - 1, -1, -1):
        counts = np.diff(levels[outer])
        filled = np.zeros((len(counts), int(counts.max(initial=0)), *lengths.shape[1:]), np.int64)
        _pad(lengths, levels[outer], counts, filled)
        lengths = filled
    batch[f"{name}__lengths" + (f"_{depth + 1}" if depth else "")] = torch.from_numpy(lengths)


def _pad(
    values: npt.NDArray[Any],
    bounds: npt.NDArray[np.int64],
    lengths: npt.NDArray[np.int64],
    out: npt.NDArray[Any],
) -> None:
    """Copy runs of values to the starts of the rows of `out` and zero what is left."""
    width = out.shape[1]
    out[...] = 0
    if len(values) < 32 * len(lengths):  # many short rows: one masked copy for all
        here = np.arange(width) < lengths[:, None]
        out[here] = values
        return
    copy_runs(values, bounds[:-1], lengths, out.reshape(-1), np.arange(len(lengths)) * width)


def _images(column: Column, found: cells.Cells, forms: Forms, pool: Pool) -> Batch:
    shown = pictures.tensors(column, found)
    if forms.images == "list":
        return {column.name: shown}
    return pictures.pad(column, shown, pool)
