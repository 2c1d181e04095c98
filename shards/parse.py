"""The strict reading of a manifest: every breach is reported, with its place, before anything is trusted."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any, TypeVar

from shards import arrow_types, names, npy, strict_json
from shards.errors import InvalidArgument, ManifestError, Problem, UnsupportedFormat
from shards.limits import (
    DTYPES,
    FEATURES,
    FORMAT,
    FORMAT_VERSION,
    INDEX_DTYPES,
    MAX_COLUMNS,
    MAX_DIMENSIONS,
    MAX_FILE_BYTES,
    MAX_NUMBER,
    MAX_ROWS,
    MAX_SHARDS,
    MAX_TEXT,
)
from shards.manifest import (
    ColumnEntry,
    IndexEntry,
    Manifest,
    Pin,
    Shard,
    SnapshotEntry,
    TableEntry,
    VocabularyEntry,
)
from shards.schema import PROVENANCE_FIELDS, Column, Provenance

_T = TypeVar("_T")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII)
_MANIFEST_MEMBERS = {
    "format", "format_version", "required_features", "dataset", "asset", "partition", "number", "created_at",
    "attempt", "content_hash", "num_rows", "columns", "tables", "validity", "inputs", "statistics",
    "snapshot", "metadata", "provenance", "checksum",
}  # fmt: skip
_COLUMN_MEMBERS = {
    "name", "encoding", "dtype", "shape", "arrow_type", "kind", "mask", "attributes", "shards"
}  # fmt: skip
_SHARD_MEMBERS = {"file", "rows", "bytes", "xxh3_128"}


class _Reader:
    """Takes members out of JSON values and collects what is wrong with them."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.num_shards = 0

    def refuse(self, where: str, kind: str, got: object, allowed: str) -> None:
        text = repr(got)
        self.problems.append(Problem(where, kind, text if len(text) <= 80 else text[:77] + "...", allowed))

    def members(
        self, value: object, where: str, allowed: set[str], optional: frozenset[str] = frozenset()
    ) -> bool:
        """Whether the value is an object with exactly the allowed members."""
        if not isinstance(value, dict):
            self.refuse(where, "wrong_type", value, "an object")
            return False
        for name in sorted(value.keys() - allowed):
            self.refuse(f"{where}/{name[:80]}", "unknown_member", name, ", ".join(sorted(allowed)))
        missing = sorted(allowed - value.keys() - optional)
        for name in missing:
            self.refuse(f"{where}/{name}", "missing_member", None, "a value")
        return not missing

    def integer(self, value: object, where: str, low: int, high: int) -> int:
        if type(value) is not int:
            self.refuse(where, "wrong_type", value, "an integer")
            return low
        if not low <= value <= high:
            self.refuse(where, "out_of_range", value, f"{low} to {high}")
            return low
        return value

    def text(self, value: object, where: str, pattern: re.Pattern[str] | None = None) -> str:
        if not isinstance(value, str):
            self.refuse(where, "wrong_type", value, "text")
            return ""
        if pattern is not None and not pattern.fullmatch(value):
            self.refuse(where, "bad_name", value, pattern.pattern)
        elif len(value) > MAX_TEXT:
            self.refuse(where, "too_long", value, f"at most {MAX_TEXT} characters")
        return value

    def listing(self, value: object, where: str, most: int) -> list[Any]:
        if not isinstance(value, list):
            self.refuse(where, "wrong_type", value, "a list")
            return []
        if len(value) > most:
            self.refuse(where, "too_many", len(value), f"at most {most}")
            return []
        return value

    def mapping(self, value: object, where: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            self.refuse(where, "wrong_type", value, "an object")
            return {}
        return value

    def built(self, where: str, build: Callable[[], _T]) -> _T | None:
        try:
            return build()
        except InvalidArgument as error:
            self.refuse(where, "bad_value", str(error), "see docs/format.md")
            return None

    def moment(self, value: object, where: str) -> datetime:
        text = self.text(value, where, _TIME)
        try:
            return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc)
        except ValueError:
            if _TIME.fullmatch(text):
                self.refuse(where, "bad_value", value, "a moment that exists")
            return datetime.fromtimestamp(0, timezone.utc)

    def shards(
        self, value: object, where: str, name_of: Callable[[int], str], size_of: Callable[[int], int] | None
    ) -> tuple[Shard, ...]:
        """Files of a column, table or index; `size_of` gives the exact bytes of an `.npy` file."""
        shards: list[Shard] = []
        for position, entry in enumerate(self.listing(value, where, MAX_SHARDS)):
            here = f"{where}/{position}"
            if not self.members(entry, here, _SHARD_MEMBERS):
                continue
            shard = Shard(entry["file"], entry["rows"], entry["bytes"], entry["xxh3_128"])
            if shard.file != name_of(position):
                self.refuse(f"{here}/file", "bad_name", shard.file, name_of(position))
            rows = self.integer(shard.rows, f"{here}/rows", 1, MAX_ROWS)
            size = self.integer(shard.bytes, f"{here}/bytes", 1, MAX_FILE_BYTES)
            self.text(shard.xxh3_128, f"{here}/xxh3_128", names.HASH)
            if size_of is not None and size != size_of(rows):
                self.refuse(f"{here}/bytes", "wrong_size", size, f"{size_of(rows)} for {rows} rows")
            shards.append(shard)
        self.num_shards += len(shards)
        if self.num_shards > MAX_SHARDS:
            self.refuse(where, "too_many", self.num_shards, f"at most {MAX_SHARDS} shards in all")
        return tuple(shards)

    def rows(self, shards: tuple[Shard, ...], expected: int, where: str) -> None:
        """Refuse shards that do not hold the expected rows in all."""
        got = sum(shard.rows for shard in shards if type(shard.rows) is int)
        if got != expected:
            self.refuse(where, "wrong_rows", got, f"{expected} rows in all")

    def unique(self, found: list[str], where: str) -> None:
        if len(set(found)) != len(found):
            twice = sorted(name for name in set(found) if found.count(name) > 1)
            self.refuse(where, "duplicate_name", twice[:5], "every name once")


