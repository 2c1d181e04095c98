"""How gathered values are handed out: tensors, padded or nested lists, dicts, pictures."""

from __future__ import annotations

import math
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
Bounds: TypeAlias = "npt.NDArray[np.int64]"
"""Where each of some lists begins among the elements of all, and where the last one ends."""

RAGGED = ("padded", "nested", "flat")
RECORDS = ("dict", "columns", "arrow")
IMAGES = ("list", "padded")
PADDED = 4  # times the bytes of lists, about, that they take once they are filled up


@dataclass(frozen=True, slots=True)
class Forms:
    """The forms of values that are no tensor of one shape.

    Numbers and lists with a null among those of a batch are Python values there, None where they are null.

    Parameters
    ----------
    ragged
        Lists of numbers. `padded`: one tensor filled up with zeros, and `<name>__lengths`. `nested`: a jagged
        `torch.nested` tensor, and `<name>__lengths`. `flat`: all values end to end, and `<name>__offsets` of
        one more element than there are rows. Lists of lists are always padded, in every dimension, with the
        lengths of the second level in `<name>__lengths_2` and so on. Inner lists of one length (the numbers
        of a box, of a point) are a dimension of the values in every form.
    records
        Dicts. `dict`: a list of Python dicts. `columns`: one dict of columns. `arrow`: a `pa.StructArray`.
    images
        Pictures of many shapes. `list`: one tensor each. `padded`: one tensor, filled, after the fits, with
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
    column: Column,
    found: cells.Cells,
    edges: Sequence[tuple[int, int]],
    forms: Forms,
    pool: Pool,
    fit: pictures.Fitted | None,
) -> list[Batch]:
    """Turn the cells of one column into members of batches, by name; `finished` makes the rest.

    Parameters
    ----------
    edges
        The rows of each batch, one behind the other: first, and after the last.
    fit
        Of pictures of many shapes; None where there is none or it is not wanted.
    """
    if isinstance(found, cells.Runs) and forms.ragged == "padded" and not _has_nulls(found):
        return _padded_runs(column.name, found, edges, pool)
    if len(edges) == 1:
        return [_deliver(column, found, forms, pool, fit)]
    return [_deliver(column, found.slice(*edge), forms, pool, fit) for edge in edges]


def _deliver(
    column: Column, found: cells.Cells, forms: Forms, pool: Pool, fit: pictures.Fitted | None
) -> Batch:
    name = column.name
    if pictures.is_picture(column):
        shown = pictures.tensors(column, found, fit)
        return {name: shown} if forms.images == "list" else pictures.pad(column, shown, pool)
    if isinstance(found, cells.Record):
        return {name: _records(column, found, forms)}
    levels, values = numbers(found)
    if values is None:
        return {name: Later(found)}
    if not levels:
        return {name: torch.from_numpy(values)}
    if forms.ragged == "padded" or len(levels) > 1:
        return _padded(name, levels, values, pool)
    bounds = torch.from_numpy(levels[0])
    if forms.ragged == "flat":
        return {name: torch.from_numpy(values), f"{name}__offsets": bounds}
    nested = torch.nested.nested_tensor_from_jagged(torch.from_numpy(values), bounds)
    return {name: nested, f"{name}__lengths": torch.from_numpy(np.diff(levels[0]))}


def deliver_one(column: Column, found: cells.Cells, fit: pictures.Fitted | None) -> Any:
    """Turn the cells of one row into the value of a sample: nothing is padded."""
    if pictures.is_picture(column):
        return pictures.tensors(column, found, fit)[0]
    levels, values = numbers(found)
    if values is None or len(levels) > 1:
        return found.python()[0]
    tensor = torch.from_numpy(values)
    return tensor if levels else tensor[0]


def numbers(found: cells.Cells) -> tuple[list[Bounds], npt.NDArray[Any] | None]:
    """Give the bounds of every level of lists of any length, and the numbers below all of them.

    Lists of one length are dimensions of the numbers. None in place of numbers where there are other values,
    or nulls at any level.
    """
    levels: list[Bounds] = []
    shape: list[int] = []
    while not isinstance(found, cells.Fixed):
        if isinstance(found, cells.Runs):
            found = found.gathered()
        if not isinstance(found, (cells.Ragged, cells.FixedList)) or _has_nulls(found):
            return levels, None
        if isinstance(found, cells.FixedList):
            shape.append(found.size)
        elif shape:
            return levels, None
        else:
            levels.append(found.bounds)
        found = found.elements
    is_bytes = found.values.ndim > 1
    if _has_nulls(found) or (levels and is_bytes):
        return levels, None
    return levels, found.values.reshape(-1, *shape, *found.values.shape[1:])


def holds_numbers(column: Column) -> bool:
    """Whether the values of a column are handed out as tensors, in whatever form, where none is null."""
    if column.encoding == "npy" or pictures.is_picture(column):
        return True
    found = column.pyarrow_type
    while pa.types.is_nested(found) and not pa.types.is_struct(found):
        found = found.value_type
    return bool(pa.types.is_primitive(found))


def _has_nulls(found: cells.Cells) -> bool:
    """Whether a row is null; of a part of what was gathered, where nulls may lie in others."""
    return found.present is not None and not found.present.all()


def _records(column: Column, found: cells.Record, forms: Forms) -> Any:
    if forms.records == "dict":
        return Later(found)
    if forms.records == "arrow":
        dtype: pa.DataType = column.pyarrow_type
        return found.arrow(dtype)
    return _columns(found)


def _columns(found: cells.Cells) -> Any:
    """Give tensors where the values are numbers, dicts of columns for records, lists for the rest."""
    if isinstance(found, cells.Record) and not _has_nulls(found):
        return {name: _columns(member) for name, member in found.members.items()}
    if isinstance(found, cells.Fixed) and not _has_nulls(found):
        return torch.from_numpy(found.values)
    return Later(found)


def _padded(name: str, levels: Sequence[Bounds], values: npt.NDArray[Any], pool: Pool) -> Batch:
    """Fill up every level of lists with zeros."""
    batch: Batch = {}
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
    levels: Sequence[Bounds],
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
    bounds: Bounds,
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
    size = math.prod(values.shape[1:])  # runs are of single numbers
    places = np.arange(len(lengths)) * (width * size)
    copy_runs(values.reshape(-1), bounds[:-1] * size, lengths * size, out.reshape(-1), places)
