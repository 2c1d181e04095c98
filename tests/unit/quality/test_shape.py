"""What Dagster is told of a dataset before anything runs: groups, pools, backfills, jobs, descriptions."""

from __future__ import annotations

import dagster as dg
import pytest

from assets.dataset import definitions_of
from assets.spec import DatasetSpec

SPEC = DatasetSpec.model_validate(
    {
        "name": "goods",
        "description": "What the shop sells.",
        "owners": ["team:shop"],
        "tags": {"tier": "gold"},
        "source": {"database": "shop", "collection": "goods", "filter": {"done": True}},
        "partitions": {"by": "time", "field": "at", "every": "month", "start": "2025-01-01"},
        "columns": {
            "picture": {"kind": "image", "path": "picture", "size": [8, 8], "description": "The front."},
            "price": {"kind": "number", "path": "price.net", "transform": ["log1p", {"clip": [0, 9]}]},
        },
        "runs": {"partitions_per_run": 3},
        "checks": {"fresh_within_hours": 2},
    }
)


@pytest.fixture(scope="module")
def definitions() -> dg.Definitions:
    return definitions_of(SPEC)


def asset(definitions: dg.Definitions, name: str) -> dg.AssetsDefinition:
    return definitions.resolve_assets_def(dg.AssetKey(["goods", name]))


@pytest.mark.parametrize("name", ["documents", "images", "records", "snapshot"])
def test_every_asset(definitions: dg.Definitions, name: str) -> None:
    made = asset(definitions, name)
    spec = made.get_asset_spec()
    assert spec.group_name == "goods"
    assert list(spec.owners) == ["team:shop"]
    assert spec.tags["tier"] == "gold"
    assert "What the shop sells." in str(spec.description)
    assert spec.code_version is not None
    policy = made.backfill_policy
    assert (policy.max_partitions_per_run if policy else None) == (None if name == "snapshot" else 3)


def test_pools(definitions: dg.Definitions) -> None:
    pools = {
        name: asset(definitions, name).op.pool for name in ("documents", "images", "records", "snapshot")
    }
    assert pools == {"documents": "mongo", "images": "images", "records": None, "snapshot": None}


def test_jobs(definitions: dg.Definitions) -> None:
    names = {job.name for job in definitions.jobs or []}
    assert names == {f"goods_{name}" for name in ("all", "refresh", "trial", "verify", "gc")}
    assert definitions.resolve_job_def("goods_refresh").tags["dataset"] == "goods"


def test_columns_say_where_they_come_from(definitions: dg.Definitions) -> None:
    shown = {
        column.name: column.description
        for name in ("images", "records")
        for column in asset(definitions, name).get_asset_spec().metadata["dagster/column_schema"].columns
    }
    assert shown == {"picture": "The front. (`picture`)", "price": "`price.net`; log1p, clip"}


def test_freshness(definitions: dg.Definitions) -> None:
    policy = asset(definitions, "snapshot").get_asset_spec().freshness_policy
    assert policy is not None
    assert policy.fail_window.to_timedelta().total_seconds() == 7_200
