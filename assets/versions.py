"""Code versions: a hash of the part of a specification, and of the code, that an asset's content depends on.

Only what changes the content counts: a new threshold, schedule or description leaves every asset fresh, a new
image size makes `images` and `snapshot` stale and leaves `documents` and `records` alone.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import xxhash

from assets.plan import fields_of
from assets.spec import DatasetSpec
from assets.vision.recipe import PIXELS_REVISION

CODE = {"documents": 2, "images": PIXELS_REVISION, "records": 2, "snapshot": 1}
"""Raised by one when the code of an asset gives other content for the same input."""

_SOURCE = {"database", "collection", "collections", "dump", "filter", "pipeline", "unwound_by"}
_IGNORED = {"description", "urls", "timeout_seconds"}


def code_version(spec: DatasetSpec, asset: str) -> str:
    """Return the code version of one asset of `spec`, 16 hexadecimal digits."""
    relevant: Any
    if asset == "documents":
        source = spec.source.model_dump(mode="json", include=_SOURCE)
        partitions = spec.partitions.model_dump(mode="json")
        relevant = [source, partitions, [asdict(field) for field in fields_of(spec)]]
    elif asset == "images":
        relevant = _columns(spec.image_columns)
    elif asset == "records":
        relevant = _columns(spec.record_columns)
    else:
        relevant = [
            spec.splits.model_dump(mode="json"),
            {name: subset.model_dump(mode="json") for name, subset in spec.subsets.items()},
            None if spec.dedup is None else spec.dedup.model_dump(mode="json"),
            _columns(spec.columns),
        ]
    text = json.dumps([CODE[asset], relevant], sort_keys=True, default=str)
    return xxhash.xxh3_64_hexdigest(text.encode())


def _columns(columns: dict[str, Any]) -> dict[str, Any]:
    return {name: column.model_dump(mode="json", exclude=_IGNORED) for name, column in columns.items()}
