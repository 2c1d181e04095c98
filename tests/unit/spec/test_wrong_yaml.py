"""Wrong specifications are refused with file, line, key and what is allowed, one line for each problem."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from assets.spec.errors import SpecError
from assets.spec.load import check_folder, load_specs

RIGHT = """\
type: assets.MongoDataset
attributes:
  source:
    database: shop
    collection: goods
  partitions:
    by: none
  columns:
    picture:
      kind: image
      path: picture
      size: [8, 8]
    label:
      kind: category
      path: label
    price:
      kind: number
      path: price
  splits:
    by: hash
    fractions: {train: 0.8, test: 0.2}
  refresh:
    schedule: "0 6 * * *"
"""

REPLACED = [
    ("kind: number", "kind: numbr", "columns.price.kind", "image, boxes"),
    ("kind: number", "kinds: number", "columns.price.kind", "allowed: image"),
    ("path: price", "pat: price", "columns.price.pat", "is path meant?"),
    ("path: price", "path: price\n      dtype: float31", "columns.price.dtype", "float16, float32"),
    ("path: price", "path: 3", "columns.price.path", "a string"),
    ("path: price", "path: ''", "columns.price.path", "at least 1 character"),
    ("path: price", "path: price..net", "columns.price.path", "single dots"),
    (
        "database: shop",
        "database: shop\n    uri_env: mongodb://me:key@db",
        "source.uri_env",
        "such as MONGODB_URI",
    ),
    ("path: price", "path: price\n      coerce: 1", "columns.price.coerce", "true or false"),
    ("path: price", "path: price\n      minimum: 5\n      maximum: 1", "columns.price", "minimum 5"),
    ("path: price", "path: price\n      missing: default", "columns.price", "default: VALUE"),
    ("path: price", "path: price\n    price:\n      kind: bool\n      path: p", "columns.price", "twice"),
    ("    price:", "    Price:", "columns.Price", "lower-case letters"),
    ("    price:", "    price__mask:", "columns.price__mask", "double underscore"),
    ("size: [8, 8]", "size: [8, 8]\n      sources: [gridfs]", "columns.picture.sources", "source.gridfs"),
    ("size: [8, 8]", "size: [8, 8]\n      sources: [file]", "columns.picture.sources", "needs root"),
    ("size: [8, 8]", "size: [8, 8]\n      root: ../../etc", "columns.picture.root", "climbs out"),
    ("size: [8, 8]", "size: [8, 0]", "columns.picture.size.1", "greater than or equal to 1"),
    ("kind: category", "kind: boxes\n      image: photo", "columns.label.image", "allowed: picture"),
    ("collection: goods", "dump: ../goods", "source.dump", "climbs out"),
    ("collection: goods", "collection: goods\n    dump: goods", "source", "exactly one"),
    ("    database: shop\n", "", "source", "database is required"),
    ("by: none", "by: time", "partitions.field", "required key is missing"),
    (
        "by: none",
        "by: time\n    field: at\n    every: month\n    start: 2025-13-01",
        "partitions.start",
        "a date such as",
    ),
    (
        "by: none",
        "by: time\n    field: at\n    every: month\n    start: 2025-03-01\n    end: 2025-02-01",
        "partitions.end",
        "not after start",
    ),
    (
        "by: none",
        "by: time\n    field: at\n    every: month\n    start: 2025-03-01\n    timezone: Mars/Olympus",
        "partitions.timezone",
        "Mars/Olympus",
    ),
    (
        "by: none",
        "by: time\n    field: at\n    every: month\n    start: 2025-03-02",
        "partitions.start",
        "does not begin a month",
    ),
    ("by: none", "by: fortnight", "partitions.by", "none, time, static"),
    ("by: none", "every: month", "partitions.by", "none, time, static"),
    ("by: none", "by: static\n    field: site", "partitions.values", "required key is missing"),
    (
        "by: none",
        "by: static\n    field: site\n    values: [a, b, a]",
        "partitions.values",
        "'a' is given twice",
    ),
    ("by: none", "by: hash\n    buckets: 0", "partitions.buckets", "greater than or equal to 1"),
    ("test: 0.2", "test: 0.5", "splits", "1.3"),
    ("test: 0.2", "test: lots", "splits.fractions.test", "a number"),
    ("by: hash", "by: hash\n    stratify: price", "splits.stratify", "allowed: label"),
    (
        "by: hash\n    fractions: {train: 0.8, test: 0.2}",
        "by: field\n    field: f\n    values: {train: [a, b], test: [b]}",
        "splits",
        "overlap",
    ),
    (
        "by: hash\n    fractions: {train: 0.8, test: 0.2}",
        "by: time\n    field: at\n    until: {train: 2025-03-01, test: 2025-02-01, rest: null}",
        "splits",
        "not after",
    ),
    ('"0 6 * * *"', '"0 25 * * *"', "refresh.schedule", "cron field hour"),
    ('"0 6 * * *"', '"0 6 * *"', "refresh.schedule", "five fields"),
    ('"0 6 * * *"', '"0 6 * * *"\n  storage: {gc: daily}', "storage.gc", "five fields"),
    ('"0 6 * * *"', '"0 6 * * *"\n    timezone: Berlin', "refresh.timezone", "IANA name"),
    ('"0 6 * * *"', '"0 6 * * *"\n    look_back: 2', "refresh.look_back", "partitions by time"),
    ("  refresh:", "  checks: {ranges: {label: [0, 1]}}\n  refresh:", "checks.ranges.label", "price"),
    ("  refresh:", "  checks: {ranges: {price: [2, 1]}}\n  refresh:", "checks.ranges.price", "above highest"),
    (
        "  refresh:",
        "  checks: {max_reject_share: 1.5}\n  refresh:",
        "checks.max_reject_share",
        "or equal to 1",
    ),
    ("  refresh:", "  owners: [nobody]\n  refresh:", "owners.0", "team:NAME"),
    ("  refresh:", "  subsets: {few: {split: training}}\n  refresh:", "subsets.few.split", "train, test"),
    ("  refresh:", "  dedup: {content: [photo]}\n  refresh:", "dedup.content", "no column 'photo'"),
    ("  refresh:", "  name: My-Data\n  refresh:", "name", "lower-case letters"),
    ("  refresh:", "  refreshes: {}\n  refresh:", "refreshes", "is refresh meant?"),
    ("by: none", "by: [none", "", "no valid YAML"),
]


def write(folder: Path, text: str, name: str = "goods") -> Path:
    file = folder / name / "defs.yaml"
    file.parent.mkdir()
    file.write_text(text)
    return file


def line_of(text: str, message: str) -> str:
    number = int(message.split(":")[1])
    return text.splitlines()[number - 1]


def test_the_right_one_is_read(tmp_path: Path) -> None:
    (spec,) = load_specs(write(tmp_path, RIGHT))
    assert spec.name == "goods"
    assert list(spec.image_columns) == ["picture"]
    assert list(spec.record_columns) == ["label", "price"]


@pytest.mark.parametrize(("old", "new", "key", "allowed"), REPLACED, ids=[row[1][-40:] for row in REPLACED])
def test_one_readable_message(tmp_path: Path, old: str, new: str, key: str, allowed: str) -> None:
    text = RIGHT.replace(old, new, 1)
    assert text != RIGHT
    file = write(tmp_path, text)
    with pytest.raises(SpecError) as caught:
        check_folder(tmp_path)
    problem = caught.value.problems[0]
    message = str(caught.value)
    assert message.count("\n") == len(caught.value.problems) - 1 + (len(caught.value.problems) > 1)
    assert problem.file == str(file)
    assert ".".join(map(str, problem.path)) == key
    assert allowed in problem.message
    if problem.path:
        above = [str(part) for part in problem.path]
        assert any(part in line_of(text, str(problem)) for part in above)


def test_every_problem_of_every_file_is_told_at_once(tmp_path: Path) -> None:
    write(tmp_path, RIGHT.replace("kind: number", "kind: numbr").replace("by: none", "by: nine"), "one")
    write(tmp_path, RIGHT.replace("0 6 *", "0 66 *"), "two")
    with pytest.raises(SpecError) as caught:
        check_folder(tmp_path)
    assert [".".join(map(str, problem.path)) for problem in caught.value.problems] == [
        "partitions.by",
        "columns.price.kind",
        "refresh.schedule",
    ]


def test_a_connection_string_in_the_file_is_not_repeated(tmp_path: Path) -> None:
    write(tmp_path, RIGHT.replace("database: shop", "database: shop\n    uri_env: mongodb://me:canary@db"))
    with pytest.raises(SpecError, match="uri_env") as caught:
        check_folder(tmp_path)
    assert "canary" not in str(caught.value)


def test_two_datasets_of_one_name(tmp_path: Path) -> None:
    write(tmp_path, RIGHT, "goods")
    write(tmp_path, RIGHT.replace("  source:", "  name: goods\n  source:", 1), "other")
    with pytest.raises(SpecError, match=r"dataset 'goods' is declared already in .*goods/defs.yaml"):
        check_folder(tmp_path)


def test_the_line_of_a_key_inside_a_flow_mapping(tmp_path: Path) -> None:
    text = RIGHT.replace("test: 0.2", "\n      test: lots")
    write(tmp_path, text)
    with pytest.raises(SpecError) as caught:
        check_folder(tmp_path)
    assert caught.value.problems[0].line == text.splitlines().index("      test: lots}") + 1


def test_python_and_yaml_say_the_same(tmp_path: Path) -> None:
    from assets.spec import DatasetSpec

    attributes: dict[str, Any] = copy.deepcopy(yaml.safe_load(RIGHT))["attributes"]
    (from_yaml,) = load_specs(write(tmp_path, RIGHT))
    assert DatasetSpec.model_validate({"name": "goods", **attributes}) == from_yaml


def test_the_scaffold_is_a_right_specification(tmp_path: Path) -> None:
    import assets

    template = Path(assets.__file__).with_name("scaffold.yaml").read_text()
    (spec,) = load_specs(write(tmp_path, template.replace("DATASET", "goods")))
    assert spec.source.collection == "goods"
