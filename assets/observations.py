"""What Dagster records when partitions of a source are seen to have changed."""

from collections.abc import Mapping

import dagster as dg

from assets.shape import asset_key
from assets.spec import DatasetSpec


def observations(spec: DatasetSpec, versions: Mapping[str, str], how: str) -> list[dg.AssetObservation]:
    """Return the data versions of partitions of a source, as events that say how they were seen."""
    return [
        dg.AssetObservation(
            asset_key(spec, "source"),
            partition=None if spec.partitions.by == "none" else key,
            description=f"A change, {how}.",
            tags={"dagster/data_version": version},
        )
        for key, version in versions.items()
    ]
