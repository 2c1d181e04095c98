"""From documents to images: every source, every way of storing, what is unchanged, what is broken."""

from __future__ import annotations

import base64
import dataclasses
import functools
import http.server
import io
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import gridfs
import numpy as np
import pytest
from bson import Binary, ObjectId
from PIL import Image
from pymongo import MongoClient
from pymongo.database import Database

from assets.columns.splits import assign_splits, train_code
from assets.mongo.build import build_documents
from assets.plan import fields_of
from assets.previews import metadata_of
from assets.quality.guard import Unfit
from assets.quality.pictures import picture_findings
from assets.report import Built, Report
from assets.spec import DatasetSpec
from assets.vision.build import build_images
from assets.vision.errors import BuildError
from assets.vision.geometry import place
from assets.vision.recipe import Recipe
from assets.vision.sheets import MAX_SHEET_BYTES, sheet_of, sheet_of_rejects
from shards import ShardStore, Version
from tests.unit.vision.corpus import corpus, drawing, encode, photo, with_exif
from tests.unit.vision.reference import reference

Document = dict[str, Any]


@dataclasses.dataclass
class Pipeline:
    """A collection and the two builds."""

    client: MongoClient[Document]
    database: Database[Document]
    store: ShardStore
    root: Path
    monkeypatch: pytest.MonkeyPatch

    def spec(self, columns: Document, **members: Any) -> DatasetSpec:
        source = {"database": self.database.name, "collection": "pictures", "gridfs": "fs"}
        return DatasetSpec.model_validate(
            {
                "name": "pictures",
                "source": source,
                "columns": columns,
                "checks": {"max_broken_image_share": 1.0},
                **members,
            }
        )

    def insert(self, documents: list[Document]) -> None:
        self.database.pictures.insert_many(documents)

    def build(self, spec: DatasetSpec) -> tuple[Report, Version]:
        build_documents(spec, "all", fields_of(spec), client=self.client, store=self.store)
        report = build_images(spec, "all", store=self.store, client=self.client, run_id="run-1")
        version = self.store.latest("pictures", "images")
        assert version is not None
        return report, version


@pytest.fixture
def pipeline(
    mongo_client: MongoClient[Document],
    database: Database[Document],
    store: ShardStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Pipeline:
    root = tmp_path / "files"
    root.mkdir()
    return Pipeline(mongo_client, database, store, root, monkeypatch)


def image_column(**members: Any) -> Document:
    return {"kind": "image", "path": "image", "size": [24, 32], **members}


RECIPE = Recipe(size=(24, 32))


def test_every_source_gives_the_same_pixels(pipeline: Pipeline) -> None:
    data = encode(photo(), "PNG")
    bucket = gridfs.GridFSBucket(pipeline.database)
    (pipeline.root / "a.png").write_bytes(data)
    values = [
        Binary(data),
        bucket.upload_from_stream("stored.png", data),
        "a.png",
        base64.b64encode(data).decode(),
        base64.urlsafe_b64encode(data).decode().rstrip("="),
        "data:image/png;base64," + base64.b64encode(data).decode(),
    ]
    pipeline.insert([{"_id": number, "image": value} for number, value in enumerate(values)])
    column = image_column(sources=["bytes", "gridfs", "file", "base64"], root=str(pipeline.root))
    report, version = pipeline.build(pipeline.spec({"image": column}))
    assert report.rejects == {}
    assert version.validity().all()
    pixels = version.column("image").read()
    expected = reference(data, RECIPE)
    for row in pixels:
        assert np.abs(row.astype(int) - expected).max() <= 2
    assert version.inputs == {"documents": 1}
    assert version.provenance.run_id == "run-1"


class Pictures(http.server.SimpleHTTPRequestHandler):
    """Serves a directory: plain files, and the part of the S3 protocol that reading an object takes."""

    asked: ClassVar[list[str]] = []

    def end_headers(self) -> None:
        self.send_header("ETag", '"tag"')
        super().end_headers()

    def do_GET(self) -> None:
        self.asked.append(self.path)
        super().do_GET()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def served(pipeline: Pipeline) -> Iterator[str]:
    handler = functools.partial(Pictures, directory=str(pipeline.root))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        Pictures.asked.clear()
        yield f"localhost:{server.server_port}"
        server.shutdown()
        thread.join()


def test_pictures_behind_addresses_are_fetched_once(pipeline: Pipeline, served: str) -> None:
    pytest.importorskip("obstore")
    data = encode(photo(), "PNG")
    (pipeline.root / "bucket").mkdir()
    (pipeline.root / "bucket" / "a.png").write_bytes(data)
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{served}",
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": "here",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
    }.items():
        pipeline.monkeypatch.setenv(name, value)
    values = [
        f"http://{served}/bucket/a.png",
        "s3://bucket/a.png",
        f"http://{served}/none.png",
        "s3://other/a",
    ]
    pipeline.insert([{"_id": number, "image": value} for number, value in enumerate(values)])
    policy = {"hosts": ["localhost"], "networks": ["127.0.0.0/8", "::1/128"], "retries": 0}
    column = image_column(sources=["url", "object"], root="s3://bucket", urls=policy)
    report, version = pipeline.build(pipeline.spec({"image": column}))
    assert report.rejects == {"not_found": 1, "refused": 1}
    pixels = version.column("image").read()
    assert np.abs(pixels[0].astype(int) - reference(data, RECIPE)).max() <= 2
    assert (pixels[0] == pixels[1]).all()
    assert Pictures.asked.count("/bucket/a.png") == 2
    again, _ = pipeline.build(pipeline.spec({"image": column}))
    assert (again.created, again.metadata["num_unchanged"]) == (False, 2)
    assert Pictures.asked.count("/bucket/a.png") == 3, "the address from the cache, the object anew"


