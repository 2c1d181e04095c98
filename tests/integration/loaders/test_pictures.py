"""Pictures that are stored encoded, or in many shapes, on their way through the loader."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image

from loaders import DecodeFailed, ShardDataset
from loaders.testing import check_resume
from shards import Column
from tests.unit.loaders import datasets

NUM_ROWS = 60
SHAPED = "struct<data: large_binary, shape: fixed_size_list<int32>[3]>"


def encoded(picture: np.ndarray, form: str) -> bytes:
    """Make a picture file."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, form)
    return file.getvalue()


def decoded(data: bytes) -> np.ndarray:
    """Read a picture file."""
    with Image.open(io.BytesIO(data)) as picture:
        return np.array(picture.convert("RGB"))


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, list[np.ndarray]]]:
    """A dataset of encoded and of varying pictures in several shards, and what its pictures are."""
    rng = np.random.default_rng(0)
    shapes = [(3 + number % 7, 4 + number % 5, 3) for number in range(NUM_ROWS)]
    varying = [rng.integers(0, 256, shape, dtype=np.uint8) for shape in shapes]
    smooth = [
        np.tile(np.arange(16, dtype=np.uint8)[:, None, None] * 9, (1, 8 + n % 3, 3)) for n in range(NUM_ROWS)
    ]
    files = [encoded(picture, ("JPEG", "PNG")[number % 2]) for number, picture in enumerate(smooth)]
    cells = [{"data": array.tobytes(), "shape": array.shape} for array in varying]
    columns: dict[str, tuple[Column, Any]] = {
        "n": (Column("n", "npy", "<i8"), np.arange(NUM_ROWS)),
        "photo": (
            Column(
                "photo",
                "arrow",
                arrow_type="large_binary",
                kind="image",
                attributes={"format": "encoded", "mode": "rgb"},
            ),
            pa.array(files, pa.large_binary()),
        ),
        "scan": (
            Column("scan", "arrow", arrow_type=SHAPED, kind="image", attributes={"dtype": "|u1"}),
            pa.array(cells, Column("scan", "arrow", arrow_type=SHAPED).pyarrow_type),
        ),
    }
    path = datasets.write(
        tmp_path_factory.mktemp("pictures"), columns, {"train": np.arange(NUM_ROWS)}, shard_bytes=3000
    )
    return path, {"photo": [decoded(file) for file in files], "scan": varying}


@pytest.mark.parametrize("name", ["photo", "scan"])
@pytest.mark.parametrize("options", [{"num_threads": 0}, {"num_threads": 2}, {"device_cache": True}])
@pytest.mark.parametrize("form", ["list", "padded"])
def test_pictures_of_many_shapes(stored: Any, name: str, options: dict[str, Any], form: Any) -> None:
    path, pictures = stored
    train = ShardDataset(path, columns=["n", name], images=form)
    rows = []
    for batch in train.loader(7, shuffle=True, device="cpu", **options):
        found = batch["n"].tolist()
        rows += found
        expected = [pictures[name][row] for row in found]
        if form == "list":
            shown = batch[name]
        else:
            sizes = batch[f"{name}__sizes"].tolist()
            assert sizes == [list(picture.shape[:2]) for picture in expected]
            shown = [
                padded[:height, :width] for padded, (height, width) in zip(batch[name], sizes, strict=True)
            ]
            assert int(batch[name].sum()) == sum(int(picture.sum()) for picture in expected)  # zeros around
        for tensor, picture in zip(shown, expected, strict=True):
            assert tensor.dtype == torch.uint8
            assert np.array_equal(tensor.numpy(), picture)
    assert sorted(rows) == list(range(NUM_ROWS))


@pytest.mark.parametrize("form", ["list", "padded"])
def test_resumes_at_every_step(stored: Any, form: Any) -> None:
    train = ShardDataset(stored[0], images=form)
    check_resume(lambda: train.loader(16, shuffle=True, num_threads=1))


@pytest.mark.parametrize("layout", ["hwc", "chw"])
@pytest.mark.parametrize("form", ["list", "padded"])
@pytest.mark.parametrize("is_encoded", [True, False])
def test_layout_and_fits_of_pictures_of_many_shapes(
    tmp_path: Path, is_encoded: bool, form: Any, layout: str
) -> None:
    """As of pictures of one shape: both kinds lie as the layout says, and are standardized by channel."""
    rng = np.random.default_rng(0)
    arrays = [rng.integers(0, 256, (3 + n % 4, 5, 3), dtype=np.uint8) for n in range(12)]
    order = (2, 0, 1) if layout == "chw" else (0, 1, 2)
    turned = [np.ascontiguousarray(array.transpose(order)) for array in arrays]
    about: dict[str, Any] = {"layout": layout, "mode": "rgb"} | (
        {"format": "encoded", "fit": "none"} if is_encoded else {"dtype": "|u1"}
    )
    arrow_type = "large_binary" if is_encoded else SHAPED
    column = Column("image", "arrow", arrow_type=arrow_type, kind="image", attributes=about)
    rows: list[Any] = [encoded(array, "PNG") for array in arrays]
    if not is_encoded:
        rows = [{"data": array.tobytes(), "shape": array.shape} for array in turned]
    mean, std = [10.0, 20.0, 30.0], [2.0, 4.0, 8.0]
    step = {"op": "standardize", "mean": mean, "std": std, "axis": 1 if layout == "chw" else -1}
    path = datasets.write(
        tmp_path,
        {"image": (column, pa.array(rows, column.pyarrow_type))},
        {"train": np.arange(12)},
        transforms={"image": [step]},
    )
    fitted = [((array - np.float32(mean)) / np.float32(std)).transpose(order) for array in arrays]
    for fits, wanted in ((True, fitted), (False, turned)):
        train = ShardDataset(path, images=form, fits=fits)
        shown = [picture for batch in train.loader(5, num_threads=1) for picture in batch["image"]]
        shown += [picture for batch in train.loader(5, device_cache=True) for picture in batch["image"]]
        shown += [train[number]["image"] for number in range(12)]
        shown += [sample["image"] for sample in train.__getitems__(range(12))]
        for picture, array in zip(shown, wanted * 4, strict=True):
            corner = picture[tuple(slice(size) for size in array.shape)]
            np.testing.assert_allclose(corner.numpy(), array, rtol=1e-6)
            assert picture.abs().sum() == corner.abs().sum()  # zeros around
            assert picture.dtype == (torch.float32 if fits else torch.uint8)


def test_bytes_that_are_no_picture(tmp_path: Path) -> None:
    column = Column(
        "photo", "arrow", arrow_type="large_binary", kind="image", attributes={"format": "encoded"}
    )
    files = [encoded(np.zeros((4, 4, 3), np.uint8), "PNG"), b"no picture", b""]
    path = datasets.write(
        tmp_path, {"photo": (column, pa.array(files, pa.large_binary()))}, {"train": np.arange(3)}
    )
    train = ShardDataset(path)
    assert train[2]["photo"].shape == (1, 1, 3)  # a row that the pipeline could not use
    with pytest.raises(DecodeFailed, match="column photo: 10 bytes cannot be decoded"):
        list(train.loader(3, num_threads=1))
