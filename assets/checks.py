"""Asset checks: run inside the step that made what they check, so that they cost no step of their own.

Blocking checks guard publishing: a version that fails one is not published, and the run ends there. The
others warn about what was published.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain

import dagster as dg

from assets.partitions import partition_keys
from assets.quality.documents import document_findings
from assets.quality.findings import Finding
from assets.quality.outside import outside
from assets.quality.pictures import budget_findings, picture_findings
from assets.quality.records import record_findings
from assets.report import Built
from assets.resources import client_of, resource_keys
from assets.shape import asset_key
from assets.spec import DatasetSpec
from shards import ShardStore

BLOCKING, WARNING = True, False

CHECKS: Mapping[str, Mapping[str, tuple[bool, str]]] = {
    "documents": {
        "rows_match_server": (
            BLOCKING,
            "Rows and rejects add up to the server's count at the same cluster time.",
        ),
        "reject_share": (BLOCKING, "Share of documents that were rejected."),
        "schema_drift": (WARNING, "Fields, their types and reasons of rejects against the version before."),
    },
    "images": {
        "broken_share": (BLOCKING, "Share of pictures that cannot be used."),
        "blank_share": (WARNING, "Share of pictures of one colour."),
        "duplicate_share": (WARNING, "Share of pictures that repeat an earlier one, byte for byte."),
        "near_duplicate_share": (WARNING, "Share of pictures that look as an earlier one (perceptual hash)."),
    },
    "records": {
        "reject_share": (BLOCKING, "Share of rows that were rejected."),
        "null_share": (BLOCKING, "Share of absent values of every column."),
        "value_ranges": (BLOCKING, "Lowest and highest value of columns with a declared range."),
        "category_drift": (WARNING, "Shares of categories against the last snapshot."),
        "distribution_drift": (WARNING, "Distributions of numbers against the last snapshot."),
    },
    "snapshot": {
        "split_leakage": (BLOCKING, "Pictures that are in two splits."),
        "integrity": (BLOCKING, "Files that the snapshot names are as their manifests say."),
        "picture_budget": (WARNING, "Disk that pictures of `store: auto` take, against storage.pictures_gb."),
    },
}
"""Checks of each asset: whether a failure stops what is downstream, and what is measured."""

WARNINGS: Mapping[str, Callable[[DatasetSpec, Built, ShardStore], Iterable[Finding]]] = {
    "documents": document_findings,
    "images": picture_findings,
    "records": record_findings,
    "snapshot": budget_findings,
}
"""What measures the checks that warn; those that block were measured before publishing."""

NOTHING = {
    "schema_drift": "Nothing to compare: this is the first version, or the content is the same.",
    "value_ranges": "Nothing to measure: checks.ranges names no column.",
    "category_drift": "Nothing to compare: there is no snapshot yet, or no category.",
    "distribution_drift": "Nothing to compare: there is no snapshot yet, or no number.",
    "split_leakage": "Nothing to compare: the dataset has no pictures.",
    "near_duplicate_share": "Nothing to measure: no column has perceptual_hash.",
    "picture_budget": "Nothing to measure: no column has store: auto.",
}
"""What it means that a check has measured nothing."""

_MAX_ROWS = 100


def check_specs(spec: DatasetSpec, asset: str) -> list[dg.AssetCheckSpec]:
    """Return the checks of one asset."""
    return [
        dg.AssetCheckSpec(name, asset=asset_key(spec, asset), description=description, blocking=blocking)
        for name, (blocking, description) in CHECKS[asset].items()
    ]


def run_checks(
    spec: DatasetSpec, asset: str, done: Sequence[Built], store: ShardStore
) -> list[dg.AssetCheckResult]:
    """Return the result of every check of one asset over the partitions that a run has made."""
    findings = list(chain.from_iterable(built.report.findings for built in done))
    measure = WARNINGS.get(asset)
    if measure is not None:
        findings += chain.from_iterable(measure(spec, built, store) for built in done)
    return [_result(spec, asset, name, findings) for name in CHECKS[asset]]


def refusals(spec: DatasetSpec, asset: str, findings: Sequence[Finding]) -> list[dg.AssetCheckResult]:
    """Return the results of the checks that were measured before something was not published."""
    measured = {finding.check for finding in findings}
    return [_result(spec, asset, name, findings) for name in CHECKS[asset] if name in measured]


def source_check(spec: DatasetSpec) -> dg.AssetChecksDefinition | None:
    """Return the check that every document of the source is in a partition; None without partitions.

    It scans the source, so it is a step of its own that the job of all assets has and refreshes do not.
    """
    if spec.source.dump is not None or spec.partitions.by in ("none", "hash"):
        return None

    @dg.asset_check(
        asset=asset_key(spec, "source"),
        name="in_a_partition",
        description="Documents whose partition field is absent, of another type, or out of range.",
        required_resource_keys=resource_keys(spec),
        pool="mongo",
    )
    def in_a_partition(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        with client_of(spec, context) as client:
            assert client is not None
            found = outside(spec, partition_keys(spec, context.instance), client)
        field = getattr(spec.partitions, "field", "")
        rows = [
            dg.TableRecord({"_id": identifier, "path": field, "reason": "in no partition", "got": value})
            for identifier, value in found.listed
        ]
        return dg.AssetCheckResult(
            passed=not found.num_documents,
            severity=dg.AssetCheckSeverity.WARN,
            description=f"{found.num_documents} documents are in no partition"
            if found.num_documents
            else None,
            metadata={
                "documents": found.num_documents,
                **({"rejected": dg.MetadataValue.table(rows)} if rows else {}),
            },
        )

    return in_a_partition


def _result(spec: DatasetSpec, asset: str, name: str, findings: Iterable[Finding]) -> dg.AssetCheckResult:
    blocking, _ = CHECKS[asset][name]
    ordered = sorted(
        (finding for finding in findings if finding.check == name), key=lambda finding: finding.passed
    )
    failed = [finding for finding in ordered if not finding.passed]
    numbers = [float(finding.value) for finding in ordered if not isinstance(finding.value, str)]
    return dg.AssetCheckResult(
        check_name=name,
        asset_key=asset_key(spec, asset),
        passed=not failed,
        severity=dg.AssetCheckSeverity.ERROR if blocking else dg.AssetCheckSeverity.WARN,
        description="; ".join(map(str, failed[:5])) or (None if ordered else NOTHING.get(name)),
        metadata={
            "measured": len(ordered),
            "failed": len(failed),
            **({"largest": max(numbers)} if numbers else {}),
            **({"findings": _table(ordered[:_MAX_ROWS])} if ordered else {}),
        },
    )


def _table(findings: Sequence[Finding]) -> dg.TableMetadataValue:
    return dg.MetadataValue.table(
        [
            dg.TableRecord(
                {
                    "partition": finding.partition,
                    "subject": finding.subject,
                    "value": str(finding.value),
                    "allowed": str(finding.limit),
                    "passed": finding.passed,
                }
            )
            for finding in findings
        ]
    )