def test_gridfs_by_filename_missing_files_and_missing_parts(pipeline: Pipeline) -> None:
    data = encode(photo(400, 300), "PNG")
    bucket = gridfs.GridFSBucket(pipeline.database, chunk_size_bytes=10_000)
    bucket.upload_from_stream("twice.png", encode(drawing(90, 90), "PNG"))
    bucket.upload_from_stream("twice.png", data)
    cut = bucket.upload_from_stream("cut.png", data)
    pipeline.database.fs.chunks.delete_one({"files_id": cut, "n": 1})
    empty = bucket.upload_from_stream("empty.png", b"")
    values = ["twice.png", ObjectId(), "nowhere.png", cut, empty]
    pipeline.insert([{"_id": number, "image": value} for number, value in enumerate(values)])
    report, version = pipeline.build(pipeline.spec({"image": image_column(sources=["gridfs"])}))
    assert version.validity().tolist() == [True, False, False, False, False]
    assert report.rejects == {"not_found": 2, "truncated": 1, "empty": 1}
    assert np.abs(version.column("image").read()[0].astype(int) - reference(data, RECIPE)).max() <= 2


def test_broken_pictures_keep_their_rows(pipeline: Pipeline) -> None:
    good, bad = encode(photo(), "JPEG", quality=90), encode(photo(), "JPEG", quality=90)[:900]
    pipeline.insert([{"_id": n, "image": Binary(bad if n % 4 == 1 else good)} for n in range(400)])
    report, version = pipeline.build(pipeline.spec({"image": image_column()}))
    assert report.rows == version.num_rows == 400
    broken = np.arange(400) % 4 == 1
    assert (version.validity() == ~broken).all()
    pixels = version.column("image").read()
    assert not pixels[broken].any()
    assert (pixels[~broken] == pixels[0]).all()
    rejects = version.table("rejects").read().to_pylist()
    assert len(rejects) == 100
    first = rejects[0]
    assert first["_id"] == "1"
    assert first["path"] == first["field"] == "image"
    assert first["reason"] == "truncated"
    sheet = sheet_of_rejects(version)
    assert sheet is not None
    assert sheet[:4] == b"\x89PNG"
    assert len(sheet) < MAX_SHEET_BYTES


