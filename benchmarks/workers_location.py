"""The code location of `benchmarks.workers`: the pictures of `benchmarks.refresh`, one partition a run."""

from __future__ import annotations

import copy
from typing import Any

import dagster as dg

from assets.dataset import definitions_of
from assets.spec import DatasetSpec
from benchmarks.refresh import ATTRIBUTES

DOCUMENTS_PER_SECOND = 500
"""What the slow source gives to one run."""


def spec(name: str, **source: Any) -> DatasetSpec:
    """Return the dataset under a name of its own."""
    attributes = copy.deepcopy(ATTRIBUTES)
    attributes["source"].update(source)
    return DatasetSpec.model_validate({**attributes, "name": name, "runs": {"partitions_per_run": 1}})


@dg.definitions
def defs() -> dg.Definitions:
    """Return one dataset that reads as fast as it can, and one whose source is slow."""
    fast, slow = spec("fast"), spec("slow", max_documents_per_second=DOCUMENTS_PER_SECOND)
    executor = dg.Definitions(executor=dg.in_process_executor)
    return dg.Definitions.merge(definitions_of(fast), definitions_of(slow), executor)
