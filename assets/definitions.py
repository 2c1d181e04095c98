"""The one Definitions object of this code location: every dataset below `assets/defs`."""

from __future__ import annotations

from pathlib import Path

import dagster as dg

from assets.spec.load import check_folder

PROJECT = Path(__file__).resolve().parents[1]


@dg.definitions
def defs() -> dg.Definitions:
    """Load every `defs.yaml`, after all of them have been found right."""
    check_folder(PROJECT / "assets" / "defs")
    loaded = dg.load_from_defs_folder(path_within_project=Path(__file__).parent)
    return dg.Definitions.merge(loaded, dg.Definitions(executor=dg.in_process_executor))
