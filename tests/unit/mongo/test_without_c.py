"""PyMongo's compiled code makes things quick and nothing different: the walker does not use it for values."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def told(how: str) -> list[str]:
    command = [sys.executable, "-m", "tests.unit.mongo.without_c", how]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()


def test_rows_and_rejects_are_the_same_without_compiled_bson() -> None:
    compiled, plain = told("compiled"), told("plain")
    assert (compiled[0], plain[0]) == ("True", "False")
    assert len(compiled) == 201
    assert compiled[1:] == plain[1:]
