"""The main job as a newcomer runs it: `python -m demo` in a copy of the repository without any `data`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from demo.seed import TRUNCATED, UNDATED, WRONG_TYPE

ROOT = Path(__file__).resolve().parents[3]
OWN = ("MONGODB_URI", "DAGSTER_HOME", "SHARDS_ROOT", "SHARDMILL_MONGO_PORT")

pytestmark = [pytest.mark.xdist_group("demo"), pytest.mark.timeout(1800)]


def call(directory, *arguments):
    environment = {name: value for name, value in os.environ.items() if name not in OWN}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    directory = tmp_path_factory.mktemp("clone")
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True)
    for name in filter(None, tracked.stdout.split("\0")):
        if (ROOT / name).is_file():
            target = directory / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / name).read_bytes())
    yield directory
    call(directory, "-m", "demo.daemon", "stop")


@pytest.fixture(scope="module")
def first_run(clone):
    return call(clone, "-m", "demo")


def figure(printed, name):
    line = next(line for line in printed.splitlines() if line.startswith(name))
    return line[len(name) :].split()


def test_documents_become_trained_networks(first_run):
    assert first_run.returncode == 0, first_run.stdout[-4_000:] + first_run.stderr[-4_000:]
    printed = first_run.stdout
    assert figure(printed, "documents in MongoDB") == ["1,806", "569"]
    assert figure(printed, "partitions") == ["12", "4"]
    digits, tumors = map(float, figure(printed, "test accuracy"))
    assert digits >= 0.97
    assert tumors >= 0.95
    assert "Traceback" not in first_run.stderr


def test_what_was_broken_on_purpose_is_rejected_with_its_reason_and_nothing_else(first_run):
    rejected = re.findall(r"^rejected in (\w+), (.*): (\d+)$", first_run.stdout, re.MULTILINE)
    assert {dataset for dataset, _, _ in rejected} == {"digits"}
    counts = {re.search(r"image|digit|captured_at", what)[0]: int(count) for _, what, count in rejected}
    assert counts == {"image": TRUNCATED, "digit": WRONG_TYPE, "captured_at": UNDATED}


def test_a_second_run_finds_the_same_versions_and_low_accuracy_is_a_failure(clone, first_run):
    before = sorted(path.relative_to(clone) for path in (clone / "data/shards").rglob("*.json"))
    (clone / "examples/train_digits.py").write_text("print('test accuracy 0.9000, 10 samples/s')\n")
    again = call(clone, "-m", "demo")
    assert again.returncode == 1
    assert "error: accuracy below the floor: digits" in again.stderr
    assert sorted(path.relative_to(clone) for path in (clone / "data/shards").rglob("*.json")) == before
    listed = call(clone, "-m", "shards", "ls", "data/shards")
    assert listed.returncode == 0, listed.stderr
    assert "digits" in listed.stdout
    assert "tumors" in listed.stdout
