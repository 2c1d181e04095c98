"""Pictures that are stored as they came: encoded ones are decoded here, others only get their shape back."""

from __future__ import annotations

import io
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from loaders import cells
from loaders.errors import DecodeFailed, InvalidOption
from loaders.pool import Pool
from shards import Column

try:
    import simplejpeg
except ImportError:  # decodes JPEG faster than Pillow; nothing else needs it
    simplejpeg = None

JPEG = b"\xff\xd8\xff"
COLORS = {"rgb": "RGB", "gray": "GRAY"}


def is_encoded(column: Column) -> bool:
    """Whether the column holds the bytes of picture files."""
    return column.attributes.get("format") == "encoded"


def tensors(column: Column, found: cells.Cells) -> list[torch.Tensor]:
    """Give one tensor a picture, in the stored layout (decoded ones: height, width, channels).

    Raises
    ------
    DecodeFailed
        Bytes are no picture that the installed decoders read.
    """
    if isinstance(found, cells.Text):
        mode = str(column.attributes.get("mode", "rgb"))
        whole = found.values.tobytes()
        pairs = pairwise(found.bounds.tolist())
        return [torch.from_numpy(decode(whole[low:high], mode, column.name)) for low, high in pairs]
    if isinstance(found, cells.Record) and {"data", "shape"} <= set(found.members):
        return _shaped(column, found)
    raise InvalidOption(f"column {column.name}: an image of Arrow type {column.arrow_type} cannot be loaded")


def decode(data: bytes, mode: str, name: str = "image") -> npt.NDArray[np.uint8]:
    """Decode one picture to uint8 (height, width, channels); JPEG by simplejpeg where it is installed.

    A row that the pipeline could not use has no bytes; it becomes one black pixel.
    """
    if not data:
        return np.zeros((1, 1, {"gray": 1, "rgba": 4}.get(mode, 3)), np.uint8)
    try:
        if simplejpeg is not None and data.startswith(JPEG) and mode in COLORS:
            decoded: npt.NDArray[np.uint8] = simplejpeg.decode_jpeg(data, colorspace=COLORS[mode])
            return decoded
        from PIL import Image  # here, so that nothing but encoded pictures needs Pillow

        with Image.open(io.BytesIO(data)) as picture:
            array = np.array(picture.convert({"gray": "L", "rgba": "RGBA"}.get(mode, "RGB")))
    except (ValueError, OSError, SyntaxError) as error:
        raise DecodeFailed(f"column {name}: {len(data)} bytes cannot be decoded: {error}") from error
    return array if array.ndim == 3 else array[:, :, None]


def pad(column: Column, pictures: list[torch.Tensor], pool: Pool) -> dict[str, Any]:
    """Lay pictures into one tensor, filled with zeros at the bottom and at the right, with their sizes."""
    first = 1 if column.attributes.get("layout") == "chw" and not is_encoded(column) else 0
    sizes = np.array([picture.shape[first : first + 2] for picture in pictures], np.int64).reshape(-1, 2)
    shapes = np.array([picture.shape for picture in pictures], np.int64)
    shape = tuple(shapes.max(axis=0).tolist()) if len(pictures) else (0, 0, 0)
    kind = pictures[0].numpy().dtype if pictures else np.dtype(np.uint8)
    tensor, array = pool.zeros((len(pictures), *shape), kind)
    for position, picture in enumerate(pictures):
        corner: tuple[slice, ...] = tuple(slice(size) for size in picture.shape)
        array[position][corner] = picture.numpy()
    return {column.name: tensor, f"{column.name}__sizes": torch.from_numpy(sizes)}


def _shaped(column: Column, found: cells.Record) -> list[torch.Tensor]:
    data, shape = found.members["data"], found.members["shape"]
    assert isinstance(data, cells.Text)
    assert isinstance(shape, cells.FixedList)
    assert isinstance(shape.elements, cells.Fixed)
    dtype = np.dtype(str(column.attributes.get("dtype", "|u1")))
    shapes = shape.elements.values.reshape(-1, shape.size).tolist()
    found_tensors = []
    for (low, high), dimensions in zip(pairwise(data.bounds.tolist()), shapes, strict=True):
        array = data.values[low:high]
        if low % dtype.itemsize:  # a view of wider numbers must begin at a multiple of their size
            array = array.copy()
        found_tensors.append(torch.from_numpy(array.view(dtype).reshape(dimensions)))
    return found_tensors
