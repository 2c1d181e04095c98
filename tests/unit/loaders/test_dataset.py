"""ShardDataset: values, forms, selections, copies and views, texts about itself."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from loaders import InvalidOption, ShardDataset, UnknownName
from loaders.testing import equal
from shards import Column
from tests.unit.loaders import datasets

Everything = tuple[Path, dict[str, Any]]


def check_row(batch: Mapping[str, Any], place: int, values: Mapping[str, Any], row: int) -> None:
    """Compare one row of a padded batch with what was written."""
    assert np.array_equal(batch["image"][place].numpy(), values["image"][row])
    assert int(batch["label"][place]) == values["label"][row]
    assert bool(batch["age__present"][place]) == values["age__present"][row]
    assert np.array_equal(batch["vector"][place].numpy(), values["vector"][row])
    length = int(batch["tokens__lengths"][place])
    assert batch["tokens"][place, :length].tolist() == values["tokens"][row]
    assert not batch["tokens"][place, length:].any()
    nested = values["nested"][row]
    assert int(batch["nested__lengths"][place]) == len(nested)
    for number, inner in enumerate(nested):
        assert int(batch["nested__lengths_2"][place, number]) == len(inner)
        assert batch["nested"][place, number, : len(inner)].tolist() == inner
    for name in ("text", "raw", "words", "record"):
        assert batch[name][place] == values[name][row]
    assert int(batch["moment"][place]) == values["moment"][row]


def test_samples_and_batches(everything: Everything) -> None:
    path, values = everything
    test = ShardDataset(path, "test")
    rows = values["test"]
    assert len(test) == len(rows)
    batch = test[10:60]
    for place in range(50):
        check_row(batch, place, values, rows[10 + place])
    sample = test[-1]
    assert sample["tokens"].tolist() == values["tokens"][rows[-1]]
    assert sample["record"] == values["record"][rows[-1]]
    assert sample["nested"] == values["nested"][rows[-1]]
    assert sample["image"].shape == (8, 8, 3)
    assert test[1]["record"] is None
    shuffled = np.random.default_rng(0).permutation(len(rows))
    mixed = test.batch(np.concatenate([shuffled, shuffled[:3]]))
    for place in (0, 50, len(rows) + 2):
        check_row(mixed, place, values, rows[shuffled[place % len(rows)]])
    assert test[5:5]["image"].shape == (0, 8, 8, 3)
    assert list(batch)[:3] == ["image", "label", "age"]
    for wrong in (len(test), -len(test) - 1):
        with pytest.raises(IndexError):
            test[wrong]
    with pytest.raises(IndexError, match="allowed: 0 to"):
        test.batch([0, len(test)])


def test_forms(everything: Everything) -> None:
    path, values = everything
    rows = values["train"][:40]
    flat = ShardDataset(path, "train", columns=["tokens"], ragged="flat")[:40]
    pairs = zip(flat["tokens__offsets"][:-1].tolist(), flat["tokens__offsets"][1:].tolist(), strict=True)
    assert [flat["tokens"][a:b].tolist() for a, b in pairs] == [values["tokens"][row] for row in rows]
    nested = ShardDataset(path, "train", columns=["tokens"], ragged="nested")[:40]
    assert [part.tolist() for part in nested["tokens"].unbind()] == [values["tokens"][row] for row in rows]
    assert nested["tokens__lengths"].tolist() == [len(values["tokens"][row]) for row in rows]
    columns = ShardDataset(path, "train", columns=["record"], records="columns")[:3]["record"]
    assert columns["source"] == ["s1", "s2", "s3"]
    assert columns["flag"].tolist() == [False, True, False]
    assert columns["lang"]["conf"].dtype == torch.float64
    arrow = ShardDataset(path, "test", columns=["record"], records="arrow")[:]["record"]
    assert isinstance(arrow, pa.StructArray)
    arrow.validate(full=True)
    assert arrow.to_pylist() == [values["record"][row] for row in values["test"]]
    for wrong in ({"ragged": "square"}, {"records": "rows"}, {"images": "stack"}):
        with pytest.raises(InvalidOption, match="allowed"):
            ShardDataset(path, "train", **wrong)  # type: ignore[arg-type]


def test_whole_columns(everything: Everything) -> None:
    path, values = everything
    test = ShardDataset(path, "test")
    table = test.to_arrow()
    table.validate(full=True)
    for name in ("tokens", "nested", "text", "raw", "words", "record", "label"):
        assert table[name].to_pylist() == [values[name][row] for row in values["test"]], name
    assert table["image"].to_pylist()[3] == values["image"][values["test"][3]].tolist()
    arrays = test.to_numpy([4, 2])
    assert np.array_equal(arrays["image"], values["image"][values["test"][[4, 2]]])
    assert arrays["tokens"].tolist() == [values["tokens"][values["test"][k]] for k in (4, 2)]
    assert arrays["moment"].dtype == np.int64


def test_long_lists_and_texts(tmp_path: Path) -> None:
    """Long values are copied run by run, short ones at once; both give the same."""
    rng = np.random.default_rng(0)
    lists = [rng.integers(0, 9, n).tolist() for n in (0, 400, 3, 0, 90, 1000)] * 9
    texts = ["", "ä" * 300, "x" * 900, "short", "y" * 70, "z"] * 9
    for arrow_type, shard_bytes in (("list<int32>", 256 << 20), ("large_list<int32>", 4000)):
        columns = {
            "n": (Column("n", "npy", "<i8"), np.arange(54)),
            "lists": (
                Column("lists", "arrow", arrow_type=arrow_type, kind="list"),
                pa.array(lists, pa.large_list(pa.int32()) if "large" in arrow_type else pa.list_(pa.int32())),
            ),
            "texts": (
                Column("texts", "arrow", arrow_type="string", kind="text"),
                pa.array(texts, pa.string()),
            ),
        }
        path = datasets.write(
            tmp_path / arrow_type[:5], columns, {"train": np.arange(54)}, shard_bytes=shard_bytes
        )
        padded, flat = (ShardDataset(path, ragged=form)[::-1] for form in ("padded", "flat"))  # type: ignore[arg-type]
        for place, row in enumerate(range(53, -1, -1)):
            length = int(padded["lists__lengths"][place])
            assert padded["lists"][place, :length].tolist() == lists[row]
            assert not padded["lists"][place, length:].any()
            low, high = flat["lists__offsets"][place : place + 2].tolist()
            assert flat["lists"][low:high].tolist() == lists[row]
            assert padded["texts"][place] == texts[row]
        assert ShardDataset(path)[1]["lists"].tolist() == lists[1]


@pytest.mark.parametrize("arrow_type", ["string", "large_string", "list<string>"])
def test_texts_with_zero_bytes(tmp_path: Path, arrow_type: str) -> None:
    """Texts of a batch are told apart by zeros; those that have zeros of their own stay what they are."""
    texts: list[str | None] = ["", "a", "ä\0ö", "\0", "x" * 500, None, "\0\0", "b", "z\0"] * 3
    plain = [text or "" for text in texts]
    nested = arrow_type.startswith("list")
    given = pa.array(
        [[text] for text in plain] if nested else texts,
        Column("t", "arrow", arrow_type=arrow_type).pyarrow_type,
    )
    columns = {"t": (Column("t", "arrow", arrow_type=arrow_type, kind="list" if nested else "text"), given)}
    path = datasets.write(tmp_path, columns, {"train": np.arange(27)}, shard_bytes=1000)
    expected = given.to_pylist()
    train = ShardDataset(path)
    for rows in ([0, 1, 7], [2], range(27), [26, 4, 5, 0], [0, 0, 0]):
        assert train.batch(list(rows))["t"] == [expected[row] for row in rows]
    assert train.to_arrow([8, 4, 5, 0])["t"].to_pylist() == [expected[row] for row in (8, 4, 5, 0)]
    assert [text for batch in train.loader(4, num_threads=1) for text in batch["t"]] == expected


def test_views_of_columns_with_other_shards(tmp_path: Path) -> None:
    """Batches in order are views where all shards allow it, alike for every rank, group and fit."""
    rng = np.random.default_rng(0)
    size = 3000
    columns = {
        "image": (Column("image", "npy", "|u1", (8, 8, 3), kind="image"), datasets.pictures(size)),
        "x": (Column("x", "npy", "<f4", (5,), kind="vector"), rng.standard_normal((size, 5), np.float32)),
        "t": (
            Column("t", "arrow", arrow_type="string", kind="text"),
            pa.array([f"t{n}" for n in range(size)]),
        ),
    }
    fits = {"x": [{"op": "standardize", "mean": [0.5] * 5, "std": [2.0] * 5}]}
    path = datasets.write(
        tmp_path, columns, {"train": np.arange(size)}, num_partitions=3, shard_bytes=30_000, transforms=fits
    )
    view, own = ShardDataset(path, read_only=True), ShardDataset(path)
    for options in ({}, {"num_threads": 0}, {"rank": 1, "world_size": 3}, {"dtypes": {"x": torch.float64}}):
        pairs = zip(view.loader(100, **options), own.loader(100, **options), strict=True)
        assert sum(equal(one, other) for one, other in pairs) == len(own.loader(100, **options))


def test_selection(everything: Everything, tmp_path: Path) -> None:
    path, _ = everything
    some = ShardDataset(path, "train", columns=["age", "label"])
    assert list(some.schema) == ["age", "age__present", "label"]
    assert list(some[0]) == ["age", "age__present", "label"]
    for arguments, message in (
        ({"split": "dev"}, "no split 'dev'; it has: test, train"),
        ({"split": "train", "columns": ["colour"]}, "no column 'colour'; it has: age"),
        ({"split": "train", "subset": "few"}, "no subset 'few'; it has: none"),
    ):
        with pytest.raises(UnknownName, match=message):
            ShardDataset(path, **arguments)  # type: ignore[arg-type]
    with pytest.raises(InvalidOption, match="split is not given"):
        ShardDataset(path)
    with pytest.raises(InvalidOption, match="a list of names"):
        ShardDataset(path, "train", columns="label")
    subsets = {"few": ("train", [9, 3, 3, 4])}
    other, values = datasets.mixed(tmp_path, 60, subsets=subsets)
    few = ShardDataset(other, subset="few", columns=["label"])
    assert few[:]["label"].tolist() == [values["label"][row] for row in (9, 3, 3, 4)]
    with pytest.raises(InvalidOption, match="lies in split 'train'"):
        ShardDataset(other, "test", subset="few")


def test_own_memory(everything: Everything) -> None:
    path, values = everything
    train = ShardDataset(path, "train", columns=["image"])
    first = values["image"][values["train"][0]]
    for batch in (train[0:4], train[0], train.batch([0, 1])):
        batch["image"].fill_(7)
    for batch in train.loader(4):
        batch["image"].fill_(7)
    assert np.array_equal(train[0]["image"].numpy(), first)
    kept = [batch["image"] for batch in train.loader(16, shuffle=True, num_threads=2)]
    again = [batch["image"].clone() for batch in train.loader(16, shuffle=True, num_threads=2, seed=0)]
    assert all(torch.equal(one, other) for one, other in zip(kept, again, strict=True))


def test_views(tmp_path: Path) -> None:
    image = (Column("image", "npy", "|u1", (8, 8, 3), kind="image"), datasets.pictures(40_000))
    path = datasets.write(tmp_path, {"image": image}, {"train": np.arange(40_000)}, shard_bytes=4 << 20)
    view = ShardDataset(path, read_only=True)
    own = ShardDataset(path)
    column = view.opened.columns["image"]
    inside = 0
    for one, other in zip(view.loader(1000), own.loader(1000), strict=True):
        assert torch.equal(one["image"], other["image"])
        mapped = [(array.ctypes.data, array.nbytes) for array in column._open.arrays.values()]
        inside += any(0 <= one["image"].data_ptr() - start < num_bytes for start, num_bytes in mapped)
    assert 20 <= inside < 40  # batches near a shard's end are copies
    assert torch.equal(view[3]["image"], own[3]["image"])
    assert torch.equal(view.batch([5, 4, 6])["image"], own.batch([5, 4, 6])["image"])


def test_pickles_small_and_pinned_to_a_version(everything: Everything) -> None:
    path, values = everything
    train = ShardDataset(path, "train")
    data = pickle.dumps(train)
    assert len(data) < 1000
    other = pickle.loads(data)
    assert other.selection.version == train.version == 1
    assert equal(other[3], train[3])
    assert len(values["train"]) == len(other)


def test_copies_share_what_is_mapped(tmp_path: Path) -> None:
    """And with it the lease, which is given back with the last of them."""
    path, _ = datasets.mixed(tmp_path, 20)
    train = ShardDataset(path, "train", columns=["image", "label"])
    leases = [file for file in path.rglob("*") if file.is_file() and "lease" in str(file.relative_to(path))]
    assert len(leases) == 1
    stored, other = train.as_stored(), copy.copy(train)
    assert stored.opened is train.opened is other.opened
    assert "base64" in train._repr_html_()
    after = [file for file in path.rglob("*") if file.is_file() and "lease" in str(file.relative_to(path))]
    assert after == leases
    del train, other
    assert leases[0].exists()
    assert len(stored[:]["label"]) == 16
    del stored
    assert not leases[0].exists()


def test_says_what_it_is(everything: Everything) -> None:
    path, _ = everything
    train = ShardDataset(path, "train", columns=["image", "label", "text"])
    lines = repr(train).splitlines()
    assert lines[0] == f"ShardDataset('{path}', 'train', version=1): 400 samples"
    assert lines[1] == "  image: image uint8[8, 8, 3]"
    assert train._repr_html_().count("data:image/png;base64,") == 12
    assert equal(train.sample(3, seed=1), train.sample(3, seed=1))
    assert len({sample["text"] for sample in train.sample(10_000)}) == 400
    assert train.splits == ["test", "train"] or train.splits == ["train", "test"]


def test_plots(everything: Everything) -> None:
    pytest.importorskip("matplotlib")
    path, _ = everything
    figure = ShardDataset(path, "train", columns=["image", "label"]).plot(9)
    assert len(figure.axes) == 9
    assert figure.axes[0].images[0].get_array().shape == (8, 8, 3)
    assert len(ShardDataset(path, "train", columns=["age", "label"]).plot().axes) == 3


def test_fits_are_applied_everywhere(tmp_path: Path) -> None:
    transforms = {"vector": [{"op": "standardize", "mean": [1.0] * 5, "std": [2.0] * 5}]}
    path, values = datasets.mixed(tmp_path, 100, transforms=transforms)
    wanted = (torch.from_numpy(values["vector"][values["train"]]) - 1) / 2
    train = ShardDataset(path, "train", columns=["vector"])
    torch.testing.assert_close(train[:]["vector"], wanted)
    torch.testing.assert_close(train[3]["vector"], wanted[3])
    torch.testing.assert_close(torch.cat([b["vector"] for b in train.loader(16)]), wanted)
    stored = ShardDataset(path, "train", columns=["vector"], fits=False)
    assert torch.equal(stored[:]["vector"], torch.from_numpy(values["vector"][values["train"]]))
    twice = ShardDataset(path, "train", columns=["vector"], transform=_double)
    torch.testing.assert_close(twice[3]["vector"], 2 * wanted[3])
    torch.testing.assert_close(torch.cat([b["vector"] for b in twice.loader(16)]), 2 * wanted)


def _double(batch: dict[str, Any]) -> dict[str, Any]:
    return {name: 2 * value for name, value in batch.items()}


def test_samples_gathered_together_are_those_gathered_alone(tmp_path):
    path, _ = datasets.mixed(tmp_path, 60)
    dataset = ShardDataset(path, split="train")
    numbers = [7, 3, 3, 40]
    together = dataset.__getitems__(numbers)
    for number, sample in zip(numbers, together, strict=True):
        alone = dataset[number]
        assert list(sample) == list(alone)
        for name, value in alone.items():
            if isinstance(value, torch.Tensor):
                assert torch.equal(sample[name], value), name
                assert sample[name].dtype == value.dtype
            else:
                assert sample[name] == value, name
    kept, batch = together[1], together.collated()
    kept["image"].fill_(0)  # a sample is its own, whatever happens to the others
    assert int(batch["image"][1].sum()) > 0
    assert kept["image"].untyped_storage().nbytes() == kept["image"].nbytes
