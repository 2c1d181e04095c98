"""The summaries of columns that versions and snapshots keep: of train rows and the rest, taken together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from assets.columns.stats.summary import Summary


def summaries(statistics: Mapping[str, Any]) -> dict[str, Summary]:
    """Return the summary of every record column; pictures have other statistics and are left out."""
    return {
        name: Summary.from_json(kept["train"]).merge(Summary.from_json(kept["rest"]))
        for name, kept in statistics.items()
        if isinstance(kept, Mapping) and "train" in kept and "rest" in kept
    }
