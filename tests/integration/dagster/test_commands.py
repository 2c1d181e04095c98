"""What a user types: dg check defs, list components, scaffold; in a copy of the project."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.spec.test_wrong_yaml import REPLACED, RIGHT

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
        timeout=600,
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
    """Beside a scaffold with one mistake lie as many wrong files as there are kinds of mistakes.

    Left out is the one that is no YAML, which `dg` refuses by itself.
    """
    code, output = dg(project, "scaffold", "defs", "assets.MongoDataset", "mydata")
    assert code == 0, output
    file = project / "assets" / "defs" / "mydata" / "defs.yaml"
    text = file.read_text()
    assert "# owners:" in text
    file.write_text(text.replace("kind: number", "kind: numbr"))
    wrong = {project / "assets" / "defs" / f"wrong{n:02}": row for n, row in enumerate(REPLACED) if row[2]}
    assert len(wrong) >= 45
    for folder, (old, new, _, _) in wrong.items():
        folder.mkdir()
        (folder / "defs.yaml").write_text(RIGHT.replace(old, new, 1))
    code, output = dg(project, "check", "defs")
    assert code == 1, output
    for folder, (_, _, key, allowed) in wrong.items():
        message, *more = re.findall(
            rf"^.*assets/defs/{folder.name}/defs\.yaml:(\d+: .*)$", output, re.MULTILINE
        )
        assert key in message, (message, more)
        assert allowed in message
        shutil.rmtree(folder)
    line = text.splitlines().index("      kind: number") + 1
    message = f"assets/defs/mydata/defs.yaml:{line}: columns.amount.kind: got 'numbr'; allowed: image, boxes"
    assert message in output
    assert len(re.findall(r"/mydata/.*numbr", output)) == 1
    file.write_text(text)
    code, output = dg(project, "check", "defs")
    assert code == 0, output
