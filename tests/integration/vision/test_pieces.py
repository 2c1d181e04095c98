"""A run of images that is killed goes on from what it has put down, as if nothing had happened."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database

from assets.mongo.build import build_documents
from assets.plan import fields_of
from assets.spec import DatasetSpec
from assets.vision import groups
from assets.vision.build import build_images
from shards import ShardStore
from tests.unit.vision.corpus import drawing, encode

pytestmark = pytest.mark.xdist_group("pieces")

ROOT = Path(__file__).parents[3]
ROWS = 16


def make_spec(database: str) -> DatasetSpec:
    """Two columns of pictures, one of one shape and one of files, and some that are broken."""
    columns = {
        "image": {"kind": "image", "path": "image", "size": [24, 32], "perceptual_hash": True},
        "original": {"kind": "image", "path": "image", "store": "encoded", "fit": "none", "required": False},
    }
    return DatasetSpec.model_validate(
        {
            "name": "pictures",
            "source": {"database": database, "collection": "pictures"},
            "columns": columns,
            "checks": {"max_broken_image_share": 1.0},
        }
    )


def put_down(store: ShardStore) -> list[Path]:
    return list(Path(store.root).glob("pictures/images/data/all/pieces-*/rows_*"))


def content(store: ShardStore) -> dict[str, bytes]:
    version = store.latest("pictures", "images")
    assert version is not None
    directory = Path(store.root) / version.directory
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.name != "manifest.json"}


def test_a_killed_run_goes_on(
    database: Database[Any], store: ShardStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(groups, "ROWS", ROWS)
    monkeypatch.setattr(groups, "ROWS_OF_VARYING", ROWS)
    pictures = [encode(drawing(40 + number, 50), "PNG") for number in range(8)]
    pictures.append(b"no picture")
    database["pictures"].insert_many(
        [{"_id": number, "image": pictures[number % 9]} for number in range(320)]
    )
    spec = make_spec(database.name)
    build_documents(spec, "all", fields_of(spec), client=database.client, store=store)
    shutil.copytree(store.root, tmp_path / "undisturbed")
    undisturbed = ShardStore(tmp_path / "undisturbed")
    whole = build_images(spec, "all", store=undisturbed)
    with subprocess.Popen(
        [sys.executable, "-m", "tests.integration.vision.child", str(store.root)], cwd=ROOT
    ) as child:
        while len(put_down(store)) < 4:
            assert child.poll() is None, "the run ended before it could be killed"
            time.sleep(0.01)
        child.kill()
    assert store.latest("pictures", "images") is None
    report = build_images(make_spec("pictures"), "all", store=store)
    assert 3 * ROWS <= report.metadata["num_kept"] < 320
    assert report.content_hash == whole.content_hash
    assert report.rejects == whole.rejects
    assert report.rows == 320
    assert content(store) == content(undisturbed)
    assert put_down(store) == []
    store.gc("pictures", grace_seconds=0, dry_run=False)
    version = store.latest("pictures", "images")
    assert version is not None
    left = (Path(store.root) / "pictures/images/data/all").iterdir()
    assert [path.name for path in left] == [Path(version.directory).name]