def _npy_size(dtype: str, shape: tuple[int, ...]) -> Callable[[int], int]:
    column = Column("x", "npy", dtype, shape)
    fixed, row_bytes = len(npy.header(dtype, 0, shape)), column.row_bytes
    return lambda rows: fixed + rows * row_bytes


def _column(reader: _Reader, entry: Any, where: str, num_rows: int) -> ColumnEntry | None:
    if not reader.members(entry, where, _COLUMN_MEMBERS):
        return None
    before = len(reader.problems)
    name = reader.text(entry["name"], f"{where}/name", names.NAME)
    encoding = reader.text(entry["encoding"], f"{where}/encoding")
    dtype = reader.text(entry["dtype"], f"{where}/dtype")
    if encoding == "npy" and dtype not in DTYPES:
        reader.refuse(f"{where}/dtype", "bad_dtype", dtype, ", ".join(DTYPES))
    arrow_type = entry["arrow_type"]
    if not isinstance(arrow_type, str):
        reader.refuse(f"{where}/arrow_type", "wrong_type", arrow_type, "text")
    shape = tuple(
        reader.integer(size, f"{where}/shape/{axis}", 1, (1 << 31) - 1)
        for axis, size in enumerate(reader.listing(entry["shape"], f"{where}/shape", MAX_DIMENSIONS))
    )
    kind = reader.text(entry["kind"], f"{where}/kind", names.KIND)
    mask = entry["mask"]
    if mask is not None:
        reader.text(mask, f"{where}/mask", names.NAME)
    attributes = reader.mapping(entry["attributes"], f"{where}/attributes")
    if len(reader.problems) > before:
        return None
    column = reader.built(
        where,
        lambda: Column(name, encoding, dtype, shape, arrow_type, kind, mask, attributes),  # type: ignore[arg-type]
    )
    if column is None:
        return None
    suffix = column.encoding
    shards = reader.shards(
        entry["shards"],
        f"{where}/shards",
        lambda position: names.file_name("column", name, position, suffix),
        _npy_size(dtype, shape) if suffix == "npy" else None,
    )
    reader.rows(shards, num_rows, f"{where}/shards")
    return ColumnEntry(column, shards)


