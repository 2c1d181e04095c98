"""The `snapshot` asset: one version of every partition, with splits, fits and subsets over them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from assets.columns.build import batches_of
from assets.columns.derived import derive
from assets.columns.duplicates import find_leaks
from assets.columns.keys import content_keys
from assets.columns.pictures import merge_pictures, picture_transforms
from assets.columns.pins import Pinned, pin_latest
from assets.columns.raw import ids_of
from assets.columns.recount import Kept, keep, statistics_of
from assets.columns.rows import ROWS, rows_of
from assets.columns.splits import split_names
from assets.columns.stats.summary import Summary
from assets.columns.steps import fit_steps
from assets.columns.subsets import codes_of, rows_of_subset
from assets.progress import Progress, silent
from assets.provenance import provenance_of
from assets.quality.guard import Unfit, refuse
from assets.quality.snapshot import damaged, snapshot_findings
from assets.report import Report
from assets.spec import DatasetSpec
from assets.spec.columns import CategoryColumn, NumberColumn, NumericColumn
from shards import DamagedFile, ShardStore, Version

SNAPSHOT = "snapshot"
LISTED = 100
"""At most so many duplicates and leaks are named in the metadata."""
STEPS = "steps"
"""What progress counts: two a partition, its statistics and its derived columns."""


def build_snapshot(
    spec: DatasetSpec,
    partitions: Sequence[str],
    *,
    store: ShardStore,
    run_id: str = "",
    progress: Progress = silent,
) -> Report:
    """Pin the latest version of every partition, and fit, split and select over all of them.

    The index of a split holds the rows that every asset can use and that are no duplicates. Fits and
    statistics are those of exactly these rows, merged from the partitions'; documents are read again only
    where a partition counted rows that are not kept. Memory grows by 17 bytes a row, 33 with deduplication,
    and what sorting them takes; columns are never held.

    Raises
    ------
    NotMaterialized
        A partition lacks an asset, or an asset was made from other documents than the latest.
    ExpressionError
        A subset's expression does not fit the columns.
    assets.quality.guard.Unfit
        Splits share pictures, or a file is not as its manifest says; nothing was published.
    """
    began = time.perf_counter()
    try:
        pinned = pin_latest(spec, partitions, store)
    except DamagedFile as error:
        raise Unfit(spec.name, SNAPSHOT, [damaged(error)]) from error
    work = _Snapshot(spec, pinned, store, run_id, progress)
    versions = []
    for done, one in enumerate(pinned, 1):
        versions.append(work.versions_of(one))
        progress(len(pinned) + done, 2 * len(pinned), STEPS)
    rows = work.index(versions)
    splits = rows.splits
    findings = refuse(spec, SNAPSHOT, snapshot_findings(spec, splits, versions))
    with store.begin_snapshot(spec.name) as attempt:
        for group in versions:
            for version in group:
                attempt.pin(version)
        for name, members in splits.items():
            attempt.index(name, _narrow(members, rows.num_rows))
        for name, subset in spec.subsets.items():
            chosen = rows_of_subset(
                spec, subset, splits[subset.split], rows.sample, _holders(versions), work.vocabularies
            )
            rows.subsets[name] = len(chosen)
            attempt.subset(name, parent=subset.split, rows=_narrow(chosen, rows.num_rows))
        for name, vocabulary in work.vocabularies.items():
            attempt.vocabulary(name, vocabulary)
        metadata = work.metadata(rows, versions)
        commit = attempt.commit(
            provenance=provenance_of(spec, SNAPSHOT, pinned[-1].documents, run_id),
            statistics=work.statistics,
            transforms=work.transforms,
            metadata=metadata,
        )
    return Report(
        dataset=spec.name,
        asset=SNAPSHOT,
        partition="all",
        version=commit.version.number,
        created=commit.created,
        content_hash=commit.version.content_hash,
        rows=commit.version.num_rows,
        rejects={},
        size_bytes=commit.version.size_bytes,
        seconds=time.perf_counter() - began,
        metadata=metadata,
        findings=findings,
    )


class _Rows:
    """Which rows are in which split."""

    def __init__(self, names: tuple[str, ...], codes: npt.NDArray[np.int8], kept: Kept) -> None:
        self.num_rows = len(codes)
        self.codes = np.where(kept.valid, codes, np.int8(-1))
        self.codes[kept.duplicates.rows] = -1
        self.num_invalid = int(np.count_nonzero(~kept.valid))
        self.num_unassigned = int(np.count_nonzero(kept.valid & (codes < 0)))
        self.names = names
        self.duplicates = kept.duplicates
        self.sample: npt.NDArray[np.uint64] = np.zeros(0, np.uint64)
        self.content: npt.NDArray[np.uint64] | None = None
        self.subsets: dict[str, int] = {}

    @property
    def splits(self) -> dict[str, npt.NDArray[np.int64]]:
        """Rows of every split, ascending."""
        return {name: np.flatnonzero(self.codes == code) for code, name in enumerate(self.names)}


class _Snapshot:
    """What is merged and fitted over the pinned partitions."""

    def __init__(
        self,
        spec: DatasetSpec,
        pinned: Sequence[Pinned],
        store: ShardStore,
        run_id: str,
        progress: Progress,
    ) -> None:
        self.spec, self.pinned, self.store, self.run_id = spec, pinned, store, run_id
        self.tables = [_rows_table(spec, one) for one in pinned]
        self.kept, self.vocabularies = keep(spec, pinned, self.tables, store.latest(spec.name, SNAPSHOT))
        self.summaries = _merge(spec, pinned, self.kept, progress)
        fits = {
            name: fit_steps(column.transform, self.summaries[name][0], isinstance(column, NumberColumn))
            for name, column in spec.columns.items()
            if isinstance(column, NumericColumn) and column.transform
        }
        self.baked = {name: fit for name, fit in fits.items() if spec.record_columns[name].bake}
        pictures = merge_pictures(spec, pinned, self.kept)
        self.transforms: dict[str, Any] = {name: fit for name, fit in fits.items() if name not in self.baked}
        self.transforms |= picture_transforms(spec, pictures)
        for name, column in spec.columns.items():
            if isinstance(column, CategoryColumn) and column.transform:
                self.transforms[name] = [{"op": "one_hot", "num_codes": self.num_codes(name, column)}]
        self.statistics: dict[str, Any] = {
            name: {"kind": spec.columns[name].kind, "train": train.to_json(), "rest": rest.to_json()}
            for name, (train, rest) in self.summaries.items()
        }
        for name, fit in self.baked.items():
            self.statistics[name]["baked"] = fit
        for name, found in pictures.items():
            self.statistics[name] = {"kind": spec.columns[name].kind, "train": found}

    def num_codes(self, name: str, column: CategoryColumn) -> int:
        """Give the number of codes of a category."""
        if column.hash_buckets is not None:
            return int(column.hash_buckets)
        return len(column.values) if column.values is not None else len(self.vocabularies[name])

    def versions_of(self, one: Pinned) -> list[Version]:
        """Give a partition's versions, the derived columns made where they are wanted."""
        derived = derive(
            self.spec,
            one,
            store=self.store,
            vocabularies=self.vocabularies,
            baked=self.baked,
            run_id=self.run_id,
        )
        return [*one.versions(), *([] if derived is None else [derived])]

    def index(self, versions: Sequence[Sequence[Version]]) -> _Rows:
        """Assign every row that is kept to its split."""
        rows = _Rows(split_names(self.spec), _column(self.tables, "split"), self.kept)
        rows.sample = _column(self.tables, "sample")
        rows.content = content_keys(self.spec, self.tables, versions)
        return rows

    def metadata(self, rows: _Rows, versions: Sequence[Sequence[Version]]) -> dict[str, Any]:
        """Give what people ask of a snapshot: rows by split, duplicates, leaks, shares of a category."""
        written: dict[str, Any] = {
            "partitions": len(self.pinned),
            "splits": {name: len(members) for name, members in rows.splits.items()},
            "subsets": rows.subsets,
            "invalid_rows": rows.num_invalid,
            "rows_in_no_split": rows.num_unassigned,
        }
        if self.spec.dedup is not None:
            pairs = [rows.duplicates.rows[:LISTED], rows.duplicates.firsts[:LISTED]]
            ids = _ids_at(self.pinned, np.concatenate(pairs))
            listed = len(pairs[0])
            written["duplicates"] = {
                "rows": len(rows.duplicates.rows),
                "listed": [list(pair) for pair in zip(ids[:listed], ids[listed:], strict=True)],
            }
        if rows.content is not None:
            leaks = find_leaks(rows.content, rows.codes, rows.names, LISTED)
            written["leaks"] = {
                "contents": leaks.num_contents,
                "rows": leaks.num_rows,
                "pairs": leaks.pairs,
                "listed": _ids_at(self.pinned, np.array(leaks.rows, np.int64)),
            }
        if self.spec.splits.stratify is not None:
            written["stratified"] = self._stratified(rows, versions, self.spec.splits.stratify)
        return written

    def _stratified(self, rows: _Rows, versions: Sequence[Sequence[Version]], name: str) -> dict[str, Any]:
        codes = codes_of(name, _holders(versions))
        column = self.spec.record_columns[name]
        values = self.vocabularies[name].to_pylist() if name in self.vocabularies else column.values
        shares = {}
        for split, members in rows.splits.items():
            counts = np.bincount(codes[members] + 1, minlength=1)[1:]
            order = np.argsort(-counts, kind="stable")[:LISTED]
            total = max(int(counts.sum()), 1)
            shares[split] = {
                str(code if values is None else values[code]): int(counts[code]) / total
                for code in order.tolist()
                if counts[code]
            }
        return shares


