"""Layouts, memory formats and dtypes of batches: of every column that has them, in every form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from loaders import InvalidOption, MixedDataset, ShardDataset, UnknownName
from shards import Column
from tests.unit.loaders import datasets

NUM_ROWS = 24
SHAPED = "struct<data: large_binary, shape: fixed_size_list<int32>[3]>"
BOXES = "large_list<fixed_size_list<float32>[4]>"


def arrow(name: str, values: list[Any], arrow_type: str, kind: str, **about: Any) -> tuple[Column, pa.Array]:
    """Describe an Arrow column."""
    column = Column(name, "arrow", arrow_type=arrow_type, kind=kind, attributes=about)
    return column, pa.array(values, column.pyarrow_type)


def pictures(name: str, kind: str, layout: str) -> tuple[Column, pa.Array]:
    """Pictures of many shapes, in order of their pixels."""
    shapes = [(2 + row % 3, 3 + row % 2, 3) for row in range(NUM_ROWS)]
    shapes = [(c, h, w) if layout == "chw" else (h, w, c) for h, w, c in shapes]
    cells = [{"data": bytes(range(int(np.prod(shape)))), "shape": shape} for shape in shapes]
    return arrow(name, cells, SHAPED, kind, dtype="|u1", layout=layout)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of pictures that lie in every way, and of numbers that do."""
    dense = datasets.pictures(NUM_ROWS)
    columns = {
        "image": (Column("image", "npy", "|u1", (8, 8, 3), kind="image"), dense),
        "turned": (
            Column("turned", "npy", "|u1", (3, 8, 8), kind="image", attributes={"layout": "chw"}),
            np.ascontiguousarray(dense.transpose(0, 3, 1, 2)),
        ),
        "mask": (Column("mask", "npy", "|u1", (8, 8, 1), kind="mask_image"), dense[..., :1].copy()),
        "flat": (Column("flat", "npy", "|u1", (8, 8), kind="image"), dense[..., 0].copy()),
        "scan": pictures("scan", "image", "hwc"),
        "turned_scan": pictures("turned_scan", "image", "chw"),
        "scan_mask": pictures("scan_mask", "mask_image", "hwc"),
        "number": arrow("number", list(range(NUM_ROWS)), "int64", "number"),
        "pair": arrow("pair", [[row, 1] for row in range(NUM_ROWS)], "fixed_size_list<int64>[2]", "vector"),
        "tokens": arrow("tokens", [[7] * (row % 4) for row in range(NUM_ROWS)], "list<int64>", "list"),
        "lists": arrow("lists", [[[row]] for row in range(NUM_ROWS)], "list<list<int64>>", "list"),
        "boxes": arrow("boxes", [[[row, 0, 1, 2]] for row in range(NUM_ROWS)], BOXES, "boxes"),
        "text": arrow("text", ["t"] * NUM_ROWS, "string", "text"),
        "record": arrow("record", [{"a": 1}] * NUM_ROWS, "struct<a: int64>", "record"),
    }
    return datasets.write(
        tmp_path_factory.mktemp("layouts"), columns, {"train": np.arange(NUM_ROWS)}, shard_bytes=2000
    )


TURNED = ("image", "mask", "scan", "scan_mask")


def turned(name: str, value: Any) -> Any:
    """Put channels first in what is stored otherwise."""
    if name not in TURNED:
        return value
    if isinstance(value, list):
        return [picture.permute(2, 0, 1) for picture in value]
    return value.permute(0, 3, 1, 2)


def tensors(value: Any) -> list[torch.Tensor]:
    """Give the tensors that a value is made of."""
    if isinstance(value, list):
        return value
    return list(value.unbind()) if value.is_nested else [value]


