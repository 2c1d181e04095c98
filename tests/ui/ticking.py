"""A code location with one dataset, refreshed by a schedule every minute."""

from __future__ import annotations

import dagster as dg

from assets.dataset import definitions_of
from assets.spec import DatasetSpec
from demo.seed import DATABASE


@dg.definitions
def defs() -> dg.Definitions:
    """Return it."""
    return definitions_of(
        DatasetSpec.model_validate(
            {
                "name": "ticking",
                "source": {"database": DATABASE, "collection": "digits"},
                "partitions": {
                    "by": "time",
                    "field": "captured_at",
                    "every": "month",
                    "start": "2025-01-01",
                    "end": "2026-01-01",
                },
                "columns": {"digit": {"kind": "category", "path": "digit", "type": "int64"}},
                "checks": {"max_reject_share": 0.1},
                "refresh": {"schedule": "* * * * *", "look_back": 1},
            }
        )
    )
