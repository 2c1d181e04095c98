"""A dataset as HTML and as a figure, whatever its pictures and numbers are."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from loaders import ShardDataset
from shards import Column
from tests.unit.loaders import datasets

NUM_ROWS = 5
SHAPED = "struct<data: large_binary, shape: fixed_size_list<int32>[3]>"


def dataset(root: Path, column: Column, values: Any) -> ShardDataset:
    """Write one column of five rows."""
    path = datasets.write(root, {column.name: (column, values)}, {"train": np.arange(NUM_ROWS)})
    return ShardDataset(path, lease_seconds=None)


def thumbnails(shown: ShardDataset) -> list[np.ndarray]:
    """Decode the pictures of the HTML."""
    found = re.findall(r"base64,([^\"]+)", shown._repr_html_())
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))) for data in found]


def drawn(shown: ShardDataset) -> Any:
    """Draw a figure, as far as pixels."""
    pytest.importorskip("matplotlib")
    figure = shown.plot(4)
    figure.savefig(io.BytesIO())
    return figure


@pytest.mark.parametrize("dtype", ["|u1", "|b1", "<u2", "<i4", "<f2", "<f4"])
@pytest.mark.parametrize(
    ("shape", "layout", "shown_as"),
    [
        ((6, 7), "hwc", (6, 7)),
        ((6, 7, 1), "hwc", (6, 7)),
        ((6, 7, 2), "hwc", (6, 7)),
        ((2, 6, 7), "chw", (6, 7)),
        ((6, 7, 3), "hwc", (6, 7, 3)),
        ((4, 6, 7), "chw", (6, 7, 3)),
        ((6, 7, 5), "hwc", (6, 7, 3)),
    ],
)
def test_pictures_of_any_channels(
    tmp_path: Path, shape: tuple[int, ...], layout: str, shown_as: tuple[int, ...], dtype: str
) -> None:
    values = np.random.default_rng(0).integers(0, 200, (NUM_ROWS, *shape)).astype(dtype)
    column = Column("image", "npy", dtype, shape, kind="image", attributes={"layout": layout})
    shown = dataset(tmp_path, column, values)
    assert [picture.shape for picture in thumbnails(shown)] == [shown_as] * NUM_ROWS
    assert len(drawn(shown).axes) == 4


def test_pictures_with_what_is_not_finite(tmp_path: Path) -> None:
    values = np.arange(4 * NUM_ROWS, dtype=np.float32).reshape(NUM_ROWS, 2, 2, 1)
    values[0, 0, 0] = np.nan
    values[1, 0, 0] = -np.inf
    values[2, 1, 1] = np.inf
    values[3] = np.nan
    shown = dataset(tmp_path, Column("image", "npy", "<f4", (2, 2, 1), kind="image"), values)
    pictures = sorted(picture.reshape(-1).tolist() for picture in thumbnails(shown))
    assert pictures == [
        [0, 0, 0, 0],  # nothing finite
        [0, 0, 128, 255],  # NaN
        [0, 0, 128, 255],  # -inf
        [0, 85, 170, 255],
        [0, 128, 255, 255],  # inf
    ]
    drawn(shown)


def test_pictures_of_many_shapes_and_of_none(tmp_path: Path) -> None:
    column = Column("image", "arrow", arrow_type=SHAPED, kind="image", attributes={"dtype": "|u1"})
    shapes = [(2, 3, 3), (0, 0, 3), (500, 2, 1), (4, 4, 2), (1, 1, 4)]
    cells = [{"data": bytes(int(np.prod(shape))), "shape": shape} for shape in shapes]
    shown = dataset(tmp_path, column, pa.array(cells, column.pyarrow_type))
    assert sorted(picture.shape for picture in thumbnails(shown)) == [
        (1, 1),  # no pixels
        (1, 1, 3),
        (2, 3, 3),
        (4, 4),
        (84, 1),
    ]
    drawn(shown)


def test_decoded_pictures_with_channels_first(tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.new("RGB", (7, 6)).save(file, "PNG")
    for size in (None, [3, 4]):
        about: dict[str, Any] = {"format": "encoded", "layout": "chw", "mode": "rgb", "fit": "none"}
        if size:
            about |= {"size": size, "fit": "stretch"}
        column = Column("image", "arrow", arrow_type="large_binary", kind="image", attributes=about)
        shown = dataset(
            tmp_path / str(size), column, pa.array([file.getvalue()] * NUM_ROWS, pa.large_binary())
        )
        assert {picture.shape for picture in thumbnails(shown)} == {(3, 4, 3) if size else (6, 7, 3)}


def test_no_picture_at_all(tmp_path: Path) -> None:
    """Rows of other dimensions than a picture's are not drawn."""
    film = Column("image", "npy", "|u1", (2, 6, 7, 3), kind="image")
    shown = dataset(tmp_path, film, np.zeros((NUM_ROWS, 2, 6, 7, 3), np.uint8))
    assert not thumbnails(shown)
    drawn(shown)


@pytest.mark.parametrize(
    ("values", "title"),
    [
        ([0.0, 1, 2, 3, 4], "x"),
        ([np.nan, 1, 2, 3, 4], "x, 1 not finite"),
        ([np.inf, -np.inf, 2, 3, 4], "x, 2 not finite"),
        ([np.nan] * 5, "x, 5 not finite"),
        ([0] * 5, "x"),
        ([1_700_000_000_000_000_000] * 5, "x"),
        ([1_700_000_000_000_000_000 + number for number in range(5)], "x"),
    ],
)
def test_histograms(tmp_path: Path, values: list[Any], title: str) -> None:
    array = np.array(values)
    shown = dataset(tmp_path, Column("x", "npy", array.dtype.str), array)
    (axes,) = drawn(shown).axes
    assert axes.get_title() == title
    assert sum(bar.get_height() for bar in axes.patches) == np.isfinite(array).sum()