def _table(reader: _Reader, entry: Any, where: str) -> TableEntry | None:
    if not reader.members(entry, where, {"name", "arrow_type", "shards"}):
        return None
    name = reader.text(entry["name"], f"{where}/name", names.NAME)
    arrow_type = entry["arrow_type"]
    if not isinstance(arrow_type, str):
        reader.refuse(f"{where}/arrow_type", "wrong_type", arrow_type, "text")
        return None
    reader.built(f"{where}/arrow_type", lambda: arrow_types.schema_of(arrow_type))
    shards = reader.shards(
        entry["shards"],
        f"{where}/shards",
        lambda position: names.file_name("table", name, position, "arrow"),
        None,
    )
    return TableEntry(name, arrow_type, shards)


def _validity(reader: _Reader, value: object, num_rows: int) -> tuple[Shard, ...] | None:
    if value is None:
        return None
    shards = reader.shards(value, "/validity", names.validity_name, _npy_size("|b1", ()))
    reader.rows(shards, num_rows, "/validity")
    return shards


def _index(reader: _Reader, entry: Any, where: str, role: str) -> IndexEntry | None:
    members = {"name", "dtype", "shards"} | ({"parent"} if role == "subset" else set())
    if not reader.members(entry, where, members):
        return None
    name = reader.text(entry["name"], f"{where}/name", names.NAME)
    parent = reader.text(entry["parent"], f"{where}/parent", names.NAME) if role == "subset" else None
    dtype = reader.text(entry["dtype"], f"{where}/dtype")
    if dtype not in INDEX_DTYPES:
        reader.refuse(f"{where}/dtype", "bad_dtype", dtype, ", ".join(INDEX_DTYPES))
        return None
    if len(reader.listing(entry["shards"], f"{where}/shards", 1)) > 1:
        return None
    shards = reader.shards(
        entry["shards"],
        f"{where}/shards",
        lambda position: names.file_name(role, name, position, "npy"),  # type: ignore[arg-type]
        _npy_size(dtype, ()),
    )
    return IndexEntry(name, dtype, shards, parent)


def _vocabulary(reader: _Reader, entry: Any, where: str) -> VocabularyEntry | None:
    if not reader.members(entry, where, {"column", "arrow_type", "shards"}):
        return None
    column = reader.text(entry["column"], f"{where}/column", names.NAME)
    arrow_type = reader.text(entry["arrow_type"], f"{where}/arrow_type")
    reader.built(f"{where}/arrow_type", lambda: arrow_types.parse(arrow_type))
    shards = reader.shards(
        reader.listing(entry["shards"], f"{where}/shards", 1),
        f"{where}/shards",
        lambda position: names.file_name("vocabulary", column, position, "arrow"),
        None,
    )
    return VocabularyEntry(column, arrow_type, shards)


def _pins(reader: _Reader, value: object) -> dict[str, dict[str, Pin]]:
    pins: dict[str, dict[str, Pin]] = {}
    for asset, partitions in reader.mapping(value, "/snapshot/pins").items():
        where = f"/snapshot/pins/{asset[:80]}"
        reader.text(asset, where, names.NAME)
        pins[asset] = {}
        for key, pin in reader.mapping(partitions, where).items():
            here = f"{where}/{key[:80]}"
            reader.built(here, lambda key=key: names.encode_partition(key))  # type: ignore[misc]
            if reader.members(pin, here, {"number", "content_hash"}):
                number = reader.integer(pin["number"], f"{here}/number", 1, MAX_NUMBER)
                pins[asset][key] = Pin(
                    number, reader.text(pin["content_hash"], f"{here}/content_hash", names.HASH)
                )
    return pins


