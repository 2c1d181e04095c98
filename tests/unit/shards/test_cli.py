"""`python -m shards` over a real store."""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import pty
import re
import struct
import subprocess
import sys
import tarfile
import termios
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from shards import Column, ShardStore
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
    assert run(root, capsys, "head", f"{DATASET}/documents", "-n", "1") == [{"_id": "00"}]


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


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # webdataset closes no file
def test_what_is_exported_is_read_by_the_libraries_it_is_for(root: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="installed by `make bench-peers`")
    webdataset = pytest.importorskip("webdataset", reason="installed by `make bench-peers`")
    for form in ("huggingface", "webdataset"):
        assert main(["export", str(root), DATASET, form, str(root.parent / form)]) == 0
    loaded = datasets.load_dataset(str(root.parent / "huggingface"), cache_dir=str(root.parent / "cache"))
    assert {split: rows.num_rows for split, rows in loaded.items()} == {"train": 10, "test": 2}
    row = loaded["train"][3]
    assert (row["age"], row["words"], row["text"]) == (4.0, ["a"] * 3, "text 3")
    assert np.asarray(row["picture"])[0, 0].tolist() == [60, 61, 62]
    rows = list(
        webdataset.WebDataset(
            [f"{root.parent}/webdataset/train-000000.tar"], shardshuffle=False, empty_check=False
        ).decode("rgb8")
    )
    assert len(rows) == 10
    assert (rows[3]["__key__"], rows[3]["json"]["text"]) == ("000000000003", "text 3")
    assert rows[3]["picture.png"][0, 0].tolist() == [60, 61, 62]


def test_diff_sees_every_shard_and_the_schema_of_snapshots(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = ShardStore(tmp_path)
    for last, dtype in ((0, "<f4"), (9, "<f4"), (9, "<f8")):
        with store.begin("d", "records", shard_bytes=8) as attempt:
            rows = np.arange(8, dtype=dtype)
            rows[-1] = last
            attempt.column(Column("x", "npy", dtype)).append(rows)
            version = attempt.commit().version
        with store.begin_snapshot("d") as snapshot:
            snapshot.pin(version)
            snapshot.commit()
    changes = run(tmp_path, capsys, "diff", "d/records", "1", "2", code=1)["changes"]
    assert [change["what"] for change in changes] == ["column x content"]
    changes = run(tmp_path, capsys, "diff", "d", "2", "3", code=1)["changes"]
    assert {"what": "column x", "old": "number <f4", "new": "number <f8"} in changes


def test_json_is_json_whatever_the_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with ShardStore(tmp_path).begin("d", "records") as attempt:
        attempt.column(Column("x", "npy", "<f4")).append(np.array([np.nan, -np.inf, 1], "<f4"))
        attempt.commit()
    assert main(["head", str(tmp_path), "d/records", "--json"]) == 0

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    rows = json.loads(capsys.readouterr().out, parse_constant=refuse)
    assert [row["x"] for row in rows] == ["nan", "-inf", 1.0]


def in_terminal(root: Path, *arguments: str, term: str = "xterm-256color") -> tuple[int, str]:
    """Run a command in a terminal of 100 columns; its exit code, and all that the terminal was told."""
    here, there = pty.openpty()
    fcntl.ioctl(there, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR")}
    process = subprocess.Popen(
        [sys.executable, "-m", "shards", arguments[0], str(root), *arguments[1:]],
        stdout=there,
        stderr=there,
        env={**environment, "TERM": term, "PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=root.parent,
    )
    os.close(there)
    told = b""
    with contextlib.suppress(OSError):  # as a terminal says that nobody writes to it any more
        while data := os.read(here, 1 << 16):
            told += data
    os.close(here)
    return process.wait(), told.decode()


def test_a_terminal_shows_pictures_and_progress(root: Path) -> None:
    code, told = in_terminal(root, "head", DATASET, "-n", "3")
    assert code == 0
    assert "\x1b[38;2;20;21;22;48;2;20;21;22m\u2580" in told
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in told.splitlines()]
    assert max(map(len, lines)) <= 100
    assert not list(root.parent.glob("*.png"))
    code, told = in_terminal(root, "head", DATASET, "-n", "3", term="dumb")
    assert "\x1b" not in told
    assert len(list(root.parent.glob("*.png"))) == 2
    code, told = in_terminal(root, "verify", DATASET, "--full")
    assert code == 0
    assert re.search(r"\rverify \[#{30}\] 100% of [\d.]+ KiB", told)
    assert "0 damaged" in told


def test_errors_say_what_to_do(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", str(root), "nothing"]) == 2
    assert f"no dataset 'nothing'; there are {DATASET}" in capsys.readouterr().err
    assert main(["show", str(root), f"{DATASET}/records", "--version", "9"]) == 2
    assert "no version 9; the latest is 2" in capsys.readouterr().err
    assert main(["ls", str(root.parent / "nowhere")]) == 2
    assert "no such directory" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("target", "said"),
    [("other", "no dataset 'other'"), (f"{DATASET}/other", "no asset 'other'; there are documents, images")],
)
def test_nothing_is_verified_in_vain(
    root: Path, capsys: pytest.CaptureFixture[str], target: str, said: str
) -> None:
    """A name that was misspelt is no clean bill of health."""
    assert main(["verify", str(root), target]) == 2
    assert said in capsys.readouterr().err