@pytest.mark.parametrize("options", [{"num_threads": 0}, {"num_threads": 2}, {"device_cache": True}])
@pytest.mark.parametrize("images", ["list", "padded"])
@pytest.mark.parametrize("ragged", ["padded", "nested", "flat"])
def test_every_column_is_cast_and_turned(path: Path, ragged: Any, images: Any, options: Any) -> None:
    train = ShardDataset(path, ragged=ragged, images=images)
    wanted = {name: torch.float64 for name in train.schema if name not in ("text", "record")}
    loader = train.loader(5, layout="chw", dtypes=wanted, **options)
    for batch, stored in zip(loader, train.loader(5), strict=True):
        assert list(batch) == list(stored)
        for name, value in stored.items():
            if name not in wanted:
                same = torch.equal(batch[name], value) if isinstance(value, torch.Tensor) else True
                assert same
                continue
            pairs = zip(tensors(batch[name]), tensors(turned(name, value)), strict=True)
            assert all(torch.equal(one, other.double()) for one, other in pairs), name
            assert all(one.dtype == torch.float64 for one in tensors(batch[name])), name


@pytest.mark.parametrize("images", ["list", "padded"])
def test_memory_formats(path: Path, images: Any) -> None:
    names = [*TURNED, "turned", "turned_scan", "flat"]
    train = ShardDataset(path, columns=names, images=images)
    for chosen in (torch.contiguous_format, torch.channels_last):
        loader = train.loader(5, layout="chw", memory_format=chosen)
        for batch, stored in zip(loader, train.loader(5), strict=True):
            for name in names:
                found, values = batch[name], turned(name, stored[name])
                if isinstance(found, list):
                    found, values = found[1], values[1]
                assert torch.equal(found, values), name
                whole = found[None] if found.dim() == 3 and name != "flat" else found
                if name != "flat":
                    assert whole.is_contiguous(memory_format=chosen), name


def test_what_has_no_dtype(path: Path) -> None:
    train = ShardDataset(path)
    with pytest.raises(UnknownName, match=r"what is loaded has no column 'zz'; it has: boxes, flat"):
        train.loader(4, dtypes={"zz": torch.int8})
    with pytest.raises(UnknownName, match="no column 'tokens__lengths'"):
        train.loader(4, dtypes={"tokens__lengths": torch.int32})
    with pytest.raises(UnknownName, match="no column 'number'; it has: text"):
        ShardDataset(path, columns=["text"]).loader(4, dtypes={"number": torch.int8})
    for name, kind in (("text", "string"), ("record", "struct<a: int64>")):
        with pytest.raises(InvalidOption, match=rf"'{name}'\]: a column of {kind}; allowed: numbers"):
            train.loader(4, dtypes={name: torch.int8})
    with pytest.raises(InvalidOption, match="allowed: a dtype of torch"):
        train.loader(4, dtypes={"number": "float32"})
    with pytest.raises(InvalidOption, match=r"allowed: torch\.contiguous_format, torch\.channels_last"):
        train.loader(4, memory_format=torch.preserve_format)


def test_nulls_have_no_dtype(tmp_path: Path) -> None:
    columns = {"number": arrow("number", [1, 2, None, 4], "int64", "number")}
    train = ShardDataset(datasets.write(tmp_path, columns, {"train": np.arange(4)}))
    loader = train.loader(2, dtypes={"number": torch.int8}, num_threads=0)
    with pytest.raises(InvalidOption, match=r"dtypes\['number'\]: a batch has nulls"):
        list(loader)


def one_picture(
    root: Path, layout: str, name: str = "image", kind: str = "image", side_px: int = 3
) -> ShardDataset:
    """A dataset of one column of 20 square pictures of three channels."""
    values = datasets.pictures(20, side_px)
    if layout == "chw":
        values = np.ascontiguousarray(values.transpose(0, 3, 1, 2))
    column = Column(name, "npy", "|u1", values.shape[1:], kind=kind, attributes={"layout": layout})
    path = datasets.write(root, {name: (column, values)}, {"train": np.arange(20)})
    return ShardDataset(path, lease_seconds=None)


