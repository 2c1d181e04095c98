"""Where pictures are stored encoded, a training job sees what it would see of stored pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bson import Binary
from pymongo import MongoClient
from pymongo.database import Database

from assets.columns.snapshot import build_snapshot
from assets.mongo.build import build_documents
from assets.plan import fields_of
from assets.quality.pictures import budget_findings
from assets.report import Built, Report
from assets.spec import DatasetSpec
from assets.vision.build import build_images
from loaders import ShardDataset
from loaders.transforms import Transforms
from shards import InvalidArgument, ShardStore
from tests.unit.vision.corpus import Sample, corpus

Document = dict[str, Any]

FORMS: dict[str, Document] = {
    "crop": {"size": [56, 56], "shorter_side": 64},
    "padded": {
        "size": [40, 64],
        "fit": "contain",
        "filter": "lanczos",
        "layout": "chw",
        "pad_color": [9, 8, 7],
    },
    "stretched": {"size": [50, 30], "fit": "stretch", "filter": "bicubic", "mode": "gray"},
    "nearest": {"size": [37, 53], "filter": "nearest"},
    "area": {"size": [40, 30], "filter": "area", "mode": "rgba", "fit": "contain", "pad_color": [1, 2, 3]},
}


class Pictures:
    """A collection, its store, and the way from one to the other."""

    def __init__(
        self, client: MongoClient[Document], database: Database[Document], store: ShardStore
    ) -> None:
        self.client, self.database, self.store = client, database, store

    def spec(self, columns: Document, **members: Any) -> DatasetSpec:
        return DatasetSpec.model_validate(
            {
                "name": "pictures",
                "source": {"database": self.database.name, "collection": "pictures"},
                "columns": columns,
                "splits": {"by": "hash", "fractions": {"train": 1.0}},
                "checks": {"max_broken_image_share": 1.0, "max_split_leaks": 1_000_000},
                **members,
            }
        )

    def insert(self, samples: list[Sample]) -> None:
        first = self.database.pictures.count_documents({})
        self.database.pictures.insert_many(
            [{"_id": first + n, "image": Binary(sample.data)} for n, sample in enumerate(samples)]
        )

    def images(self, spec: DatasetSpec, partition: str = "all") -> Report:
        build_documents(spec, partition, fields_of(spec), client=self.client, store=self.store)
        return build_images(spec, partition, store=self.store, client=self.client)

    def train(
        self, spec: DatasetSpec, partitions: tuple[str, ...] = ("all",), **options: Any
    ) -> ShardDataset:
        build_snapshot(spec, partitions, store=self.store)
        return ShardDataset(Path(self.store.root) / "pictures", split="train", **options)


@pytest.fixture
def pictures(
    mongo_client: MongoClient[Document], database: Database[Document], store: ShardStore
) -> Pictures:
    return Pictures(mongo_client, database, store)


def test_batches_are_those_of_stored_pixels(pictures: Pictures) -> None:
    """Every format and mode of the corpus, every fit and filter, broken ones too: within two levels."""
    columns = {
        f"{name}_{store}": {
            "kind": "image",
            "path": "image",
            "store": store,
            "perceptual_hash": True,
            "transform": ["standardize"],
            "required": False,
            **members,
        }
        for name, members in FORMS.items()
        for store in ("pixels", "encoded")
    }
    spec = pictures.spec(columns)
    samples = [*corpus()[::4], Sample("broken", b"broken")]
    pictures.insert(samples)
    pictures.images(spec)
    train = pictures.train(spec)
    assert len(train) == len(samples)
    whole = train.as_stored().batch(np.arange(len(train)))
    fitted = train.batch(np.arange(len(train)))
    version = pictures.store.latest("pictures", "images")
    assert version is not None
    assert version.columns["crop_encoded"].attributes["format"] == "encoded"
    for name in FORMS:
        pixels, decoded = whole[f"{name}_pixels"], whole[f"{name}_encoded"]
        assert decoded.dtype == torch.uint8
        assert decoded.shape == pixels.shape
        assert int((decoded.int() - pixels.int()).abs().max()) <= 2, name
        assert not decoded[-1].any(), "a broken picture is zeros in both"
        assert fitted[f"{name}_encoded"].dtype == torch.float32
        sums = [np.asarray(version.column(f"{name}_{store}__sums").read()) for store in ("pixels", "encoded")]
        assert np.array_equal(sums[0][:, 0], sums[1][:, 0]), "as many pixels"
        assert np.allclose(sums[0], sums[1], rtol=0.02, atol=3 * pixels[0].numel())
        one = train.as_stored()[3][f"{name}_encoded"]
        assert torch.equal(one, decoded[3])
    means = train.opened.snapshot.transforms
    serving = Transforms.from_snapshot(train.opened.snapshot, ["crop_encoded", "padded_encoded"])
    served = serving({name: whole[name] for name in ("crop_encoded", "padded_encoded")})
    for name in ("crop_encoded", "padded_encoded"):
        assert torch.equal(served[name], fitted[name])
        assert means[name][0]["mean"] == pytest.approx(
            means[name.replace("encoded", "pixels")][0]["mean"], abs=1
        )
    for options in ({"num_threads": 2}, {"num_threads": 1, "shuffle": True}, {"device_cache": True}):
        rows = 0
        for batch in train.loader(13, device="cpu", layout="chw", **options):
            assert batch["crop_encoded"].shape[1:] == (3, 56, 56)
            rows += len(batch["crop_encoded"])
        assert rows == len(train)


def test_boxes_fit_the_picture_that_the_loader_gives(pictures: Pictures) -> None:
    columns = {
        "image": {"kind": "image", "path": "image", "size": [32, 32], "store": "encoded"},
        "boxes": {"kind": "boxes", "path": "boxes", "image": "image"},
    }
    sample = next(sample for sample in corpus() if sample.data.startswith(b"\xff\xd8\xff"))
    pictures.database.pictures.insert_one(
        {"_id": 0, "image": Binary(sample.data), "boxes": [[0, 0, 9999, 9999.0]]}
    )
    spec = pictures.spec(columns)
    pictures.images(spec)
    batch = pictures.train(spec, ragged="flat").batch([0])
    assert batch["image"].shape == (1, 32, 32, 3)
    assert batch["boxes"].tolist() == [[0.0, 0.0, 32.0, 32.0]]
    assert batch["boxes__offsets"].tolist() == [0, 1]


def test_auto_is_the_same_for_every_partition_and_refresh(pictures: Pictures) -> None:
    """More rows than expected change nothing but a warning; only another budget does."""
    columns = {
        "image": {"kind": "image", "path": "image", "size": [32, 32], "store": "auto", "encoded_kb": 1}
    }
    partitions = {"by": "hash", "buckets": 2}
    samples = [sample for sample in corpus() if 100 < len(sample.data) < 8_000]

    def spec(pictures_gb: float) -> DatasetSpec:
        storage = {"pictures_gb": pictures_gb, "expected_rows": 40}
        return pictures.spec(columns, partitions=partitions, storage=storage)

    little, plenty = spec(41 / 2**20), spec(121 / 2**20)  # GiB: 40 rows are 40 KiB encoded, 120 KiB as pixels
    pictures.insert(samples[:20])
    shapes = []
    for _ in range(2):
        for key in ("0", "1"):
            assert pictures.images(little, key).metadata["image/stored"] == "encoded"
        train = pictures.train(little, ("0", "1"))
        shapes.append((len(train), tuple(train.schema["image"].shape)))
        pictures.insert(samples[20:100])
    assert shapes == [(20, (32, 32, 3)), (100, (32, 32, 3))]
    finding = next(budget_findings(little, _built(pictures), pictures.store))
    assert not finding.passed, "100 rows were not expected"
    assert pictures.images(plenty, "0").metadata["image/stored"] == "pixels"
    version = pictures.store.latest("pictures", "images", "0")
    assert version is not None
    assert version.columns["image"].encoding == "npy"
    with pytest.raises(InvalidArgument, match=r"partition 1: columns image are stored otherwise .* again"):
        pictures.train(plenty, ("0", "1"))


def _built(pictures: Pictures) -> Built:
    version = pictures.store.latest("pictures", "snapshot")
    assert version is not None
    return Built(Report("pictures", "snapshot", "all", 1, True, "", 0, {}, 0, 0.0), version, None)
