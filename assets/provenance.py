"""Where a version that was made from documents came from: the documents, this code, this run."""

from __future__ import annotations

from dataclasses import replace

from assets.spec import DatasetSpec
from assets.versions import code_version
from shards import Provenance, Version


def provenance_of(spec: DatasetSpec, asset: str, documents: Version, run_id: str) -> Provenance:
    """Return the provenance of an asset that was made from `documents`."""
    return replace(documents.provenance, code_version=code_version(spec, asset), run_id=run_id or None)
