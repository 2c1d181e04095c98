"""Datasets on an address: made by Dagster, verified, collected, read; outages and deaths in between."""

from __future__ import annotations

import errno
import http.server
import io
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pymongo.database import Database

from assets.materialize import can_pass
from assets.mongo import range_read, server_build, splits
from assets.mongo.build import build_documents
from assets.vision import groups, pieces
from loaders import ShardDataset
from shards import CommitFailed, ShardStore, StorageError
from shards.remote import client
from shards.remote.client import Limits
from tests.integration.dagster.shop import document, failures, fill, goods, pipeline
from tests.integration.mongo.conftest import FIELDS, expected_rows, make_documents, make_spec, rows_of
from tests.integration.remote.proxy import Faults, Rule

ROOT = Path(__file__).resolve().parents[3]
PER_MONTH = 20
PIECE_BYTES = 100_000


def test_every_asset_of_a_dataset_and_every_row(
    database: Database[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mongo_uri: str, url: str
) -> None:
    fill(database, PER_MONTH, months=[1, 2])
    with pipeline(goods(database), tmp_path, monkeypatch, mongo_uri, url) as shop:
        result = shop.run("2025-01", "2025-02")
        assert result.success, failures(result)
        database.goods.update_one({"_id": document(1_000, 1)["_id"]}, {"$set": {"price": 0.5}})
        result = shop.run("2025-01")
        assert result.success, failures(result)
        assert shop.store.versions("goods", "records", "2025-01") == [1, 2]
        config = {"ops": {"goods_gc_op": {"config": {"keep_versions": 1, "grace_hours": 0.0}}}}
        result = shop.run(job="gc", run_config=config)
        assert result.success, failures(result)
        assert shop.store.versions("goods", "records", "2025-01") == [2]
        result = shop.run(job="verify")
        assert result.success, failures(result)
    assert list(tmp_path.iterdir()) == [tmp_path / "home"]

    found: list[tuple[float, str, bytes]] = []
    for split in ("train", "validation", "test"):
        rows = ShardDataset(f"{url}/goods", split, cache=tmp_path / "cache", lease_seconds=None).as_stored()
        colors = rows.vocabulary("color")
        found += [
            (float(row["price"]), colors[int(row["color"])], row["picture"].numpy().tobytes()) for row in rows
        ]
    documents = [document(1_000 * month + row, month) for month in (1, 2) for row in range(PER_MONTH)]
    documents[0]["price"] = 0.5
    assert sorted(found) == sorted(
        (float(np.float32(one["price"])), one["color"], Image.open(io.BytesIO(one["picture"])).tobytes())
        for one in documents
    )


OUTAGES = {
    "documents": [
        ("GET .*prefix=[^&]*documents", 1),
        ("PUT .*/documents/data/[^/]*/pieces-[^/]*/range_[^/]*_0_1[.]", 1),
        ("GET .*prefix=[^&]*unplaced", 1),
    ],
    "images": [("PUT .*/images/data/[^/]*/pieces-[^/]*/rows_16_", 1)],
    "records": [("PUT .*/records/data/[^/]*/[^/]*/column", 1), ("PUT .*/records/manifests/", 5)],
    "snapshot": [("GET .*prefix=[^&]*images%2Fmanifests%2F$", 1), ("PUT .*/snapshot/manifests/", 5)],
}
"""Requests of each step that the store refuses, and how often until the library gives them up."""


def test_outages_longer_than_the_limits_of_a_request_pass(
    database: Database[Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    mongo_uri: str,
    url: str,
    faults: Faults,
) -> None:
    """Every step is tried again as often as it met one, and goes on from the pieces that it had put down."""
    monkeypatch.setattr(client, "Limits", lambda: Limits(30.0, 0.0, tries=1, backoff_seconds=0.01))
    monkeypatch.setattr(server_build, "piece_bytes", lambda _: 4_000)
    monkeypatch.setattr(range_read, "LASTING_SECONDS", 0)
    monkeypatch.setattr(groups, "ROWS", 16)
    monkeypatch.setattr(pieces, "LASTING_SECONDS", 0)
    fill(database, 100, months=[1])
    faults.rules = [Rule(line, ["500"] * times) for outages in OUTAGES.values() for line, times in outages]
    spec = goods(database, runs={"retries": 3, "retry_seconds": 0.1})
    with pipeline(spec, tmp_path, monkeypatch, mongo_uri, url) as shop:
        result = shop.run("2025-01")
        assert result.success, failures(result)
        assert all(not rule.faults for rule in faults.rules)
        retried = Counter(event.step_key for event in result.all_events if event.is_step_up_for_retry)
        assert retried == {f"goods__{step}": len(outages) for step, outages in OUTAGES.items()}
        for step in OUTAGES:
            assert shop.store.versions("goods", step, "all" if step == "snapshot" else "2025-01") == [1]
        (*_, documents), (images,) = shop.events("documents"), shop.events("images")
        assert 0 < documents.metadata["kept"].value < 100
        assert images.metadata["num_kept"].value == 16
        assert shop.store.snapshot("goods").num_rows == 100


def test_refused_credentials_do_not_pass() -> None:
    denied = StorageError(errno.EACCES, "s3://bucket: access denied")
    failed = CommitFailed("nothing was published")
    assert not can_pass(failed)
    failed.__cause__ = StorageError("s3://bucket: the store is away")
    assert can_pass(failed)
    failed.__cause__ = denied
    assert not can_pass(denied)
    assert not can_pass(failed)


class Pictures(http.server.BaseHTTPRequestHandler):
    """Answers every request with the picture of a document."""

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(document(1_000, 1)["picture"])


def test_pictures_from_urls_are_kept_on_this_machine(
    database: Database[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mongo_uri: str, url: str
) -> None:
    monkeypatch.delenv("SHARDS_PICTURE_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    urls = {"hosts": ["localhost"], "networks": ["127.0.0.0/8", "::1/128"]}
    picture = {"kind": "image", "path": "picture", "sources": ["url"], "size": [8, 8], "urls": urls}
    spec = goods(database, columns={"picture": picture}, checks={"max_split_leaks": 1_000})
    with http.server.ThreadingHTTPServer(("localhost", 0), Pictures) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://localhost:{server.server_port}/picture"
        database.goods.insert_many([{**document(1_000 + row, 1), "picture": address} for row in range(3)])
        with pipeline(spec, tmp_path, monkeypatch, mongo_uri, url) as shop:
            result = shop.run("2025-01", assets=["documents", "images"])
            assert result.success, failures(result)
            (images,) = shop.events("images")
            assert images.metadata["num_valid"].value == 3
        server.shutdown()
    (kept,) = (tmp_path / "cache/shardmill/picture-cache/contents").iterdir()
    assert kept.read_bytes() == bytes(document(1_000, 1)["picture"])
    assert {path.name for path in tmp_path.iterdir()} == {"home", "cache"}


@pytest.fixture
def things(database: Database[Any], monkeypatch: pytest.MonkeyPatch) -> Database[Any]:
    monkeypatch.setattr(server_build, "piece_bytes", lambda _: PIECE_BYTES)
    monkeypatch.setattr(splits, "SAMPLED_SHARE", 1)
    return database


def test_a_killed_read_goes_on_from_its_last_piece(
    things: Database[Any], mongo_uri: str, url: str, faults: Faults
) -> None:
    documents = make_documents(6_000)
    things["things"].insert_many(documents)
    command = [sys.executable, "-m", "tests.integration.mongo.child", mongo_uri, things.name, url]
    with subprocess.Popen([*command, str(PIECE_BYTES), "4000"], cwd=ROOT) as child:
        while faults.count("PUT .*/pieces-[^/]*/range_") < 6:
            assert child.poll() is None, "the read ended before it could be killed"
            time.sleep(0.01)
        child.kill()
    store = ShardStore(url)
    assert store.latest("things", "documents") is None
    report = build_documents(make_spec(things.name), "all", FIELDS, client=things.client, store=store)
    assert report.metadata["mode"] == "full"
    assert 0 < report.metadata["kept"] < len(documents)
    assert report.metadata["kept"] + report.metadata["read"] == len(documents)
    assert rows_of(store) == expected_rows(documents)
    (left,) = store.storage.names("things/documents/data/all")
    store.gc("things", grace_seconds=0, dry_run=False)
    assert store.storage.names("things/documents/data/all") == [left]
