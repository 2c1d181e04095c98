"""The `source` of a dataset, observed, and its `documents`, extracted."""

import json
from collections.abc import Iterator
from typing import Any, cast

import dagster as dg
from bson import json_util
from pymongo import MongoClient

from assets.automation import partition_condition
from assets.beta import beta_allowed
from assets.checks import check_specs
from assets.config import ReadConfig
from assets.materialize import Result, materialize, retrying
from assets.mongo.build import build_documents
from assets.mongo.observe import partition_values, source_versions
from assets.mongo.unplaced import ASSET as UNPLACED
from assets.mongo.unplaced import build_unplaced
from assets.partitions import dynamic_name, partition_keys, partitions_definition, run_partitions
from assets.plan import fields_of
from assets.progress import Progress
from assets.report import Report
from assets.resources import client_of, resource_keys, server_key, store_of
from assets.shape import asset_key, common, described, documents_metadata
from assets.spec import DatasetSpec
from assets.spec.partitions import DynamicPartitions
from shards import CommitConflict, ShardStore


def source_asset(spec: DatasetSpec) -> Any:
    """Return the collection as an external asset, observed partition by partition.

    A dump does not change by itself, so it is shown and not observed.
    """
    key = asset_key(spec, "source")
    if spec.source.dump is not None:
        return dg.AssetSpec(
            key,
            description=f"Dump `{spec.source.dump}`.",
            group_name=spec.name,
            kinds={"mongodb"},
            partitions_def=partitions_definition(spec),
        )
    names = ", ".join(spec.source.collections or [str(spec.source.collection)])

    def observe(context: dg.OpExecutionContext) -> dg.DataVersionsByPartition | dg.DataVersion:
        with client_of(spec, context) as client:
            assert client is not None
            add_partitions(spec, context.instance, client)
            keys = partition_keys(spec, context.instance)
            versions = source_versions(spec, keys, client)
        if partitions_definition(spec) is None:
            return dg.DataVersion(versions[keys[0]])
        with beta_allowed():
            return dg.DataVersionsByPartition(versions)

    return dg.observable_source_asset(
        key=key,
        description=described(
            spec,
            f"Collection `{spec.source.database}.{names}` of the server `{spec.source.alias}`. Observing it "
            "asks the server for a version of every partition; no document is sent.",
        ),
        group_name=spec.name,
        metadata={
            "database": str(spec.source.database),
            "collections": names,
            "server": f"{spec.source.alias}, the URI in {spec.source.uri_env}",
            **({"filter": _json(spec.source.filter)} if spec.source.filter else {}),
        },
        partitions_def=partitions_definition(spec),
        required_resource_keys={server_key(spec)},
        tags={"dagster/kind/mongodb": "", "dataset": spec.name},
    )(observe)


def _json(condition: dict[str, Any]) -> dg.JsonMetadataValue:
    return dg.MetadataValue.json(json.loads(json_util.dumps(condition)))


def add_partitions(spec: DatasetSpec, instance: dg.DagsterInstance, client: Any) -> list[str]:
    """Add values of the field of dynamic partitions that were not seen before; return them."""
    if not isinstance(spec.partitions, DynamicPartitions):
        return []
    known = set(instance.get_dynamic_partitions(dynamic_name(spec)))
    new = sorted(set(partition_values(spec, client)) - known)
    if new:
        instance.add_dynamic_partitions(dynamic_name(spec), new)
    return new


def documents_asset(spec: DatasetSpec) -> dg.AssetsDefinition:
    """Return the asset that reads the selected fields of each partition as of one cluster time."""

    @dg.asset(  # type: ignore[untyped-decorator]
        **common(spec, "documents"),
        deps=[asset_key(spec, "source")],
        description=described(
            spec,
            f"The fields that `{spec.name}` takes from its documents, in `_id` order, as of one cluster "
            "time; and the documents that do not fit, each with its reason.",
        ),
        metadata=documents_metadata(spec),
        check_specs=check_specs(spec, "documents"),
        automation_condition=partition_condition(spec),
        required_resource_keys=resource_keys(spec),
        pool="mongo",
    )
    def documents(context: dg.AssetExecutionContext, config: ReadConfig) -> Iterator[Result]:
        store, fields = store_of(context), fields_of(spec)
        with retrying(context, spec), client_of(spec, context) as client:

            def build(partition: str, progress: Progress) -> Report:
                return build_documents(
                    spec,
                    partition,
                    fields,
                    client=client,
                    store=store,
                    run_id=context.run.run_id,
                    re_read=config.re_read,
                    progress=progress,
                )

            keys = run_partitions(spec, context)
            yield from materialize(context, spec, "documents", keys, store, build)
            # A search through the whole collection: not in every refresh of one partition.
            if len(keys) > 1 or store.latest(spec.name, UNPLACED) is None:
                list_unplaced(context, spec, client, store)

    return cast(dg.AssetsDefinition, documents)


def list_unplaced(
    context: dg.AssetExecutionContext, spec: DatasetSpec, client: MongoClient[Any] | None, store: ShardStore
) -> None:
    """List the documents that no partition will ever read, and say how many there are and why."""
    try:
        report = build_unplaced(spec, client=client, store=store, run_id=context.run.run_id)
    except CommitConflict:
        return  # another run of the same backfill has just listed them
    if report is not None and report.rejects:
        reasons = ", ".join(f"{reason}: {count:,}" for reason, count in report.rejects.items())
        context.log.warning(
            f"{spec.name}: {sum(report.rejects.values()):,} documents are in no partition ({reasons}); "
            f"they are listed in the rejects of {spec.name}/{UNPLACED}"
        )