def test_too_many_broken_publishes_nothing(pipeline: Pipeline) -> None:
    pipeline.insert(
        [{"_id": n, "image": Binary(b"no picture" if n < 2 else encode(photo(), "PNG"))} for n in range(10)]
    )
    spec = pipeline.spec({"image": image_column()}, checks={"max_broken_image_share": 0.1})
    with pytest.raises(Unfit, match=r"nothing was published: .*0\.2 \(2 of 10: unknown_format 2\)"):
        pipeline.build(spec)
    assert pipeline.store.latest("pictures", "images") is None


def test_unchanged_pictures_are_copied(pipeline: Pipeline) -> None:
    columns = {
        "image": image_column(perceptual_hash=True),
        "whole": {"kind": "image", "path": "image", "fit": "none"},
        "kept": {"kind": "image", "path": "image", "fit": "none", "store": "encoded"},
    }
    spec = pipeline.spec(columns)
    pictures = [encode(photo(60 + n, 50, n), "PNG") for n in range(20)]
    pipeline.insert([{"_id": n, "image": Binary(data)} for n, data in enumerate(pictures)])
    report, first = pipeline.build(spec)
    assert (report.metadata["num_decoded"], report.metadata["num_unchanged"]) == (60, 0)
    again, same = pipeline.build(spec)
    assert not again.created
    assert same.number == first.number
    assert (again.metadata["num_decoded"], again.metadata["num_unchanged"]) == (0, 60)
    changed = Binary(encode(drawing(70, 50, 3), "PNG"))
    pipeline.database.pictures.update_one({"_id": 7}, {"$set": {"image": changed}})
    pipeline.database.pictures.insert_one({"_id": -1, "image": Binary(pictures[4])})
    report, second = pipeline.build(spec)
    assert (report.metadata["num_decoded"], report.metadata["num_unchanged"]) == (3, 60)
    for name in second.columns:
        before, after = first.column(name).read(), second.column(name).read()
        rows = [n for n in range(20) if n != 7]
        for row in rows:
            left, right = before[row], after[row + 1]
            assert np.array_equal(left, right) if isinstance(left, np.ndarray) else left == right, name
    larger = pipeline.spec({**columns, "image": image_column(size=[30, 30])})
    report, _ = pipeline.build(larger)
    assert (report.metadata["num_decoded"], report.metadata["num_unchanged"]) == (21, 42)


def test_varying_and_encoded(pipeline: Pipeline) -> None:
    turned = encode(drawing(50, 30), "JPEG", exif=with_exif(6))
    jpeg, tiff = encode(photo(90, 60), "JPEG"), encode(photo(80, 70), "TIFF")
    pipeline.insert([{"_id": n, "image": Binary(d)} for n, d in enumerate([jpeg, tiff, turned, b"broken"])])
    columns = {
        "whole": {"kind": "image", "path": "image", "fit": "none"},
        "kept": {"kind": "image", "path": "image", "fit": "none", "store": "encoded"},
    }
    _, version = pipeline.build(pipeline.spec(columns))
    whole = version.column("whole").read().to_pylist()
    kept = version.column("kept").read().to_pylist()
    assert [row["shape"] for row in whole] == [[60, 90, 3], [70, 80, 3], [50, 30, 3], [0, 0, 0]]
    assert kept[0] == jpeg
    assert kept[3] == b""
    for row, data in enumerate([jpeg, tiff, turned]):
        expected = reference(data, Recipe(fit="none"))
        pixels = np.frombuffer(whole[row]["data"], np.uint8).reshape(whole[row]["shape"])
        assert (pixels == expected).all()
        with Image.open(io.BytesIO(kept[row])) as image:
            assert image.format in ("JPEG", "PNG", "WEBP")
            assert (np.asarray(image.convert("RGB")) == expected).all()


