"""What must hold between the parts of a dataset specification; each part checks itself alone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, TypeAlias
from zoneinfo import available_timezones

from assets.spec.columns import CategoryColumn, NumericColumn, TextColumn
from assets.spec.expression import columns_of
from assets.spec.images import BoxesColumn, ImageColumn, MaskImageColumn, PointsColumn
from assets.spec.operation import ZONES_ALLOWED
from assets.spec.partitions import StaticPartitions, TimePartitions
from assets.spec.splits import HashSplits, TimeSplits
from assets.spec.storing import GIB, automatic, budget_bytes, least_bytes

if TYPE_CHECKING:
    from assets.spec.dataset import DatasetSpec

Found: TypeAlias = tuple[tuple[str | int, ...], str]
"""Path of the offending key inside the specification, and what is wrong with it."""


def problems(spec: DatasetSpec) -> list[Found]:
    """Return everything in `spec` that is inconsistent, in order of its keys."""
    return [
        *_source(spec),
        *_partitions(spec),
        *_columns(spec),
        *_splits(spec),
        *_subsets(spec),
        *_operation(spec),
        *_storage(spec),
    ]


def _names(names: object) -> str:
    return ", ".join(map(str, names)) or "none is declared"  # type: ignore[call-overload]


def _climbs(path: str | None) -> bool:
    return path is not None and ".." in PurePosixPath(path.replace("\\", "/")).parts


def _source(spec: DatasetSpec) -> Iterator[Found]:
    if _climbs(spec.source.dump):
        yield (
            ("source", "dump"),
            f"{spec.source.dump!r} climbs out with `..`; allowed: an absolute path or one below the project",
        )
    for way in ("watch", "automation"):
        if getattr(spec.refresh, way) and spec.source.dump is not None:
            yield ("refresh", way), f"a dump does not change; give source.collection, or remove {way}"


def _partitions(spec: DatasetSpec) -> Iterator[Found]:
    partitions = spec.partitions
    if isinstance(partitions, StaticPartitions):
        keys = [str(value) for value in partitions.values]
        for key in sorted({key for key in keys if keys.count(key) > 1}):
            yield ("partitions", "values"), f"{key!r} is given twice"
    elif isinstance(partitions, TimePartitions):
        if partitions.timezone not in available_timezones():
            yield ("partitions", "timezone"), f"unknown time zone {partitions.timezone!r}; {ZONES_ALLOWED}"
        start = _local(partitions.start)
        if not _is_begin(start, partitions.every):
            yield ("partitions", "start"), f"{start} does not begin a {partitions.every}; {BEGINS}"
        if partitions.end is not None and not _is_begin(_local(partitions.end), partitions.every):
            yield ("partitions", "end"), f"{partitions.end} does not begin a {partitions.every}; {BEGINS}"
        elif partitions.end is not None and _local(partitions.end) <= start:
            yield ("partitions", "end"), f"{partitions.end} is not after start {partitions.start}"


BEGINS = "windows begin at minute 0, at 00:00, on Mondays, or on the first of a month"


def _local(moment: date | datetime) -> datetime:
    whole = moment if isinstance(moment, datetime) else datetime(moment.year, moment.month, moment.day)
    return whole.replace(tzinfo=None)


def _is_begin(moment: datetime, every: str) -> bool:
    if (moment.minute, moment.second, moment.microsecond) != (0, 0, 0):
        return False
    if every == "hour":
        return True
    first_day = {"month": moment.day == 1, "week": moment.weekday() == 0}.get(every, True)
    return moment.hour == 0 and first_day


def _columns(spec: DatasetSpec) -> Iterator[Found]:
    images = [name for name, column in spec.columns.items() if isinstance(column, ImageColumn)]
    for name, column in spec.columns.items():
        at = ("columns", name)
        if "__" in name:
            yield at, "a double underscore is kept for companion columns; use single ones"
        if isinstance(column, (BoxesColumn, PointsColumn, MaskImageColumn)) and column.image not in images:
            yield (*at, "image"), f"no image column {column.image!r}; allowed: {_names(images)}"
        if isinstance(column, (ImageColumn, MaskImageColumn)):
            if _climbs(column.root):
                yield (*at, "root"), f"{column.root!r} climbs out with `..`; name the directory itself"
            if "gridfs" in column.sources and spec.source.gridfs is None:
                yield (*at, "sources"), "gridfs needs source.gridfs, the name of the bucket"
            if "file" in column.sources and column.root is None:
                yield (*at, "sources"), "file needs root, the directory below which paths are read"
        if isinstance(column, TextColumn) and _climbs(column.tokenizer):
            yield (*at, "tokenizer"), f"{column.tokenizer!r} climbs out with `..`; name the file itself"


def _splits(spec: DatasetSpec) -> Iterator[Found]:
    yield from _category(spec, spec.splits.stratify, ("splits", "stratify"))


def _category(spec: DatasetSpec, name: str | None, at: tuple[str | int, ...]) -> Iterator[Found]:
    categories = [n for n, column in spec.columns.items() if isinstance(column, CategoryColumn)]
    if name is not None and name not in categories:
        yield at, f"no category column {name!r}; allowed: {_names(categories)}"


def split_names(spec: DatasetSpec) -> list[str]:
    """Return the names of the splits in the order in which they are declared."""
    splits = spec.splits
    if isinstance(splits, HashSplits):
        return list(splits.fractions)
    return list(splits.until if isinstance(splits, TimeSplits) else splits.values)


def _subsets(spec: DatasetSpec) -> Iterator[Found]:
    allowed = split_names(spec)
    for name, subset in spec.subsets.items():
        if name in allowed:
            yield ("subsets", name), "is also the name of a split; choose another"
        if subset.split not in allowed:
            yield ("subsets", name, "split"), f"no split {subset.split!r}; allowed: {_names(allowed)}"
        for column in [] if subset.where is None else columns_of(subset.where):
            if column not in spec.columns:
                yield ("subsets", name, "where"), f"no column {column!r}; allowed: {_names(spec.columns)}"
        yield from _category(spec, subset.balance, ("subsets", name, "balance"))
    if spec.dedup is not None:
        for column in spec.dedup.content or []:
            if column not in spec.columns:
                yield ("dedup", "content"), f"no column {column!r}; allowed: {_names(spec.columns)}"
        if spec.dedup.fields is None and spec.dedup.content is None:
            yield ("dedup",), "needs fields (paths) or content (columns) that make two rows duplicates"


def _operation(spec: DatasetSpec) -> Iterator[Found]:
    numeric = [n for n, c in spec.columns.items() if isinstance(c, NumericColumn)]
    for name, (low, high) in spec.checks.ranges.items():
        if name not in numeric:
            yield (
                ("checks", "ranges", name),
                f"no number or vector column {name!r}; allowed: {_names(numeric)}",
            )
        if low > high:
            yield ("checks", "ranges", name), f"lowest {low} is above highest {high}"
    if spec.refresh.look_back and spec.partitions.by != "time":
        yield (
            ("refresh", "look_back"),
            f"needs partitions by time, got by {spec.partitions.by}; remove look_back",
        )
    if spec.refresh.look_back and spec.refresh.schedule is None:
        yield ("refresh", "look_back"), "needs refresh.schedule"


def _storage(spec: DatasetSpec) -> Iterator[Found]:
    """The budget of pictures and what it is for go together, and the smallest form fits."""
    names = list(automatic(spec))
    missing = [key for key in ("pictures_gb", "expected_rows") if getattr(spec.storage, key) is None]
    if names and missing:
        for name in names:
            yield (
                ("columns", name, "store"),
                f"auto needs {' and '.join(f'storage.{key}' for key in missing)}",
            )
    elif names and least_bytes(spec) > budget_bytes(spec):
        yield (
            ("storage", "pictures_gb"),
            f"{spec.storage.pictures_gb} GiB are too little: {spec.storage.expected_rows:,} rows of "
            f"{_names(names)} take {least_bytes(spec) / GIB:.4g} in their smaller form; raise it, or "
            "give a smaller size",
        )
    elif not names and len(missing) < 2:
        key = "expected_rows" if "pictures_gb" in missing else "pictures_gb"
        yield ("storage", key), "is for image columns of store: auto; there is none"