def _partitions(reader: _Reader, value: object) -> list[tuple[str, int]]:
    partitions: list[tuple[str, int]] = []
    for position, entry in enumerate(reader.listing(value, "/snapshot/partitions", MAX_SHARDS)):
        where = f"/snapshot/partitions/{position}"
        if reader.members(entry, where, {"key", "num_rows"}):
            key = reader.text(entry["key"], f"{where}/key")
            partitions.append((key, reader.integer(entry["num_rows"], f"{where}/num_rows", 0, MAX_ROWS)))
    keys = [key for key, _ in partitions]
    if keys != sorted(set(keys)):
        reader.refuse("/snapshot/partitions", "not_sorted", keys[:5], "distinct keys in ascending order")
    return partitions


def _snapshot(reader: _Reader, value: Any, num_rows: int) -> SnapshotEntry | None:
    members = {"pins", "partitions", "splits", "subsets", "vocabularies", "transforms"}
    if value is None or not reader.members(value, "/snapshot", members):
        return None
    partitions = _partitions(reader, value["partitions"])
    if sum(rows for _, rows in partitions) != num_rows:
        reader.refuse("/snapshot/partitions", "wrong_rows", num_rows, "num_rows is the sum over partitions")
    pins = _pins(reader, value["pins"])
    for asset, pinned in pins.items():
        if pinned.keys() != {key for key, _ in partitions}:
            reader.refuse(
                f"/snapshot/pins/{asset[:80]}", "wrong_partitions", sorted(pinned)[:5], "every partition"
            )
    found: dict[str, list[Any]] = {}
    for group, role in (("splits", "index"), ("subsets", "subset")):
        where = f"/snapshot/{group}"
        entries = [
            _index(reader, entry, f"{where}/{position}", role)
            for position, entry in enumerate(reader.listing(value[group], where, MAX_COLUMNS))
        ]
        found[group] = [entry for entry in entries if entry is not None]
        reader.unique([entry.name for entry in found[group]], where)
    split_names = {entry.name for entry in found["splits"]}
    for entry in found["subsets"]:
        if entry.parent not in split_names:
            reader.refuse("/snapshot/subsets", "unknown_parent", entry.parent, "a split of this snapshot")
    vocabularies = [
        _vocabulary(reader, entry, f"/snapshot/vocabularies/{position}")
        for position, entry in enumerate(
            reader.listing(value["vocabularies"], "/snapshot/vocabularies", MAX_COLUMNS)
        )
    ]
    transforms = reader.mapping(value["transforms"], "/snapshot/transforms")
    for name, steps in transforms.items():
        where = f"/snapshot/transforms/{name[:80]}"
        for position, step in enumerate(reader.listing(steps, where, MAX_COLUMNS)):
            if not isinstance(reader.mapping(step, f"{where}/{position}").get("op"), str):
                reader.refuse(f"{where}/{position}/op", "wrong_type", step, "an object whose op is text")
    return SnapshotEntry(
        pins=pins,
        partitions=tuple(partitions),
        splits=tuple(found["splits"]),
        subsets=tuple(found["subsets"]),
        vocabularies=tuple(entry for entry in vocabularies if entry is not None),
        transforms=transforms,
    )


def _provenance(reader: _Reader, value: object) -> Provenance:
    if not reader.members(value, "/provenance", set(PROVENANCE_FIELDS), frozenset(PROVENANCE_FIELDS)):
        return Provenance()
    known = {name: text for name, text in value.items() if name in PROVENANCE_FIELDS}  # type: ignore[attr-defined]
    for name, text in known.items():
        reader.text(text, f"/provenance/{name}")
    return reader.built("/provenance", lambda: Provenance(**known)) or Provenance()


