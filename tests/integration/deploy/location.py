"""The shipped digits, one partition a run, read slowly enough to be caught in the middle."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import dagster as dg

from assets.dataset import definitions_of
from assets.spec import DatasetSpec
from assets.spec.load import read_yaml

DIGITS = Path(__file__).resolve().parents[3] / "assets" / "defs" / "digits" / "defs.yaml"


def digits(database: str, pictures: str, documents_per_second: float | None) -> DatasetSpec:
    """Return the specification of digits in a database of its own."""
    (document,) = read_yaml(DIGITS)
    attributes: dict[str, Any] = {**document.value["attributes"], "name": "digits"}
    source, columns = attributes["source"], attributes["columns"]
    attributes["source"] = {**source, "database": database, "max_documents_per_second": documents_per_second}
    attributes["columns"] = {**columns, "image": {**columns["image"], "root": pictures}}
    attributes["runs"] = {"partitions_per_run": 1, "retries": 5, "retry_seconds": 0.2}
    attributes["refresh"] = {}
    return DatasetSpec.model_validate(attributes)


@dg.definitions
def defs() -> dg.Definitions:
    """Return the dataset that the environment describes."""
    rate = os.environ.get("TEST_DOCUMENTS_PER_SECOND")
    spec = digits(os.environ["TEST_DATABASE"], os.environ["TEST_PICTURES"], float(rate) if rate else None)
    return dg.Definitions.merge(definitions_of(spec), dg.Definitions(executor=dg.in_process_executor))
