"""Where the demo and `make ui` keep Dagster's own records, so that the UI shows what the demo did."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HOME = ROOT / "data" / "dagster"


def enter() -> None:
    """Work in the repository's root, with DAGSTER_HOME below `data` unless it is set already.

    The instance file of the repository's root says nothing about storage, so a copy of it serves the home.
    """
    os.chdir(ROOT)
    if "DAGSTER_HOME" not in os.environ:
        HOME.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / "dagster.yaml", HOME / "dagster.yaml")
        os.environ["DAGSTER_HOME"] = str(HOME)
