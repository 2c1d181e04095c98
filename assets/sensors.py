"""Sensors of a dataset: declarative automation of its assets, and the change stream of its collection."""

from __future__ import annotations

import dagster as dg

from assets.shape import asset_key, asset_names
from assets.spec import DatasetSpec


def automation_sensor(spec: DatasetSpec) -> dg.SensorDefinition | None:
    """Return the sensor that evaluates the automation conditions of one dataset; None without automation."""
    if not spec.refresh.automation:
        return None
    return dg.AutomationConditionSensorDefinition(
        f"{spec.name}_automation",
        target=dg.AssetSelection.assets(*(asset_key(spec, name) for name in ["source", *asset_names(spec)])),
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=30,
        description=f"Requests what changed in {spec.name}.",
        run_tags={"dataset": spec.name},
    )