def test_batches_of_a_mixture_are_laid_out_as_their_own_dataset_says(tmp_path: Path) -> None:
    parts = [
        one_picture(tmp_path / "0", "hwc", side_px=5),
        one_picture(tmp_path / "1", "chw", side_px=7),
        one_picture(tmp_path / "2", "hwc", name="photo"),
    ]
    mixed = MixedDataset(parts, mix="batch")
    dtypes = {"photo": torch.float32}
    shapes = {
        (batch["source"], name, tuple(value.shape), value.dtype)
        for batch in mixed.loader(4, layout="chw", dtypes=dtypes, num_threads=1, num_samples=400)
        for name, value in batch.items()
        if name != "source"
    }
    assert shapes == {
        (0, "image", (4, 3, 5, 5), torch.uint8),
        (1, "image", (4, 3, 7, 7), torch.uint8),
        (2, "photo", (4, 3, 3, 3), torch.float32),
    }
    with pytest.raises(UnknownName, match="no column 'zz'; it has: image, photo"):
        mixed.loader(4, dtypes={"zz": torch.int8})


def test_samples_of_other_layouts_and_kinds_are_not_mixed(tmp_path: Path) -> None:
    image = one_picture(tmp_path / "hwc", "hwc")
    for name, other in (
        ("channels first", one_picture(tmp_path / "chw", "chw")),
        ("vector", one_picture(tmp_path / "kind", "hwc", kind="vector")),
    ):
        with pytest.raises(InvalidOption, match=rf"have other columns: image \(image .*{name}"):
            MixedDataset([image, other])
    batch = next(iter(MixedDataset([image, image]).loader(8, layout="chw")))
    assert batch["image"].shape == (8, 3, 3, 3)
    assert batch["image"].stride()[1] == 1


def test_samples_of_other_fits_and_codes_are_not_mixed(tmp_path: Path) -> None:
    column = Column("label", "npy", "<i4", kind="category")
    labels = np.arange(6, dtype=np.int32) % 3
    fits = {"label": [{"op": "one_hot", "num_codes": 3}]}

    def labelled(name: str, values: list[str], **options: Any) -> ShardDataset:
        known = {"label": pa.array(values)}
        written = {"label": (column, labels)}
        rows = {"train": np.arange(6)}
        path = datasets.write(tmp_path / name, written, rows, vocabularies=known, **options)
        return ShardDataset(path)

    plain = labelled("plain", ["a", "b", "c"])
    more = labelled("more", ["a", "b", "c", "d"])
    assert next(iter(MixedDataset([plain, more]).loader(4)))["label"].shape == (4,)
    with pytest.raises(InvalidOption, match="other values for the codes of label"):
        MixedDataset([plain, labelled("other", ["a", "c", "b"])])
    fitted = labelled("fitted", ["a", "b", "c"], transforms=fits)
    with pytest.raises(InvalidOption, match=r"torch.int32 \[\]\); and label \(category torch.float32 \[3\]"):
        MixedDataset([plain, fitted])
    assert next(iter(MixedDataset([fitted, fitted]).loader(4)))["label"].shape == (4, 3)
    unfitted = ShardDataset(fitted.selection.path, fits=False)
    assert next(iter(MixedDataset([plain, unfitted]).loader(4)))["label"].shape == (4,)
    changed = ShardDataset(plain.selection.path, transform=lambda batch: batch)
    with pytest.raises(InvalidOption, match="a transform of their own cannot be mixed"):
        MixedDataset([plain, changed])


@pytest.mark.parametrize("mix", ["sample", "batch"])
def test_a_column_called_as_the_number_of_the_dataset_is_refused(tmp_path: Path, mix: Any) -> None:
    columns = {name: (Column(name, "npy", "<i8"), np.arange(9)) for name in ("source", "x")}
    path = datasets.write(tmp_path, columns, {"train": np.arange(9)})
    with pytest.raises(InvalidOption, match=r"datasets b have a column 'source'.*by columns="):
        MixedDataset({"a": ShardDataset(path, columns=["x"]), "b": ShardDataset(path)}, mix=mix)
    MixedDataset([ShardDataset(path, columns=["x"])] * 2, mix=mix)
