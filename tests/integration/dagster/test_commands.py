"""What a user types: dg check defs, list components, scaffold; in a copy of the project."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[3]
DG = Path(sys.executable).with_name("dg")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("project")
    for name in ("pyproject.toml", "workspace.yaml", "dagster.yaml"):
        shutil.copy(PROJECT / name, copy)
    for name in ("assets", "shards"):
        shutil.copytree(PROJECT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


def dg(project: Path, *arguments: str) -> tuple[int, str]:
    environment = {
        key: value for key, value in os.environ.items() if key not in ("DAGSTER_HOME", "MONGODB_URI")
    }
    done = subprocess.run(
        [DG, *arguments],
        cwd=project,
        env={**environment, "PYTHONPATH": str(project), "COLUMNS": "120", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_the_shipped_datasets_are_right_without_a_server(project: Path) -> None:
    code, output = dg(project, "check", "defs")
    assert code == 0, output
    assert "All definitions loaded successfully" in output


def test_the_component_is_listed_with_its_documentation(project: Path) -> None:
    code, output = dg(project, "list", "components")
    assert code == 0, output
    assert "assets.MongoDataset" in output
    assert "A MongoDB collection as training data." in output


def test_scaffold_then_break(project: Path) -> None:
    code, output = dg(project, "scaffold", "defs", "assets.MongoDataset", "mydata")
    assert code == 0, output
    file = project / "assets" / "defs" / "mydata" / "defs.yaml"
    text = file.read_text()
    assert "# owners:" in text
    file.write_text(text.replace("kind: number", "kind: numbr"))
    code, output = dg(project, "check", "defs")
    assert code == 1, output
    line = text.splitlines().index("      kind: number") + 1
    message = f"assets/defs/mydata/defs.yaml:{line}: columns.amount.kind: got 'numbr'; allowed: image, boxes"
    assert message in output
    assert len(re.findall("numbr", output)) == 1
    file.write_text(text)
    code, output = dg(project, "check", "defs")
    assert code == 0, output