def _merge(
    spec: DatasetSpec, pinned: Sequence[Pinned], kept: Kept, progress: Progress
) -> dict[str, tuple[Summary, Summary]]:
    merged = {name: (Summary(), Summary()) for name in spec.record_columns}
    for at, one in enumerate(pinned):
        found = statistics_of(spec, one, *kept.of(at)) if merged else {}
        for name, (train, rest) in merged.items():
            written = found[name]
            merged[name] = (
                train.merge(Summary.from_json(written["train"])),
                rest.merge(Summary.from_json(written["rest"])),
            )
        progress(at + 1, 2 * len(pinned), STEPS)
    return merged


def _rows_table(spec: DatasetSpec, one: Pinned) -> pa.Table:
    if one.records is not None:
        return one.records.table(ROWS).read()
    return pa.Table.from_batches([rows_of(spec, batch) for batch in batches_of(one.documents)])


def _column(tables: Sequence[pa.Table], name: str) -> Any:
    return np.concatenate([table[name].to_numpy() for table in tables])


def _holders(versions: Sequence[Sequence[Version]]) -> list[list[Version]]:
    return [[version for version in group if version.columns] or list(group) for group in versions]


def _narrow(rows: npt.NDArray[np.int64], num_rows: int) -> npt.NDArray[Any]:
    return rows.astype("<u4" if num_rows <= 1 << 32 else "<u8")


def _ids_at(pinned: Sequence[Pinned], rows: npt.NDArray[np.int64]) -> list[str]:
    """Name rows of the dataset by their `_id`."""
    found: dict[int, str] = {}
    wanted = np.unique(rows)
    first = 0
    for one in pinned:
        if not np.any((wanted >= first) & (wanted < first + one.documents.num_rows)):
            first += one.documents.num_rows
            continue
        for batch in batches_of(one.documents):
            inside = wanted[(wanted >= first) & (wanted < first + batch.num_rows)]
            if len(inside):
                names = ids_of(batch.column(0), (inside - first).tolist())
                found.update(zip(inside.tolist(), names, strict=True))
            first += batch.num_rows
    return [found[row] for row in rows.tolist()]