def _check_format(path: str, members: dict[str, Any]) -> None:
    """Refuse what another program, a later version or an unknown feature wrote, before reading on."""
    if members.get("format") != FORMAT:
        raise ManifestError(
            path, [Problem("/format", "wrong_format", repr(members.get("format"))[:80], repr(FORMAT))]
        )
    problems = []
    version = members.get("format_version")
    if type(version) is not int or version != FORMAT_VERSION:
        problems.append(
            Problem("/format_version", "unknown_version", repr(version)[:80], f"{FORMAT_VERSION}; upgrade")
        )
    features = members.get("required_features")
    if not isinstance(features, list) or any(
        not isinstance(feature, str) or feature not in FEATURES for feature in features
    ):
        problems.append(
            Problem(
                "/required_features", "unknown_feature", repr(features)[:80], f"{sorted(FEATURES)}; upgrade"
            )
        )
    if problems:
        raise UnsupportedFormat(path, problems)


def parse(path: str, data: bytes) -> Manifest:
    """Read a manifest.

    Parameters
    ----------
    path
        Where the bytes came from, for errors.
    data
        The file's bytes.

    Raises
    ------
    UnsupportedFormat
        It needs a format version or feature that is not known here.
    ManifestError
        It breaks the format; every breach found is in `problems`.
    """
    members = strict_json.load(path, data)
    _check_format(path, members)
    reader = _Reader()
    if not reader.members(members, "", _MANIFEST_MEMBERS):
        raise ManifestError(path, reader.problems)
    num_rows = reader.integer(members["num_rows"], "/num_rows", 0, MAX_ROWS)
    columns = [
        _column(reader, entry, f"/columns/{position}", num_rows)
        for position, entry in enumerate(reader.listing(members["columns"], "/columns", MAX_COLUMNS))
    ]
    tables = [
        _table(reader, entry, f"/tables/{position}")
        for position, entry in enumerate(reader.listing(members["tables"], "/tables", MAX_COLUMNS))
    ]
    known_columns = [entry for entry in columns if entry is not None]
    known_tables = [entry for entry in tables if entry is not None]
    reader.unique([entry.column.name for entry in known_columns], "/columns")
    reader.unique([entry.name for entry in known_tables], "/tables")
    _check_masks(reader, known_columns)
    inputs = reader.mapping(members["inputs"], "/inputs")
    for name, number in inputs.items():
        reader.text(name, f"/inputs/{name[:80]}", names.NAME)
        reader.integer(number, f"/inputs/{name[:80]}", 1, MAX_NUMBER)
    partition = reader.text(members["partition"], "/partition")
    reader.built("/partition", lambda: names.encode_partition(partition))
    manifest = Manifest(
        dataset=reader.text(members["dataset"], "/dataset", names.NAME),
        asset=reader.text(members["asset"], "/asset", names.NAME),
        partition=partition,
        number=reader.integer(members["number"], "/number", 1, MAX_NUMBER),
        created_at=reader.moment(members["created_at"], "/created_at"),
        attempt=reader.text(members["attempt"], "/attempt", names.ATTEMPT),
        num_rows=num_rows,
        columns=tuple(known_columns),
        tables=tuple(known_tables),
        validity=_validity(reader, members["validity"], num_rows),
        inputs=inputs,
        statistics=reader.mapping(members["statistics"], "/statistics"),
        metadata=reader.mapping(members["metadata"], "/metadata"),
        provenance=_provenance(reader, members["provenance"]),
        snapshot=_snapshot(reader, members["snapshot"], num_rows),
        content_hash=reader.text(members["content_hash"], "/content_hash", names.HASH),
    )
    if reader.problems:
        raise ManifestError(path, reader.problems)
    return manifest


def _check_masks(reader: _Reader, entries: list[ColumnEntry]) -> None:
    masks = {
        entry.column.name
        for entry in entries
        if (entry.column.encoding, entry.column.dtype, entry.column.shape) == ("npy", "|b1", ())
    }
    for entry in entries:
        if entry.column.mask is not None and entry.column.mask not in masks:
            reader.refuse("/columns", "unknown_mask", entry.column.mask, "a |b1 column of one value a row")