def test_boxes_points_and_masks_move_with_their_picture(pipeline: Pipeline) -> None:
    """A coloured rectangle is found again where its box, its points and its mask say it is."""
    documents = []
    for orientation in range(1, 9):
        image = Image.new("RGB", (200, 120))
        image.paste((255, 0, 0), (40, 30, 100, 90))
        mask = Image.new("L", (200, 120))
        mask.paste(7, (40, 30, 100, 90))
        documents.append(
            {
                "_id": orientation,
                "image": Binary(encode(image, "PNG", exif=with_exif(orientation))),
                "mask": Binary(encode(mask, "PNG")),
                "boxes": [[40, 30, 100, 90.0]],
                "xywh": [[40, 30, 60, 60]],
                "points": [[40, 30], [100, 90]],
            }
        )
    pipeline.insert(documents)
    for fit in ({"fit": "contain"}, {"fit": "cover"}, {"fit": "stretch"}, {"shorter_side": 80}):
        spec = pipeline.spec(
            {
                "image": image_column(size=[60, 80], filter="nearest", **fit),
                "mask": {"kind": "mask_image", "path": "mask", "image": "image"},
                "boxes": {"kind": "boxes", "path": "boxes", "image": "image"},
                "xywh": {"kind": "boxes", "path": "xywh", "image": "image", "format": "xywh"},
                "points": {"kind": "points", "path": "points", "image": "image"},
            }
        )
        _, version = pipeline.build(spec)
        assert version.validity().all()
        pixels, masks = version.column("image").read(), version.column("mask").read()
        boxes = version.column("boxes").read().to_pylist()
        for row in range(8):
            red = pixels[row][..., 0] > 127
            assert ((masks[row] == 7) == red).all()
            ys, xs = np.nonzero(red)
            left, top, right, bottom = boxes[row][0]
            found = np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1])
            assert np.abs(found - np.array([left, top, right, bottom])).max() <= 1
            x, y, width, height = version.column("xywh").read().to_pylist()[row][0]
            assert np.allclose([x, y, x + width, y + height], [left, top, right, bottom], atol=1e-3)
            points = np.array(version.column("points").read().to_pylist()[row])
            low, high = points.min(axis=0), points.max(axis=0)
            clipped = np.clip([*low, *high], 0, [80, 60, 80, 60])
            assert np.abs(clipped - np.array([left, top, right, bottom])).max() <= 1


def test_a_mask_of_another_size_rejects_the_row(pipeline: Pipeline) -> None:
    image, mask = encode(photo(), "PNG"), encode(photo(90, 90).convert("L"), "PNG")
    colored = encode(photo(), "PNG")
    pipeline.insert(
        [
            {"_id": 1, "image": Binary(image), "mask": Binary(mask)},
            {"_id": 2, "image": Binary(image), "mask": Binary(colored)},
        ]
    )
    spec = pipeline.spec(
        {"image": image_column(), "mask": {"kind": "mask_image", "path": "mask", "image": "image"}}
    )
    report, version = pipeline.build(spec)
    assert report.rejects == {"size_mismatch": 1, "not_a_mask": 1}
    assert not version.validity().any()
    assert not version.column("image").read().any()
    assert [r["field"] for r in version.table("rejects").read().to_pylist()] == ["mask", "mask"]


def test_a_picture_that_is_not_required_is_masked(pipeline: Pipeline) -> None:
    values: list[Document] = [
        {"_id": 1, "image": Binary(encode(photo(), "PNG"))},
        {"_id": 2},
        {"_id": 3, "image": None},
        {"_id": 4, "image": Binary(b"bad")},
    ]
    pipeline.insert(values)
    report, version = pipeline.build(pipeline.spec({"image": image_column(required=False)}))
    assert version.validity().all()
    assert version.columns["image"].mask == "image__present"
    assert version.column("image__present").read().tolist() == [True, False, False, False]
    assert report.rejects == {"unknown_format": 1}


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("layout", ["hwc", "chw"])
def test_statistics_are_those_of_the_train_rows(pipeline: Pipeline, layout: str, dtype: str) -> None:
    pipeline.insert([{"_id": n, "image": Binary(encode(photo(60, 50, n), "PNG"))} for n in range(60)])
    spec = pipeline.spec({"image": image_column(layout=layout, dtype=dtype)})
    _, version = pipeline.build(spec)
    documents = pipeline.store.latest("pictures", "documents")
    assert documents is not None
    is_train = assign_splits(spec, documents.table("documents").read()) == train_code(spec)
    pixels = version.column("image").read()[is_train].astype(np.float64)
    axes = (0, 1, 2) if layout == "hwc" else (0, 2, 3)
    found = version.statistics["image"]["train"]
    assert found["num_pictures"] == is_train.sum()
    np.testing.assert_allclose(found["mean"], pixels.mean(axis=axes), rtol=1e-12)
    np.testing.assert_allclose(found["std"], pixels.std(axis=axes), rtol=1e-12)
    assert sum(version.statistics["image"]["brightness"]["counts"]) == 60


