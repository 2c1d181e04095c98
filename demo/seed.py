"""The demo's documents: real data from scikit-learn, in the shapes in which teams keep such data.

`shardmill_demo.digits`, 1,797 handwritten digits and a few broken documents::

    {"_id": ObjectId, "digit": 7, "captured_at": datetime in 2025, "writer": "writer-07",
     "image": Binary (PNG) | ObjectId (GridFS bucket `pictures`) | "2025-03/0042.png" (below data/pictures),
     "device": {"model": "flatbed", "dpi": 300, "firmware": {"major": 2, "minor": 1}, "gain": 1.25},
     "strokes": [1.5, 0.5, ...]}

`gain` is often absent; `strokes` are the widths of all runs of ink from top to bottom, mm, however many.

`shardmill_demo.tumors`, 569 records of breast-cancer diagnostics::

    {"_id": ObjectId, "site": "north" | "east" | "south" | "west", "diagnosis": "malignant" | "benign",
     "mean": {"radius": 17.99, "texture": ..., eight more}, "error": {...}, "worst": {...}}
     (some of the `worst` values are absent, some null)

Every value is a function of the row number, so seeding twice changes nothing, and nothing is ever deleted.
"""

from __future__ import annotations

import io
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import gridfs
import numpy as np
from bson import Binary, ObjectId
from PIL import Image
from pymongo import MongoClient, ReplaceOne
from pymongo.collection import Collection
from pymongo.database import Database
from sklearn.datasets import load_breast_cancer, load_digits

DATABASE = "shardmill_demo"
BUCKET = "pictures"
PICTURES = Path(__file__).resolve().parents[1] / "data" / "pictures"
YEAR = datetime(2025, 1, 1, tzinfo=timezone.utc)
YEAR_MS = 365 * 24 * 3_600 * 1_000
TRUNCATED, WRONG_TYPE, UNDATED = 4, 3, 2
SITES = ("north", "east", "south", "west")

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Seeded:
    """How many documents a collection now has from here, and how many of them are broken on purpose."""

    collection: str
    num_documents: int
    num_broken: int


def seed(client: MongoClient[Any], pictures: Path = PICTURES, database: str = DATABASE) -> list[Seeded]:
    """Write the documents of both data sets, the GridFS files and the picture files that they name.

    Parameters
    ----------
    client
        Client of any MongoDB server that may be written to.
    pictures
        Directory that receives the picture files.
    database
        Name of the database; its collections `digits` and `tumors` receive the documents.
    """
    target = client[database]
    digits = list(digit_documents(target, pictures))
    tumors = list(tumor_documents())
    _write(target.digits, digits)
    _write(target.tumors, tumors)
    target.digits.create_index("captured_at")
    target.tumors.create_index("site")
    return [
        Seeded("digits", len(digits), TRUNCATED + WRONG_TYPE + UNDATED),
        Seeded("tumors", len(tumors), 0),
    ]


def digit_documents(database: Database[Any], pictures: Path) -> Iterator[Document]:
    """Give every document of `digits`, storing the pictures that live outside of the documents.

    Of ten pictures one goes to GridFS and one to a file. The broken documents come last: repeated digits with
    a truncated PNG, with the digit as a word, or without a date.
    """
    bucket = gridfs.GridFSBucket(database, BUCKET)
    stored = {file._id for file in bucket.find({})}
    digits = load_digits()
    images, classes = digits.images, digits.target
    num_broken = TRUNCATED + WRONG_TYPE + UNDATED
    for row in range(len(images) + num_broken):
        broken = row - len(images)  # negative while the document is whole
        source = row if broken < 0 else broken * 97
        png = _png(images[source])
        if 0 <= broken < TRUNCATED:
            png = png[: len(png) // 2]
        document = _digit(row, images[source], int(classes[source]))
        kind = row % 10
        if kind == 3:
            document["image"] = file_id = _object_id(YEAR, row, b"file")
            if file_id not in stored:
                bucket.upload_from_stream_with_id(file_id, f"digit-{row:04}.png", png)
        elif kind == 7:
            document["image"] = name = f"{document['captured_at']:%Y-%m}/{row:04}.png"
            _store(pictures / name, png)
        else:
            document["image"] = Binary(png)
        if TRUNCATED <= broken < TRUNCATED + WRONG_TYPE:
            document["digit"] = ("zero", "one", "two")[broken - TRUNCATED]
        elif broken >= TRUNCATED + WRONG_TYPE:
            del document["captured_at"]
        yield document


def tumor_documents() -> Iterator[Document]:
    """Give every document of `tumors`; of the `worst` values about one in fifty is absent or null."""
    tumors = load_breast_cancer()
    names = [str(name).split() for name in tumors.feature_names]
    for row, (values, target) in enumerate(zip(tumors.data, tumors.target, strict=True)):
        chance = random.Random(row)
        document: Document = {"_id": _object_id(YEAR, row, b"case")}
        document["site"] = chance.choice(SITES)
        document["diagnosis"] = str(tumors.target_names[target])
        for words, value in zip(names, values, strict=True):
            # "mean radius", "radius error", "worst concave points"
            group = "error" if words[-1] == "error" else words[0]
            feature = "_".join(words[:-1] if group == "error" else words[1:])
            members = document.setdefault(group, {})
            fate = chance.random() if group == "worst" else 1.0
            if fate >= 0.02:
                members[feature] = float(value)
            elif fate >= 0.01:
                members[feature] = None
        yield document


def _digit(row: int, pixels: np.ndarray[Any, Any], digit: int) -> Document:
    chance = random.Random(row)
    captured_at = YEAR + timedelta(milliseconds=chance.randrange(YEAR_MS))
    device: Document = {
        "model": chance.choice(("flatbed", "camera", "tablet")),
        "dpi": chance.choice((150, 300, 600)),
        "firmware": {"major": chance.randint(1, 3), "minor": chance.randint(0, 9)},
    }
    if chance.random() < 0.4:
        device["gain"] = round(chance.uniform(0.5, 2.0), 3)
    return {
        "_id": _object_id(captured_at, row, b"scan"),
        "digit": digit,
        "captured_at": captured_at,
        "writer": f"writer-{chance.randrange(43):02}",
        "device": device,
        "strokes": _strokes(pixels),
    }


def _strokes(pixels: np.ndarray[Any, Any]) -> list[float]:
    """Measure every run of ink in every row of pixels, half a millimetre a pixel."""
    widths: list[float] = []
    for line in pixels > 4:
        edges = np.flatnonzero(np.diff(np.concatenate(([0], line.astype(np.int8), [0]))))
        widths += [float(end - start) / 2 for start, end in zip(edges[::2], edges[1::2], strict=True)]
    return widths


def _png(pixels: np.ndarray[Any, Any]) -> bytes:
    """Encode 8 x 8 values from 0 to 16 as a grey PNG."""
    target = io.BytesIO()
    Image.fromarray(np.rint(pixels * (255 / 16)).astype(np.uint8)).save(target, "PNG")
    return target.getvalue()


def _object_id(when: datetime, row: int, label: bytes) -> ObjectId:
    return ObjectId(int(when.timestamp()).to_bytes(4, "big") + label + row.to_bytes(4, "big"))


def _store(path: Path, content: bytes) -> None:
    if not path.exists() or path.read_bytes() != content:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _write(collection: Collection[Any], documents: list[Document]) -> None:
    """Insert or replace; the server writes nothing for a document that is equal already."""
    writes = [ReplaceOne({"_id": document["_id"]}, document, upsert=True) for document in documents]
    collection.bulk_write(writes, ordered=False)
