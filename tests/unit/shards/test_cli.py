"""`python -m shards` over a real store."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from shards import ShardStore
from shards.__main__ import main
from tests.unit.shards.dataset import DATASET, build


@pytest.fixture
def root(tmp_path: Path) -> Path:
    store = ShardStore(tmp_path / "store")
    build(store)
    build(store, shift=1)
    return tmp_path / "store"


def run(root: Path, capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> Any:
    """Run a command twice, for people and for programs; what it said to programs."""
    assert main([arguments[0], str(root), *arguments[1:]]) == code
    assert capsys.readouterr().out.strip()
    assert main([arguments[0], str(root), *arguments[1:], "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_ls(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = run(root, capsys, "ls")
    assert found == [
        {"dataset": DATASET, "assets": ["documents", "images", "records", "snapshot"], "snapshots": [1, 2]}
    ]
    versions = run(root, capsys, "ls", f"{DATASET}/records/all")
    assert [row["version"] for row in versions] == [1, 2]


def test_show_stats_diff(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = run(root, capsys, "show", DATASET, "--version", "1")
    assert shown["snapshot"]["pins"]["records"]["all"]["number"] == 1
    assert run(root, capsys, "stats", f"{DATASET}/records") == {"age": {"mean": 6.5}}
    changes = run(root, capsys, "diff", DATASET, "1", "2", code=1)["changes"]
    assert {"what": "pin records[all]", "old": 1, "new": 2} in changes
    assert {"what": "statistic age.mean", "old": 4.5, "new": 5.5} in changes
    assert run(root, capsys, "diff", f"{DATASET}/images", "1")["changes"] == []


def test_head_prints_rows_and_saves_pictures(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sheet = root.parent / "sheet.png"
    rows = run(root, capsys, "head", DATASET, "-n", "3", "--sheet", str(sheet))
    assert [row["age"] for row in rows] == [1, 2, 3]
    assert rows[2]["words"] == ["a", "a"]
    with Image.open(root.parent / "sheet-picture.png") as picture:
        assert picture.size == (256, 256)
        assert picture.getpixel((127 + 50, 50)) == (20, 21, 22)
    assert run(root, capsys, "head", f"{DATASET}/documents", "-n", "1") == [{"_id": "b'\\x00'"}]


def test_head_of_a_split(root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.chdir(root.parent)
    rows = run(root, capsys, "head", DATASET, "--split", "test")
    assert [row["row"] for row in rows] == [10, 11]


def test_tag_gc_and_verify(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(root, capsys, "tag", DATASET, "golden", "1")
    assert run(root, capsys, "tag", DATASET) == {"golden": 1}
    assert main(["tag", str(root), DATASET, "golden", "2"]) == 2
    assert "move" in capsys.readouterr().err
    collected = run(root, capsys, "gc", DATASET, "--keep", "1", "--grace-hours", "0")
    assert collected["dry_run"]
    assert collected["versions"] == []
    run(root, capsys, "tag", DATASET, "golden", "--remove")
    assert main(["gc", str(root), DATASET, "--keep", "1", "--grace-hours", "0", "--delete"]) == 0
    assert "2 versions and 0 attempts" in capsys.readouterr().out
    assert ShardStore(root).versions(DATASET, "records") == [2]
    assert run(root, capsys, "verify", DATASET, "--full")["damages"] == []
    damaged = next(root.glob("*/records/data/*/*/column.age.*"))
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"\x07")
    assert run(root, capsys, "verify")["damages"] == []
    found = run(root, capsys, "verify", "--full", code=1)["damages"]
    assert [Path(damage["path"]).name for damage in found] == [damaged.name]


def test_time_travel_by_date(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = ShardStore(root).snapshot(DATASET, 1).created_at.isoformat()
    assert run(root, capsys, "show", DATASET, "--version", first)["number"] == 1
    assert main(["show", str(root), DATASET, "--version", "2001-01-01"]) == 2
    assert "no version at" in capsys.readouterr().err


def test_export_parquet(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = root.parent / "parquet"
    assert main(["export", str(root), DATASET, "parquet", str(out)]) == 0
    table = pq.read_table(out / "train.parquet")
    assert table.num_rows == 10
    assert table["age"].to_pylist() == [float(row + 1) for row in range(10)]
    assert table["picture"][3].as_py()[0][0] == [60, 61, 62]
    assert main(["export", str(root), DATASET, "parquet", str(out)]) == 2
    assert "not empty" in capsys.readouterr().err


def test_export_hugging_face(root: Path) -> None:
    out = root.parent / "huggingface"
    assert main(["export", str(root), DATASET, "huggingface", str(out)]) == 0
    table = pq.read_table(out / "data/test-00000-of-00001.parquet")
    with Image.open(io.BytesIO(table["picture"][0].as_py()["bytes"])) as picture:
        assert np.array_equal(np.asarray(picture)[0, 0], [200, 201, 202])
    features = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]
    assert features["picture"] == {"_type": "Image"}
    assert features["vector"] == {
        "feature": {"dtype": "float64", "_type": "Value"}, "length": 3, "_type": "List"
    }  # fmt: skip
    assert "path: data/train-00000-of-00001.parquet" in (out / "README.md").read_text()


def test_export_webdataset(root: Path) -> None:
    out = root.parent / "webdataset"
    assert main(["export", str(root), DATASET, "webdataset", str(out)]) == 0
    with tarfile.open(out / "train-000000.tar") as archive:
        names = archive.getnames()
        assert names[:3] == ["000000000000.picture.png", "000000000000.varying.png", "000000000000.json"]
        member = archive.extractfile("000000000003.json")
        assert member is not None
        assert json.loads(member.read()) == {
            "age": 4.0, "vector": [1.0, 1.0, 1.0], "color": 1, "words": ["a"] * 3, "text": "text 3"
        }  # fmt: skip
    assert pa.array(names).unique().to_pylist() == names


def test_errors_say_what_to_do(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", str(root), "nothing"]) == 2
    assert "has no snapshot" in capsys.readouterr().err
    assert main(["show", str(root), f"{DATASET}/records", "--version", "9"]) == 2
    assert "no such file" in capsys.readouterr().err
