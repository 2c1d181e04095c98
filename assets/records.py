"""The `records` of a dataset: typed columns of its documents, row by row with `documents`."""

from collections.abc import Iterator
from typing import cast

import dagster as dg

from assets.automation import partition_condition
from assets.checks import check_specs
from assets.columns.build import build_records
from assets.materialize import Result, materialize, retrying
from assets.partitions import run_partitions
from assets.progress import Progress
from assets.report import Report
from assets.resources import STORE, store_of
from assets.shape import asset_key, columns_metadata, common, described
from assets.spec import DatasetSpec


def records_asset(spec: DatasetSpec) -> dg.AssetsDefinition:
    """Return the asset that stores the columns of `spec` that are no pictures."""

    @dg.asset(  # type: ignore[untyped-decorator]
        **common(spec, "records"),
        deps=[asset_key(spec, "documents")],
        description=described(
            spec, f"The typed columns of `{spec.name}` that are no pictures, row by row with `documents`."
        ),
        metadata=columns_metadata(spec, spec.record_columns),
        check_specs=check_specs(spec, "records"),
        automation_condition=partition_condition(spec),
        required_resource_keys={STORE},
    )
    def records(context: dg.AssetExecutionContext) -> Iterator[Result]:
        store = store_of(context)

        def build(partition: str, progress: Progress) -> Report:
            return build_records(spec, partition, store=store, run_id=context.run.run_id, progress=progress)

        with retrying(context, spec):
            yield from materialize(context, spec, "records", run_partitions(spec, context), store, build)

    return cast(dg.AssetsDefinition, records)
