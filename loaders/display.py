"""A dataset as text, as HTML with pictures, as a figure."""

from __future__ import annotations

import base64
import html as escaping
import struct
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from shards import Column

if TYPE_CHECKING:
    from loaders.dataset import ShardDataset

NUM_PICTURES = 12
MAX_SIDE_PX = 96


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
            axes.imshow(picture.squeeze(), cmap="gray" if picture.shape[-1] == 1 else None)
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
        axes.hist([float(sample[name]) for sample in drawn], bins=50)
        axes.set_title(name, fontsize=8)
    return figure


def _pictures(dataset: ShardDataset, num_samples: int, seed: int) -> list[tuple[npt.NDArray[np.uint8], str]]:
    """Give pictures as uint8 (height, width, channels) with what else is short to say about them."""
    images = [column for column in dataset.schema.values() if column.kind == "image"]
    if not images or not len(dataset):
        return []
    column = images[0]
    found = []
    for sample in dataset.as_stored().sample(num_samples, seed):
        array = np.asarray(sample[column.name])
        if array.ndim == 2:
            array = array[:, :, None]
        elif column.attributes.get("layout") == "chw":
            array = np.moveaxis(array, 0, -1)
        if array.dtype != np.uint8:
            low, high = float(array.min()), float(array.max())
            array = ((array - low) * (255 / max(high - low, 1e-12))).astype(np.uint8)
        short = [
            f"{name} {value.item():g}" if isinstance(value, torch.Tensor) else f"{name} {value}"
            for name, value in sample.items()
            if isinstance(value, str) or (isinstance(value, torch.Tensor) and value.dim() == 0)
        ]
        found.append((array, "; ".join(short)[:60]))
    return found


def _thumbnails(dataset: ShardDataset) -> list[str]:
    shown = []
    for picture, caption in _pictures(dataset, NUM_PICTURES, 0):
        step = max(1, -(-max(picture.shape[:2]) // MAX_SIDE_PX))
        data = base64.b64encode(png(picture[::step, ::step, :3])).decode()
        shown.append(
            f'<img src="data:image/png;base64,{data}" title="{escaping.escape(caption, quote=True)}" '
            'style="margin:2px;image-rendering:pixelated;min-width:48px">'
        )
    return shown


def png(picture: npt.NDArray[np.uint8]) -> bytes:
    """Encode uint8 (height, width, 1 or 3) as PNG, so that a repr needs no imaging library."""
    height, width, channels = picture.shape
    color = {1: 0, 3: 2}[channels]
    lines = np.zeros((height, 1 + width * channels), np.uint8)
    lines[:, 1:] = picture.reshape(height, -1)

    def part(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, color, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + part(b"IHDR", head)
        + part(b"IDAT", zlib.compress(lines.tobytes(), 6))
        + part(b"IEND", b"")
    )
