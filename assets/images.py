"""The `images` of a dataset: pictures of its documents, decoded once, row by row with `documents`."""

from collections.abc import Iterator
from typing import cast

import dagster as dg

from assets.automation import partition_condition
from assets.checks import check_specs
from assets.config import ReadConfig
from assets.materialize import Result, materialize, retrying
from assets.partitions import run_partitions
from assets.progress import Progress
from assets.report import Report
from assets.resources import client_of, resource_keys, store_of
from assets.shape import asset_key, columns_metadata, common, described
from assets.spec import DatasetSpec
from assets.vision.build import build_images


def images_asset(spec: DatasetSpec) -> dg.AssetsDefinition:
    """Return the asset that decodes and stores the image columns of `spec`."""

    @dg.asset(  # type: ignore[untyped-decorator]
        **common(spec, "images"),
        deps=[asset_key(spec, "documents")],
        description=described(
            spec,
            f"The pictures of `{spec.name}`, decoded once, row by row with `documents`. A broken one keeps "
            "its row, marked invalid.",
        ),
        metadata=columns_metadata(spec, spec.image_columns),
        check_specs=check_specs(spec, "images"),
        automation_condition=partition_condition(spec),
        required_resource_keys=resource_keys(spec),
        pool="images",
    )
    def images(context: dg.AssetExecutionContext, config: ReadConfig) -> Iterator[Result]:
        store = store_of(context)
        with retrying(context, spec), client_of(spec, context) as client:

            def build(partition: str, progress: Progress) -> Report:
                return build_images(
                    spec,
                    partition,
                    store=store,
                    client=client,
                    run_id=context.run.run_id,
                    re_read=config.re_read,
                    progress=progress,
                )

            yield from materialize(context, spec, "images", run_partitions(spec, context), store, build)

    return cast(dg.AssetsDefinition, images)
