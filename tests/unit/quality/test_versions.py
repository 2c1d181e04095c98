"""Code versions change with what an asset's content depends on, and with nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from assets.spec import DatasetSpec
from assets.versions import code_version

ASSETS = ("documents", "images", "records", "snapshot")


def dataset(**changes: Any) -> DatasetSpec:
    attributes = {
        "name": "goods",
        "source": {"database": "shop", "collection": "goods"},
        "columns": {
            "picture": {"kind": "image", "path": "picture", "size": [8, 8]},
            "price": {"kind": "number", "path": "price"},
        },
    }
    for key, value in changes.items():
        attributes[key] = {**attributes.get(key, {}), **value}  # type: ignore[dict-item]
    return DatasetSpec.model_validate(attributes)


@pytest.mark.parametrize(
    ("changes", "stale"),
    [
        ({"checks": {"max_reject_share": 0.5}}, set()),
        ({"refresh": {"schedule": "0 6 * * *"}}, set()),
        ({"source": {"max_documents_per_second": 10}}, set()),
        ({"splits": {"by": "hash", "fractions": {"train": 1.0}}}, {"snapshot"}),
        (
            {"columns": {"picture": {"kind": "image", "path": "picture", "size": [9, 9]}}},
            {"images", "snapshot"},
        ),
        (
            {"columns": {"price": {"kind": "number", "path": "price", "dtype": "float64"}}},
            {"records", "snapshot"},
        ),
        (
            {"columns": {"price": {"kind": "number", "path": "cost"}}},
            {"documents", "records", "snapshot"},
        ),
        ({"source": {"filter": {"done": True}}}, {"documents"}),
    ],
)
def test_only_what_changed_goes_stale(changes: dict[str, Any], stale: set[str]) -> None:
    before, after = dataset(), dataset(**changes)
    assert {name for name in ASSETS if code_version(before, name) != code_version(after, name)} == stale
