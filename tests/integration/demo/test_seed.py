"""The demo's documents: what is in them, and that seeding again changes nothing."""

from __future__ import annotations

from collections import Counter
from datetime import datetime

import pytest
from bson import ObjectId

from demo.seed import SITES, TRUNCATED, UNDATED, WRONG_TYPE, seed


@pytest.fixture
def pictures(tmp_path):
    return tmp_path / "pictures"


def test_seeding_twice_writes_nothing_the_second_time(database, pictures):
    first = seed(database.client, pictures, database.name)
    files = {path: path.stat().st_mtime_ns for path in pictures.rglob("*.png")}
    before = {
        name: list(database[name].find().sort("_id")) for name in sorted(database.list_collection_names())
    }
    with database.watch(max_await_time_ms=500) as stream:
        assert seed(database.client, pictures, database.name) == first
        assert stream.try_next() is None
    after = {
        name: list(database[name].find().sort("_id")) for name in sorted(database.list_collection_names())
    }
    assert after == before
    assert {path: path.stat().st_mtime_ns for path in pictures.rglob("*.png")} == files


def test_digits_come_in_every_shape_that_is_promised(database, pictures):
    seeded = seed(database.client, pictures, database.name)[0]
    documents = list(database.digits.find())
    assert seeded.num_documents == len(documents) == 1_797 + seeded.num_broken
    assert seeded.num_broken == TRUNCATED + WRONG_TYPE + UNDATED
    assert Counter(type(document["image"]) for document in documents).keys() == {bytes, ObjectId, str}
    assert len({len(document["strokes"]) for document in documents}) > 5
    assert {type(document["captured_at"]) for document in documents if "captured_at" in document} == {
        datetime
    }
    months = {document["captured_at"].month for document in documents if "captured_at" in document}
    assert months == set(range(1, 13))
    assert sum("captured_at" not in document for document in documents) == UNDATED
    assert sum(isinstance(document["digit"], str) for document in documents) == WRONG_TYPE
    for document in documents:
        if isinstance(document["image"], str):
            assert (pictures / document["image"]).is_file()
    assert database["pictures.files"].count_documents({}) == sum(
        isinstance(document["image"], ObjectId) for document in documents
    )


def test_tumors_have_nested_values_sites_and_gaps(database, pictures):
    seed(database.client, pictures, database.name)
    documents = list(database.tumors.find())
    assert len(documents) == 569
    assert {document["site"] for document in documents} == set(SITES)
    assert Counter(document["diagnosis"] for document in documents) == {"benign": 357, "malignant": 212}
    assert all(len(document[group]) == 10 for document in documents for group in ("mean", "error"))
    worst = [document["worst"] for document in documents]
    assert any(len(members) < 10 for members in worst)
    assert any(None in members.values() for members in worst)