def test_blank_and_duplicate_pictures_are_counted(pipeline: Pipeline) -> None:
    pictures = [Image.new("RGB", (40, 30), (n, n, n)) for n in range(5)]
    pictures += [photo(160, 120, n) for n in range(6)]
    data = [encode(picture, "PNG") for picture in pictures]
    data += [
        data[6],
        encode(photo(160, 120, 3), "PNG", compress_level=1),
        encode(photo(160, 120, 4), "WEBP", lossless=True),
    ]
    pipeline.insert([{"_id": n, "image": Binary(one)} for n, one in enumerate(data)])
    _, version = pipeline.build(pipeline.spec({"image": image_column(perceptual_hash=True)}))
    found = version.statistics["image"]
    assert (found["num_blank"], found["num_duplicates"], found["num_near_duplicates"]) == (5, 1, 3)


def test_contact_sheets_are_small(pipeline: Pipeline) -> None:
    samples = [sample for sample in corpus() if len(sample.data) < 2_000_000][:60]
    pipeline.insert([{"_id": n, "image": Binary(sample.data)} for n, sample in enumerate(samples)])
    columns = {
        "image": image_column(size=[128, 128]),
        "whole": {"kind": "image", "path": "image", "fit": "none"},
        "kept": {"kind": "image", "path": "image", "fit": "none", "store": "encoded"},
        "deep": image_column(mode="keep16", dtype="uint16", layout="chw"),
    }
    _, version = pipeline.build(pipeline.spec(columns))
    for name in columns:
        sheet = sheet_of(version, name, labels={0: "zero"})
        assert sheet is not None
        assert len(sheet) < MAX_SHEET_BYTES
        with Image.open(io.BytesIO(sheet)) as image:
            assert image.format in ("PNG", "JPEG")
            assert image.width > 300


def test_without_documents_or_columns(pipeline: Pipeline) -> None:
    spec = pipeline.spec({"image": image_column()})
    with pytest.raises(BuildError, match="expected a version of `documents`"):
        build_images(spec, "all", store=pipeline.store, client=pipeline.client)


def test_large_boxes_of_placement_stay_inside() -> None:
    placed = place(10, 65_535, Recipe(size=(224, 224)))
    left, top, right, bottom = placed.box
    assert 0 <= left < right <= 10
    assert 0 <= top < bottom <= 65_535


def test_what_people_are_shown(pipeline: Pipeline) -> None:
    """Labels on the sheet, distributions, and the checks that warn."""
    pictures = [Image.new("RGB", (40, 30), (9, 9, 9)), photo(160, 120, 1), photo(320, 240, 1), photo(90, 90)]
    pipeline.insert(
        [
            {"_id": n, "image": Binary(encode(one, "PNG")), "kind": f"kind {n}"}
            for n, one in enumerate(pictures)
        ]
        + [{"_id": 4, "image": Binary(b"broken"), "kind": "never shown"}]
    )
    columns = {
        "kind": {"kind": "category", "path": "kind"},
        "image": image_column(perceptual_hash=True),
    }
    checks = {"max_broken_image_share": 1.0, "max_near_duplicate_share": 0.1, "max_blank_image_share": 0.25}
    spec = pipeline.spec(columns, checks=checks)
    report, version = pipeline.build(spec)
    assert report.metadata["labels"] == {n: f"kind {n}" for n in range(4)}
    assert sheet_of(version, "image", report.metadata["labels"]) != sheet_of(version, "image")
    shown = metadata_of(report, version)
    assert {"contact_sheet_image", "rejected_pictures", "histograms"} <= shown.keys()
    assert "labels" not in shown
    found = {
        finding.check: (finding.value, finding.passed)
        for finding in picture_findings(spec, Built(report, version, None), pipeline.store)
    }
    assert found == {
        "blank_share": (0.25, True),
        "duplicate_share": (0.0, True),
        "near_duplicate_share": (0.25, False),
    }
