"""What Dagster shows of an asset before it is made: group, kinds, owners, columns, lineage."""

from __future__ import annotations

from typing import Any

import dagster as dg

from assets.partitions import partitions_definition
from assets.plan import fields_of
from assets.spec import DatasetSpec
from assets.versions import code_version

KINDS = {
    "documents": {"mongodb", "arrow"},
    "images": {"numpy"},
    "records": {"numpy", "arrow"},
    "snapshot": {"numpy", "torch"},
}


def asset_key(spec: DatasetSpec, asset: str) -> dg.AssetKey:
    """Return the key of one asset of a dataset."""
    return dg.AssetKey([spec.name, asset])


def asset_names(spec: DatasetSpec) -> list[str]:
    """Return the materialized assets that a dataset has, in order of making."""
    names = ["documents"]
    names += ["images"] if spec.image_columns else []
    names += ["records"] if spec.record_columns else []
    return [*names, "snapshot"]


def described(spec: DatasetSpec, sentence: str) -> str:
    """Return a description: what this asset is, then what the dataset is."""
    return "\n\n".join(filter(None, (sentence, spec.description)))


def common(spec: DatasetSpec, asset: str) -> dict[str, Any]:
    """Return what every asset of a dataset is declared with."""
    partitioned = asset != "snapshot" and partitions_definition(spec) is not None
    return {
        "key": asset_key(spec, asset),
        "group_name": spec.name,
        "owners": spec.owners or None,
        "tags": {**spec.tags, "dataset": spec.name},
        "kinds": KINDS[asset],
        "code_version": code_version(spec, asset),
        "partitions_def": partitions_definition(spec) if partitioned else None,
        "backfill_policy": (
            dg.BackfillPolicy.multi_run(spec.runs.partitions_per_run) if partitioned else None
        ),
    }


def documents_metadata(spec: DatasetSpec) -> dict[str, Any]:
    """Return the columns of `documents`: fields of the collection's documents, by path."""
    fields = fields_of(spec)
    columns = [dg.TableColumn("_id", "raw", "Identifier of the document.")]
    columns += [
        dg.TableColumn(
            field.name,
            field.type if isinstance(field.type, str) else type(field.type).__name__.lower(),
            f"`{field.path}`",
            constraints=dg.TableColumnConstraints(nullable=not field.required),
        )
        for field in fields
    ]
    source = asset_key(spec, "source")
    lineage = {field.name: [dg.TableColumnDep(source, field.path)] for field in fields}
    return {
        "dagster/column_schema": dg.TableSchema(columns),
        "dagster/column_lineage": dg.TableColumnLineage(
            {"_id": [dg.TableColumnDep(source, "_id")], **lineage}
        ),
    }


def columns_metadata(spec: DatasetSpec, columns: dict[str, Any]) -> dict[str, Any]:
    """Return the columns of `images` or `records`, and the fields of `documents` that each is made of."""
    names = {field.path: field.name for field in reversed(fields_of(spec))}
    documents = asset_key(spec, "documents")
    shown, lineage = [], {}
    for name, column in columns.items():
        paths = spec.paths_of(name)
        shown.append(dg.TableColumn(name, column.kind, _column_description(column, paths)))
        lineage[name] = [dg.TableColumnDep(documents, names[path]) for path in paths if path in names]
    return {
        "dagster/column_schema": dg.TableSchema(shown),
        "dagster/column_lineage": dg.TableColumnLineage(lineage),
    }


def _column_description(column: Any, paths: list[str]) -> str:
    """Return what the YAML says of a column, where it comes from, and what the loader applies."""
    origin = f"`{paths[0]}`" if len(paths) == 1 else f"`{paths[0]}` and {len(paths) - 1} more fields"
    steps = getattr(column, "transform", None) or []
    names = ", ".join(step if isinstance(step, str) else type(step).__name__.lower() for step in steps)
    made = "; ".join(filter(None, (origin, names)))
    said = getattr(column, "description", "")
    return f"{said} ({made})" if said else made
