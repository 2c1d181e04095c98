"""The `images` of one partition: pictures of its documents, row by row, published as one version."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from assets.columns.splits import assign_splits, train_code
from assets.progress import Progress, silent
from assets.provenance import provenance_of
from assets.quality.findings import Finding
from assets.quality.guard import Draft, admit
from assets.report import Report
from assets.spec import DatasetSpec
from assets.vision import rejects as rejected
from assets.vision.blocks import Blocks
from assets.vision.errors import BuildError, PictureError
from assets.vision.groups import Group, groups_of, rows_of_group
from assets.vision.labels import labels_of
from assets.vision.output import ImageOutput
from assets.vision.pieces import GroupPieces
from assets.vision.pipeline import run
from assets.vision.plan import ImagePlan, fields_of_images, plans_of
from assets.vision.previous import Previous
from assets.vision.renderer import Renderer, quiet
from assets.vision.sheets import rows_shown
from assets.vision.sources.cache import cache_directory
from assets.vision.sources.gather import Gatherer
from assets.vision.statistics import ImageStatistics
from assets.vision.tasks import Outcome
from shards import Attempt, ShardStore, Version

if TYPE_CHECKING:
    from pymongo import MongoClient

PIECES = 1
"""Raised by one when pieces that an earlier release has put down cannot be used."""

_LEVELS = {"keep16": 65_535.0}


def build_images(
    spec: DatasetSpec,
    partition: str,
    *,
    store: ShardStore,
    client: MongoClient[Any] | None = None,
    run_id: str = "",
    re_read: bool = False,
    progress: Progress = silent,
    cache: Path | None = None,
    num_threads: int = 0,
) -> Report:
    """Decode the pictures of the latest `documents` of one partition and publish them as `images`.

    Parameters
    ----------
    spec, partition
        What to build.
    store
        Where `documents` are read and `images` are published.
    client
        MongoDB client; needed where pictures are in GridFS.
    run_id
        Named in the provenance.
    re_read
        Decode every picture, also those that the version before holds.
    progress
        Told how many rows are done.
    cache
        Directory that keeps pictures fetched from URLs; as `cache_directory` says when None.
    num_threads
        Decoding threads; 0 for one a processor.

    Raises
    ------
    BuildError
        There are no documents, or a column cannot be built as it is declared.
    assets.quality.guard.Unfit
        More than `checks.max_broken_image_share` of the rows have a broken picture; nothing was published.
    """
    started = time.monotonic()
    plans = plans_of(spec)
    documents = _documents(spec, partition, store, plans)
    previous = Previous(None if re_read else store.latest(spec.name, "images", partition), plans)
    asked = f"{PIECES} {documents.content_hash} {previous.number} {plans!r}"
    pieces = store.pieces(spec.name, "images", partition, asked)
    limits = {name: plan.recipe.max_bytes for plan in plans for name in _names(plan)}
    with (
        quiet(),
        Renderer() as renderer,
        closing(Gatherer(spec, limits, client, cache or cache_directory(store.root))) as gatherer,
        store.begin(spec.name, "images", partition, shard_bytes=spec.storage.shard_mb << 20) as attempt,
    ):
        build = _Build(spec, plans, documents, previous, attempt)
        table = documents.table("documents")
        blocks = Blocks(plans, rows_of_group(plans))
        kept = GroupPieces(pieces, plans)
        missing = kept.missing(groups_of(table, plans))
        running = run(missing, gatherer, renderer, previous.find, blocks, num_threads)
        with closing(kept.merged(groups_of(table, plans), running, blocks)) as groups:
            for done in build.write(groups):
                progress(done, documents.num_rows, "pictures")
        findings = build.check()
        commit = build.commit(documents, run_id)
    pieces.remove()
    version = commit.version
    return Report(
        dataset=spec.name,
        asset="images",
        partition=partition,
        version=version.number,
        created=commit.created,
        content_hash=version.content_hash,
        rows=version.num_rows,
        rejects=dict(build.rejects.by_reason),
        size_bytes=version.size_bytes,
        seconds=time.monotonic() - started,
        metadata={
            **build.metadata(),
            "num_kept": kept.num_kept,
            "labels": labels_of(spec, table, _shown(version, plans)),
        },
        findings=findings,
    )


class _Build:
    """Writes groups as they come and remembers what they were."""

    def __init__(
        self,
        spec: DatasetSpec,
        plans: list[ImagePlan],
        documents: Version,
        previous: Previous,
        attempt: Attempt,
    ) -> None:
        self.rejects = rejected.Rejects()
        self._spec = spec
        self._plans = plans
        self._attempt = attempt
        self._documents = documents
        self._outputs = {plan.name: ImageOutput(attempt, plan, previous) for plan in plans}
        self._statistics = {
            plan.name: ImageStatistics(_LEVELS.get(plan.recipe.mode, 255.0)) for plan in plans
        }
        self._num_broken = 0
        self._num_valid = 0
        self._num_copied = 0
        self._num_decoded = 0

    def write(self, groups: Iterator[tuple[Group, dict[str, list[Outcome]]]]) -> Iterator[int]:
        """Write group after group; gives the number of rows done."""
        for group, outcomes in groups:
            rows = group.documents
            is_train = assign_splits(self._spec, rows) == train_code(self._spec)
            valid = np.ones(len(rows), np.bool_)
            for plan in self._plans:
                done = outcomes[plan.name]
                shapes = {name: rows.column(name) for name, _ in plan.shapes}
                self._outputs[plan.name].write(done, shapes, group.block)
                for at, outcome in enumerate(done):
                    self._note(plan, outcome, rows.column("_id")[at], is_train=bool(is_train[at]))
                if plan.column.required:
                    valid &= np.array([outcome.is_usable for outcome in done])
            self._num_broken += sum(
                any(outcomes[plan.name][at].errors for plan in self._plans) for at in range(len(rows))
            )
            self._num_valid += int(valid.sum())
            self._attempt.validity(valid)
            yield group.first_row + len(rows)

    def _note(self, plan: ImagePlan, outcome: Outcome, raw_id: pa.Scalar, *, is_train: bool) -> None:
        if outcome.is_absent and plan.column.required:
            outcome.errors[plan.name] = PictureError("missing", expected="a picture", got="no value")
        for name, error in outcome.errors.items():
            path = plan.column.path
            if name != plan.name:
                path = next(mask.column.path for mask in plan.masks if mask.name == name)
            self.rejects.add(raw_id.as_py(), path, name, error)
        if not outcome.is_usable:
            return
        self._statistics[plan.name].add(outcome, is_train=is_train)
        if plan.name in outcome.same_as:
            self._num_copied += 1
        else:
            self._num_decoded += 1

    def check(self) -> list[Finding]:
        """Refuse to publish when more is broken than declared."""
        reasons = dict(self.rejects.by_reason)
        draft = Draft(self._documents.partition, self._documents.num_rows, self._num_broken, reasons)
        return admit(self._spec, "images", draft)

    def commit(self, documents: Version, run_id: str) -> Any:
        """Publish."""
        table = self.rejects.table()
        self._attempt.table("rejects", table.schema).append(table)
        return self._attempt.commit(
            provenance=provenance_of(self._spec, "images", documents, run_id),
            inputs={"documents": documents.number},
            statistics={name: found.to_json() for name, found in self._statistics.items()},
            metadata={"rejects": dict(self.rejects.by_reason), "num_valid": self._num_valid},
        )

    def metadata(self) -> dict[str, Any]:
        """What the run shows; how the rows came about is no part of the version."""
        found: dict[str, Any] = {
            "num_valid": self._num_valid,
            "num_decoded": self._num_decoded,
            "num_unchanged": self._num_copied,
        }
        for plan in self._plans:
            if plan.column.store == "auto":
                found[f"{plan.name}/stored"] = "encoded" if plan.is_encoded else "pixels"
        for name, figures in self._statistics.items():
            figures_json = figures.to_json()
            for key in ("num_blank", "num_duplicates", "num_near_duplicates"):
                if key in figures_json:
                    found[f"{name}/{key}"] = figures_json[key]
        return found


def _names(plan: ImagePlan) -> list[str]:
    return [plan.name, *(mask.name for mask in plan.masks)]


def _shown(version: Version, plans: list[ImagePlan]) -> Iterator[int]:
    """Rows that contact sheets show."""
    for plan in plans:
        yield from rows_shown(version, plan.name).tolist()


def _documents(spec: DatasetSpec, partition: str, store: ShardStore, plans: list[ImagePlan]) -> Version:
    if not plans:
        raise BuildError(f"dataset {spec.name} declares no image column; there are no images to build")
    documents = store.latest(spec.name, "documents", partition)
    if documents is None:
        raise BuildError(
            f"images of {spec.name}, partition {partition}: expected a version of `documents`, found none; "
            "build that first"
        )
    schema = documents.table("documents").schema
    missing = [field.name for field in fields_of_images(spec) if field.name not in schema.names]
    if missing:
        raise BuildError(
            f"images of {spec.name}, partition {partition}: version {documents.number} of `documents` has no "
            f"column {', '.join(missing)}; build `documents` again with this specification"
        )
    return documents
