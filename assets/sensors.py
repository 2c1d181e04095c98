"""Sensors of a dataset: its source is observed, its assets are automated, its changes are watched."""

import json

import dagster as dg

from assets.documents import add_partitions
from assets.mongo.observe import source_versions
from assets.observations import observations
from assets.partitions import partition_keys
from assets.resources import client_of, resource_keys
from assets.shape import asset_key, asset_names
from assets.spec import DatasetSpec
from assets.watch import watch_sensor


def sensors(spec: DatasetSpec) -> list[dg.SensorDefinition]:
    """Return the sensors that a dataset asks for."""
    found = [observe_sensor(spec), automation_sensor(spec)] if spec.refresh.automation else []
    return [*found, watch_sensor(spec)] if spec.refresh.watch else found


def observe_sensor(spec: DatasetSpec) -> dg.SensorDefinition:
    """Return the sensor that looks at the source for automation.

    One look covers every partition and costs no run; only partitions that changed are recorded as observed.
    """

    @dg.sensor(
        name=f"{spec.name}_observe",
        minimum_interval_seconds=spec.refresh.observe_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        required_resource_keys=resource_keys(spec),
        description=f"Observes the partitions of {spec.name} in its source.",
    )
    def observe(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        known = json.loads(context.cursor) if context.cursor else {}
        with client_of(spec, context) as client:
            assert client is not None
            add_partitions(spec, context.instance, client)
            keys = partition_keys(spec, context.instance)
            versions = source_versions(spec, keys, client)
        changed = {key: versions[key] for key in keys if versions[key] != known.get(key)}
        return dg.SensorResult(
            asset_events=observations(spec, changed, "found by hashing the collection in the server"),
            skip_reason=f"{len(changed)} of {len(keys)} partitions changed at the source",
            cursor=json.dumps(versions),
        )

    return observe


def automation_sensor(spec: DatasetSpec) -> dg.SensorDefinition:
    """Return the sensor that evaluates the automation conditions of one dataset."""
    return dg.AutomationConditionSensorDefinition(
        f"{spec.name}_automation",
        target=dg.AssetSelection.assets(*(asset_key(spec, name) for name in asset_names(spec))),
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=15,
        description=f"Requests what changed in {spec.name}.",
        run_tags={"dataset": spec.name},
    )
