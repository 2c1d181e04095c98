"""A dataset as text, as HTML with pictures, as a figure."""

from __future__ import annotations

import base64
import html as escaping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from loaders.pictures import channels_first
from shards import Column, png

if TYPE_CHECKING:
    from loaders.dataset import ShardDataset

NUM_PICTURES = 12
MAX_SIDE_PX = 96
NUM_BINS = 50


def text(dataset: ShardDataset) -> str:
    """Give what is loaded and one line a column."""
    selection = dataset.selection
    part = selection.subset or selection.split or dataset.splits[0]
    coordinates = f"{str(selection.path)!r}, {part!r}, version={dataset.version}"
    lines = [f"ShardDataset({coordinates}): {len(dataset):,} samples"]
    lines += [f"  {name}: {describe(column)}" for name, column in dataset.schema.items()]
    return "\n".join(lines)


def describe(column: Column) -> str:
    """Give the type of a column in a few words."""
    if column.encoding == "npy":
        stored = f"{np.dtype(column.dtype).name}{list(column.shape) if column.shape else ''}"
    else:
        stored = column.arrow_type
    note = column.attributes.get("description")
    return f"{column.kind} {stored}" + (f" - {note}" if note else "")


def html(dataset: ShardDataset) -> str:
    """Give a table of the columns and a few pictures, for notebooks."""
    rows = "".join(
        f"<tr><td><code>{escaping.escape(name)}</code></td><td>{escaping.escape(describe(column))}</td></tr>"
        for name, column in dataset.schema.items()
    )
    head = escaping.escape(text(dataset).partition("\n")[0])
    return f"<div><b>{head}</b><table>{rows}</table>{''.join(_thumbnails(dataset))}</div>"


def plot(dataset: ShardDataset, num_samples: int, seed: int) -> Any:
    """Draw pictures with labels, or histograms; the figure is not shown."""
    from matplotlib.figure import Figure  # here: training needs no matplotlib

    pictures = _pictures(dataset, num_samples, seed)
    figure = Figure(layout="constrained")
    if pictures:
        side = int(np.ceil(np.sqrt(len(pictures))))
        for axes, (picture, caption) in zip(
            figure.subplots(side, side, squeeze=False).flat, pictures, strict=False
        ):
            axes.imshow(picture if picture.shape[2] == 3 else picture[:, :, 0], cmap="gray")
            axes.set_title(caption, fontsize=7)
        for axes in figure.axes:
            axes.set_axis_off()
        return figure
    drawn = dataset.sample(min(len(dataset), 10_000), seed)
    names = [
        name
        for name, value in (drawn[0].items() if drawn else ())
        if isinstance(value, torch.Tensor) and not value.is_nested and value.dim() == 0
    ]
    for axes, name in zip(figure.subplots(max(len(names), 1), 1, squeeze=False).flat, names, strict=False):
        _histogram(axes, name, np.array([float(sample[name]) for sample in drawn]))
    return figure


def _histogram(axes: Any, name: str, values: npt.NDArray[np.float64]) -> None:
    """Draw the finite ones among values, and say how many there are besides."""
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    closest = NUM_BINS * float(np.spacing(max(abs(low), abs(high))))  # bins cannot be narrower than numbers
    if high - low <= closest:
        low, high = low - max(closest, 0.5), high + max(closest, 0.5)
    axes.hist(finite, bins=NUM_BINS, range=(low, high))
    others = len(values) - len(finite)
    axes.set_title(f"{name}, {others:,} not finite" if others else name, fontsize=8)


def _pictures(dataset: ShardDataset, num_samples: int, seed: int) -> list[tuple[npt.NDArray[np.uint8], str]]:
    """Give pictures as `_shown` makes them, with what else is short to say about them."""
    images = [
        column
        for column in dataset.schema.values()
        if column.kind == "image" and (column.encoding == "arrow" or len(column.shape) in (2, 3))
    ]
    if not images or not len(dataset):
        return []
    column = images[0]
    found = []
    for sample in dataset.as_stored().sample(num_samples, seed):
        short = [
            f"{name} {value.item():g}" if isinstance(value, torch.Tensor) else f"{name} {value}"
            for name, value in sample.items()
            if isinstance(value, str) or (isinstance(value, torch.Tensor) and value.dim() == 0)
        ]
        picture = _shown(np.asarray(sample[column.name]), channels_first(column))
        found.append((picture, "; ".join(short)[:60]))
    return found


def _shown(array: npt.NDArray[Any], has_channels_first: bool) -> npt.NDArray[np.uint8]:
    """Give what can be seen of any picture: uint8 (height, width, 1 or 3), its first channels."""
    if not array.size:
        return np.zeros((1, 1, 1), np.uint8)
    if array.ndim == 2:
        array = array[:, :, None]
    elif has_channels_first:
        array = np.moveaxis(array, 0, -1)
    array = array[:, :, : 3 if array.shape[2] >= 3 else 1]
    return array if array.dtype == np.uint8 else _stretched(array)


def _stretched(array: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Bring the lowest finite value to 0 and the highest to 255, infinite ones with them, NaN to 0."""
    values = array.astype(np.float64)
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    values = np.nan_to_num(values, nan=low, posinf=high, neginf=low)
    return ((values - low) * (255 / max(high - low, 1e-12))).round().astype(np.uint8)


def _thumbnails(dataset: ShardDataset) -> list[str]:
    shown = []
    for picture, caption in _pictures(dataset, NUM_PICTURES, 0):
        step = max(1, -(-max(picture.shape[:2]) // MAX_SIDE_PX))
        data = base64.b64encode(png.encode(picture[::step, ::step])).decode()
        shown.append(
            f'<img src="data:image/png;base64,{data}" title="{escaping.escape(caption, quote=True)}" '
            'style="margin:2px;image-rendering:pixelated;min-width:48px">'
        )
    return shown
