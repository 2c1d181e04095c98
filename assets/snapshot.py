"""The `snapshot` of a dataset: one version of every partition, splits, statistics and vocabularies."""

from collections.abc import Iterator
from datetime import timedelta
from typing import cast

import dagster as dg

from assets.automation import snapshot_condition
from assets.checks import check_specs
from assets.columns.snapshot import build_snapshot
from assets.materialize import Result, materialize, retrying
from assets.partitions import ALL, partition_keys
from assets.progress import Progress
from assets.report import Report
from assets.resources import STORE, store_of
from assets.shape import asset_key, asset_names, common, described
from assets.spec import DatasetSpec
from shards import ShardStore


def snapshot_asset(spec: DatasetSpec) -> dg.AssetsDefinition:
    """Return the asset that pins a version of every partition for training."""

    @dg.asset(  # type: ignore[untyped-decorator]
        **common(spec, "snapshot"),
        deps=[asset_key(spec, name) for name in asset_names(spec)[:-1]],
        description=described(
            spec,
            f"What training reads: one version of every partition of `{spec.name}`, with splits, statistics "
            "and vocabularies. Earlier snapshots stay readable.\n\n"
            f'    ShardDataset("data/shards/{spec.name}", split="train")',
        ),
        check_specs=check_specs(spec, "snapshot"),
        automation_condition=snapshot_condition(spec),
        freshness_policy=_freshness(spec),
        required_resource_keys={STORE},
    )
    def snapshot(context: dg.AssetExecutionContext) -> Iterator[Result]:
        store = store_of(context)
        with retrying(context, spec):
            keys = partition_keys(spec, context.instance)
            ready = made_partitions(spec, store, keys)
            missing = [key for key in keys if key not in set(ready)]
            if missing:
                context.log.warning(
                    f"{spec.name}/snapshot leaves out {len(missing)} of {len(keys)} partitions that were "
                    f"never materialized: {', '.join(missing[:10])}{', ...' if len(missing) > 10 else ''}"
                )
            if not ready:
                raise dg.Failure(
                    f"{spec.name}/snapshot: no partition has been materialized yet; materialize "
                    f"{', '.join(asset_names(spec)[:-1])} of at least one partition first",
                    allow_retries=False,
                )

            def build(partition: str, progress: Progress) -> Report:
                return build_snapshot(spec, ready, store=store, run_id=context.run.run_id, progress=progress)

            context.add_asset_metadata({"partitions": len(ready), "partitions_missing": len(missing)})
            yield from materialize(context, spec, "snapshot", [ALL], store, build)

    return cast(dg.AssetsDefinition, snapshot)


def _freshness(spec: DatasetSpec) -> dg.FreshnessPolicy | None:
    hours = spec.checks.fresh_within_hours
    return (
        None if hours is None else dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=float(hours)))
    )


def made_partitions(spec: DatasetSpec, store: ShardStore, keys: list[str]) -> list[str]:
    """Return those of `keys` of which every partitioned asset has a version."""
    made = [set(store.partitions(spec.name, asset)) for asset in asset_names(spec)[:-1]]
    return [key for key in keys if all(key in partitions for partitions in made)]
