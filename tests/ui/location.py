"""The shipped datasets, and three that tests need: one read slowly, one out of reach, one polled."""

from __future__ import annotations

from typing import Any

import dagster as dg

from assets import definitions as shipped
from assets.dataset import definitions_of
from assets.spec import DatasetSpec
from demo.seed import DATABASE

SITES = ["north", "east", "south", "west"]


def tumors(name: str, source: dict[str, Any], **more: Any) -> dg.Definitions:
    """Return a dataset of one column over the demo's tumors."""
    return definitions_of(
        DatasetSpec.model_validate(
            {
                "name": name,
                "source": {"database": DATABASE, "collection": "tumors", **source},
                "columns": {"diagnosis": {"kind": "category", "path": "diagnosis"}},
                "runs": {"retries": 0},
                **more,
            }
        )
    )


@dg.definitions
def defs() -> dg.Definitions:
    """Return all of them."""
    return dg.Definitions.merge(
        shipped.defs(),
        tumors("slow", {"max_documents_per_second": 10}, checks={"fresh_within_hours": 24}),
        tumors("unreachable", {"uri_env": "UNREACHABLE_URI"}),
        tumors(
            "polled",
            {"uri_env": "STANDALONE_URI", "updated_field": "updated_at"},
            partitions={"by": "static", "field": "site", "values": SITES},
            refresh={"watch": True, "debounce_seconds": 0, "observe_seconds": 10},
        ),
    )
