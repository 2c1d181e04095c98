"""Jobs of a dataset: everything, a refresh, a trial that publishes nothing, verification, gc."""

import tempfile
from typing import Any

import dagster as dg

from assets.config import GcConfig, TrialConfig, VerifyConfig
from assets.mongo.build import build_documents
from assets.partitions import partition_keys
from assets.plan import fields_of
from assets.previews import metadata_of
from assets.progress import LogProgress
from assets.resources import STORE, client_of, resource_keys, store_of
from assets.shape import asset_key, asset_names
from assets.spec import DatasetSpec
from shards import ShardStore


def jobs(spec: DatasetSpec) -> list[Any]:
    """Return the jobs of one dataset."""
    tags = {"dataset": spec.name}
    everything = dg.AssetSelection.assets(*(asset_key(spec, name) for name in asset_names(spec)))
    return [
        dg.define_asset_job(
            all_name(spec),
            everything | dg.AssetSelection.checks_for_assets(asset_key(spec, "source")),
            description="Every asset; pick partitions to launch.",
            tags=tags,
        ),
        dg.define_asset_job(
            refresh_name(spec),
            everything,
            description="What schedule and sensor launch: some partitions, then one snapshot.",
            tags={**tags, "refresh": "true"},
        ),
        _trial_job(spec),
        _verify_job(spec),
        _gc_job(spec),
    ]


def all_name(spec: DatasetSpec) -> str:
    """Return the name of the job that makes every asset."""
    return f"{spec.name}_all"


def refresh_name(spec: DatasetSpec) -> str:
    """Return the name of the job that schedules and sensors launch."""
    return f"{spec.name}_refresh"


def gc_name(spec: DatasetSpec) -> str:
    """Return the name of the job that removes what nobody needs any more."""
    return f"{spec.name}_gc"


def _trial_job(spec: DatasetSpec) -> dg.JobDefinition:
    @dg.op(name=f"{spec.name}_trial_op", required_resource_keys=resource_keys(spec))
    def trial(context: dg.OpExecutionContext, config: TrialConfig) -> None:
        keys = partition_keys(spec, context.instance)
        first = config.first_partition or keys[0]
        last = config.last_partition or first
        unknown = [key for key in (first, last) if key not in keys]
        if unknown:
            raise dg.Failure(
                f"{spec.name}: no partition {unknown[0]!r}; allowed: {keys[0]} to {keys[-1]}",
                allow_retries=False,
            )
        limited = limited_to(spec, config.limit)
        with (
            tempfile.TemporaryDirectory(prefix="shardmill-trial-") as folder,
            client_of(spec, context) as client,
        ):
            store = ShardStore(folder)
            for key in keys[keys.index(first) : keys.index(last) + 1]:
                report = build_documents(
                    limited,
                    key,
                    fields_of(limited),
                    client=client,
                    store=store,
                    run_id=context.run.run_id,
                    progress=LogProgress(context.log.info, f"{spec.name}/documents {key}, trial"),
                )
                version = store.version(spec.name, "documents", key, report.version)
                context.log_event(
                    dg.AssetObservation(
                        asset_key(spec, "documents"),
                        partition=None if spec.partitions.by == "none" else key,
                        description="A trial; nothing was published.",
                        metadata={"trial": True, "limit": config.limit, **metadata_of(report, version)},
                    )
                )

    @dg.job(
        name=f"{spec.name}_trial",
        description="Read some documents of some partitions and show what came of it; publishes nothing.",
        tags={"dataset": spec.name},
    )
    def trial_job() -> None:
        trial()

    return trial_job


def limited_to(spec: DatasetSpec, limit: int) -> DatasetSpec:
    """Return `spec` reading at most `limit` documents of a partition, 0 for all, whatever is rejected."""
    checks = spec.checks.model_copy(update={"max_reject_share": 1.0, "max_row_difference": 1.0})
    spec = spec.model_copy(update={"checks": checks})
    if limit == 0:
        return spec
    pipeline = [*(spec.source.pipeline or []), {"$limit": limit}]
    return spec.model_copy(update={"source": spec.source.model_copy(update={"pipeline": pipeline})})


def _verify_job(spec: DatasetSpec) -> dg.JobDefinition:
    @dg.op(name=f"{spec.name}_verify_op", required_resource_keys={STORE})
    def verify(context: dg.OpExecutionContext, config: VerifyConfig) -> None:
        store = store_of(context)
        full = config.full if config.full is not None else spec.storage.verify == "full"
        log = LogProgress(context.log.info, f"{spec.name}, verification")
        report = store.verify(spec.name, full=full, progress=lambda done, total: log(done, total, "bytes"))
        context.add_output_metadata(
            {
                "versions": report.num_versions,
                "files": report.num_files,
                "size_bytes": report.size_bytes,
                "damages": len(report.damages),
            }
        )
        if report.damages:
            lines = [f"{damage.path}: {damage.reason}" for damage in report.damages]
            raise dg.Failure("\n".join([f"{len(lines)} damages", *lines]), allow_retries=False)
        context.log.info(
            f"{spec.name}: {report.num_files:,} files of {report.num_versions:,} versions are right"
        )

    @dg.job(
        name=f"{spec.name}_verify",
        description="Compare every file of every version with its manifest.",
        tags={"dataset": spec.name},
    )
    def verify_job() -> None:
        verify()

    return verify_job


def _gc_job(spec: DatasetSpec) -> dg.JobDefinition:
    @dg.op(name=f"{spec.name}_gc_op", required_resource_keys={STORE})
    def gc(context: dg.OpExecutionContext, config: GcConfig) -> None:
        store = store_of(context)
        report = store.gc(
            spec.name,
            keep=config.keep_versions or spec.storage.keep_versions,
            grace_seconds=config.grace_hours * 3_600,
            dry_run=config.dry_run,
        )
        context.add_output_metadata(
            {
                "dry_run": report.dry_run,
                "versions": len(report.versions),
                "attempts": len(report.attempts),
                "size_bytes": report.size_bytes,
                "kept": report.num_kept,
                "skipped": len(report.skipped),
            }
        )
        for asset, partition, number in report.versions:
            context.log.info(
                f"{'would remove' if report.dry_run else 'removed'} {asset}[{partition}] {number}"
            )
        for where, reason in report.skipped.items():
            context.log.warning(f"{where} was left alone: {reason}")

    @dg.job(
        name=gc_name(spec),
        description="Remove versions that no snapshot, tag or lease needs, and what killed runs left behind.",
        tags={"dataset": spec.name},
    )
    def gc_job() -> None:
        gc()

    return gc_job
