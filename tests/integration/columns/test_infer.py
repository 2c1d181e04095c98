"""`python -m assets infer` writes a file that the specification accepts and that builds."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
import yaml
from bson.binary import Binary, BinaryVectorDtype
from bson.decimal128 import Decimal128
from bson.objectid import ObjectId
from bson.regex import Regex
from pymongo import MongoClient

from assets.__main__ import main
from assets.columns.build import build_records
from assets.columns.infer import profile_of, suggest
from assets.columns.infer.columns import column_name
from assets.columns.infer.write import scalar
from assets.mongo.build import build_documents
from assets.mongo.ranges import partition_filter
from assets.plan import fields_of
from assets.spec import DatasetSpec
from shards import ShardStore

START = datetime(2024, 1, 1, tzinfo=timezone.utc)


def document(number: int) -> dict[str, Any]:
    made: dict[str, Any] = {
        "age": number,
        "weight": number / 3,
        "visits": 2**40 + number,
        "money": Decimal128("1.25"),
        "Species Name": ["cat", "dog", "fox"][number % 3],
        "story": f"story number {number}",
        "ok": number % 2 == 0,
        "created_at": START + timedelta(hours=12 * number),
        "owner": ObjectId(),
        "key": Binary.from_uuid(UUID(int=number)),
        "blob": b"abc",
        "picture": b"\xff\xd8\xff" + bytes(20),
        "photo_url": f"https://example.com/{number}.jpg",
        "embedding": Binary.from_vector([1.0] * 5, BinaryVectorDtype.FLOAT32),
        "point": [1.0, 2.5, float(number)],
        "tags": ["a", "b"][: number % 3],
        "grid": [[1, 2], [3]],
        "device": {"model": f"m{number % 2}", "lens": {"mm": 35 + number % 5}, "fw.version": "1.2"},
        "lines": [{"price": 2.5, "name": "x"}, {"price": 1.0, "name": f"n{number}"}],
        "pattern": Regex("a"),
        "mixed": number if number % 2 else f"no {number}",
        "mostly": number if number % 50 else "none",
        "written": number + 0.5 if number % 2 else str(number),
        "patient": f"P{number % 60:04}",
        "yes": ["no", "on"][number % 2],
        "unit": "kg",
        "nothing": None,
    }
    if number % 10 == 0:
        del made["weight"], made["age"]
    return made


@pytest.fixture
def uri_env(monkeypatch: pytest.MonkeyPatch, mongo_uri: str) -> str:
    monkeypatch.setenv("INFER_URI", mongo_uri)
    return "INFER_URI"


def test_the_written_file_is_accepted_and_builds(
    database: Any, mongo_client: MongoClient[Any], uri_env: str, tmp_path: Path, store: ShardStore
) -> None:
    database.animals.insert_many([document(number) for number in range(300)])
    output = tmp_path / "defs.yaml"
    options = ["infer", "--database", database.name, "--collection", "animals", "--uri-env", uri_env]
    assert main([*options, "--output", str(output)]) == 0
    text = output.read_text()
    written = yaml.safe_load(text)
    assert written["type"] == "assets.MongoDataset"
    spec = DatasetSpec.model_validate(
        {"name": "animals", "checks": {"max_reject_share": 1.0}, **written["attributes"]}
    )
    kinds = {name: column.kind for name, column in spec.columns.items()}
    assert kinds == {
        "age": "number",
        "weight": "number",
        "visits": "number",
        "money": "number",
        "species_name": "category",
        "story": "text",
        "ok": "bool",
        "created_at": "datetime",
        "owner": "id",
        "key": "id",
        "blob": "binary",
        "picture": "image",
        "embedding": "embedding",
        "point": "vector",
        "tags": "multilabel",
        "grid": "list",
        "device_model": "category",
        "device_lens_mm": "number",
        "lines_price": "list",
        "lines_name": "list",
        "mostly": "number",
        "written": "number",
        "patient": "text",
        "yes": "category",
    }
    dtypes = {name: spec.record_columns[name].dtype for name in ("age", "weight", "visits", "written")}
    assert dtypes == {"age": "int32", "weight": "float32", "visits": "int64", "written": "float64"}
    assert spec.record_columns["money"].coerce
    assert spec.record_columns["written"].coerce
    assert (spec.record_columns["age"].missing, spec.record_columns["weight"].missing) == ("mask", "nan")
    assert (spec.partitions.by, spec.partitions.field, spec.partitions.every) == (
        "time",
        "created_at",
        "month",
    )  # type: ignore[union-attr]
    for comment in (
        "# photo_url: string 100 %",
        "looks like pictures (bytes JPEG); encoded_kb: 0.",
        "# mixed: ",
        "several types: choose",
        "absent 10.0 %",
        "# pattern: Regex 100 %; no column takes this",
        "values of other types will be rejected",
        "# device.lens.mm: int 100 %; 5 different; most often 35 20.0 %, ",
        "if these are classes: kind: category, type: int64",
        '# device.model: string 100 %; 2 different; most often "m0" 50.0 %, "m1" 50.0 %',
        "strings hold numbers",
        "# unit: string 100 %; 1 different; always the same\n    # unit:\n",
        "# nothing: null 100 %; never a value",
        "hosts: [example.com]",
        "60 different; values repeat: perhaps kind: category, or splits.group",
        "    # group: patient   # 60 different; rows with one value",
        "# 300 values were too deep, or had names that no path can have",
    ):
        assert comment in text, comment
    key = "2024-01"
    expected = database.animals.count_documents(partition_filter(spec, key))
    report = build_documents(spec, key, fields_of(spec), client=mongo_client, store=store)
    assert report.rows + sum(report.rejects.values()) == expected > 50
    assert build_records(spec, key, store=store).rows == report.rows
    records = store.latest("animals", "records", key)
    assert records is not None
    assert np.array_equal(records.column("embedding").read()[0], np.ones(5, np.float32))
    assert main([*options, "--output", str(output)]) == 1


def test_what_cannot_be_read_is_said_without_the_address(
    database: Any, uri_env: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["infer", "--database", database.name, "--collection", "nothing", "--uri-env", uri_env]
    assert main(options) == 1
    assert "has no documents; check the names of both" in capsys.readouterr().err
    monkeypatch.setenv("INFER_URI", "mongodb://user:canary@127.0.0.1:1/?serverSelectionTimeoutMS=200")
    assert main(options) == 1
    said = capsys.readouterr()
    assert "canary" not in said.err + said.out
    assert "127.0.0.1" not in said.err + said.out
    monkeypatch.delenv("INFER_URI")
    assert main(options) == 1
    assert "INFER_URI" in capsys.readouterr().err


def test_ids_give_the_partition_where_no_date_does() -> None:
    ids = [ObjectId.from_datetime(START + timedelta(days=3 * number)) for number in range(20)]
    text = suggest(profile_of({"_id": one, "x": 1.5} for one in ids), database="d", collection="c")
    written = yaml.safe_load(text)["attributes"]
    assert written["partitions"] == {"by": "time", "field": "_id", "every": "week", "start": "2024-01-01"}


def test_names_of_columns() -> None:
    taken: set[str] = set()
    paths = ["a.b", "a_b", "9lives", "camelCase", "lines.*.Price (€)", "É", "x" * 100, "x" * 101, "ID"]
    names = [column_name(path, taken) for path in paths]
    assert names[:5] == ["a_b", "a_b_2", "c_9lives", "camel_case", "lines_price"]
    assert len(set(names)) == len(names)
    for name in names:
        assert len(name) <= 64
        assert "__" not in name


@pytest.mark.parametrize(
    "value",
    [
        "yes",
        "no",
        "1",
        "1.5",
        "a: b",
        "# x",
        "-",
        "",
        "é",
        'q"',
        "null",
        "a,b",
        "a\nb",
        [1, "x, y"],
        {"a": [True]},
    ],
)
def test_scalars_survive_yaml(value: Any) -> None:
    assert yaml.safe_load(f"k: {scalar(value)}") == {"k": value}


def test_numbers_that_are_none_are_kept_as_missing() -> None:
    """A sample with NaN must not suggest a column that would reject a tenth of the collection."""
    documents = [{"x": float("nan") if number % 10 == 0 else number / 7} for number in range(100)]
    written = suggest(profile_of(documents), database="d", collection="c")
    column = yaml.safe_load(written)["attributes"]["columns"]["x"]
    assert column["missing"] == "nan"
    assert "NaN 10.0 %" in written


def test_nothing_is_absent_from_lists_of_dicts() -> None:
    documents = [{"n": number, "lines": [{"sku": f"s{number % 5}"}] * (number % 3)} for number in range(90)]
    written = suggest(profile_of(documents), database="d", collection="c")
    assert "absent" not in written
    assert "0 to 89" in written
