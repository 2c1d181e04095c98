"""One run of one asset over its partitions: build each, say what was made, check it, and fail rightly."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeAlias

import dagster as dg
import xxhash
from pymongo.errors import AutoReconnect, ExecutionTimeout, NetworkTimeout

from assets.checks import refusals, run_checks
from assets.mongo.errors import ReadFailed
from assets.partitions import partitions_definition
from assets.previews import metadata_of
from assets.progress import LogProgress, Progress
from assets.quality.guard import Unfit
from assets.report import Built, Report
from assets.spec import DatasetSpec
from shards import CommitConflict, CommitFailed, CommitStateUnknown, ShardStore, StorageError

PASSING = (
    AutoReconnect,
    NetworkTimeout,
    ExecutionTimeout,
    ReadFailed,
    CommitConflict,
    CommitStateUnknown,
    StorageError,
)
"""Errors that can pass: the step is retried, as often as `runs.retries` allows."""

_PASSING_ERRNO = {errno.EAGAIN, errno.ETIMEDOUT, errno.ECONNRESET, errno.ECONNREFUSED, errno.EPIPE}

Result: TypeAlias = dg.MaterializeResult[None] | dg.AssetCheckResult
"""What the step of an asset yields."""

Build: TypeAlias = Callable[[str, Progress], Report]
"""Builds one partition."""


def materialize(
    context: dg.AssetExecutionContext,
    spec: DatasetSpec,
    asset: str,
    partitions: Sequence[str],
    store: ShardStore,
    build: Build,
) -> Iterator[Result]:
    """Build the partitions of one asset, attach metadata to each, and yield what Dagster records of the step.

    A partition that cannot be built does not stop the others: they are recorded as materialized, and the
    run fails at its end with the reason of every one that was not. Of versions that were refused, the checks
    that refused them are recorded.

    Raises
    ------
    Exception
        One that can pass, as it was met; what is built already is found unchanged by a retry.
    dagster.Failure
        One or more partitions failed for good.
    """
    done: list[Built] = []
    failed: dict[str, Exception] = {}
    for position, partition in enumerate(partitions, 1):
        label = f"{spec.name}/{asset} {partition}"
        started = time.monotonic()
        try:
            previous = store.latest(spec.name, asset, partition)
            report = build(partition, LogProgress(context.log.info, label))
            version = store.version(spec.name, asset, partition, report.version)
        except Exception as error:  # whatever one partition's failure is, the others are built all the same
            context.log.error(f"{label}: {_said(error)}")
            if can_pass(error) or (len(partitions) == 1 and not isinstance(error, Unfit)):
                raise
            failed[partition] = error
            continue
        done.append(Built(report, version, previous))
        context.log.info(
            f"{label} ({position} of {len(partitions)}): {report.rows:,} rows, "
            f"{sum(report.rejects.values()):,} rejects, version {report.version}"
            f"{'' if report.created else ' (unchanged)'}, {time.monotonic() - started:.1f} s"
        )
    if failed:
        _record(context, done)
        findings = [finding for built in done for finding in built.report.findings]
        findings += [
            finding for error in failed.values() if isinstance(error, Unfit) for finding in error.findings
        ]
        yield from refusals(spec, asset, findings)
        reasons = "\n".join(f"{key}: {_said(error)}" for key, error in failed.items())
        raise dg.Failure(
            f"{len(failed)} of {len(partitions)} partitions of {spec.name}/{asset} failed:\n{reasons}",
            allow_retries=False,
        )
    partitioned = asset != "snapshot" and partitions_definition(spec) is not None
    for built in done:
        key = built.version.partition if partitioned else None
        context.add_asset_metadata(metadata_of(built.report, built.version), partition_key=key)
    yield dg.MaterializeResult(
        data_version=data_version(done), check_results=run_checks(spec, asset, done, store)
    )


def _said(error: Exception) -> str:
    return str(error) if isinstance(error, Unfit) else f"{type(error).__name__}: {error}"


@contextmanager
def retrying(context: dg.AssetExecutionContext, spec: DatasetSpec) -> Iterator[None]:
    """Have a step tried again when what its block raises can pass.

    Raises
    ------
    dagster.RetryRequested
        In place of an error that can pass.
    """
    try:
        yield
    except Exception as error:
        if not can_pass(error):
            raise
        pause_seconds = spec.runs.retry_seconds * 2**context.retry_number
        context.log.warning(
            f"{type(error).__name__} may pass: up to {spec.runs.retries} retries, in {pause_seconds:g} s"
        )
        raise dg.RetryRequested(spec.runs.retries, pause_seconds) from error


def can_pass(error: BaseException | None) -> bool:
    """Return whether the same work may succeed when it is tried again."""
    if isinstance(error, CommitFailed):
        return can_pass(error.__cause__)
    if isinstance(error, PASSING):
        return not _is_denied(error)
    return isinstance(error, OSError) and error.errno in _PASSING_ERRNO


def _is_denied(error: Exception) -> bool:
    return isinstance(error, StorageError) and error.errno == errno.EACCES


def data_version(done: Sequence[Built]) -> dg.DataVersion:
    """Return the content hash of what a run made; of one partition it is that version's own."""
    if len(done) == 1:
        return dg.DataVersion(done[0].version.content_hash)
    joined = "\n".join(f"{built.version.partition} {built.version.content_hash}" for built in done)
    return dg.DataVersion(xxhash.xxh3_128_hexdigest(joined.encode()))


def _record(context: dg.AssetExecutionContext, done: Sequence[Built]) -> None:
    for built in done:
        context.log_event(
            dg.AssetMaterialization(
                asset_key=context.asset_key,
                partition=built.version.partition,
                metadata=metadata_of(built.report, built.version),
                tags={"dagster/data_version": built.version.content_hash},
            )
        )
