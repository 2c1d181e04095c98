"""The strict reading of a manifest: every breach is reported, with its place, before anything is trusted."""

from __future__ import annotations

from typing import Any

from shards import arrow_types, names, strict_json
from shards.errors import ManifestError, Problem, UnsupportedFormat
from shards.inspector import Inspector, npy_size
from shards.limits import (
    DTYPES,
    FEATURES,
    FORMAT,
    FORMAT_VERSION,
    MAX_COLUMNS,
    MAX_DIMENSIONS,
    MAX_NUMBER,
    MAX_ROWS,
)
from shards.manifest import (
    ColumnEntry,
    Manifest,
    Shard,
    TableEntry,
)
from shards.parse_snapshot import parse_snapshot
from shards.schema import PROVENANCE_FIELDS, Column, Provenance

_MANIFEST_MEMBERS = {
    "format", "format_version", "required_features", "dataset", "asset", "partition", "number", "created_at",
    "attempt", "content_hash", "num_rows", "columns", "tables", "validity", "inputs", "statistics",
    "snapshot", "metadata", "provenance", "checksum",
}  # fmt: skip
_COLUMN_MEMBERS = {
    "name", "encoding", "dtype", "shape", "arrow_type", "kind", "mask", "attributes", "shards"
}  # fmt: skip


def _column(seen: Inspector, entry: Any, where: str, num_rows: int) -> ColumnEntry | None:
    if not seen.members(entry, where, _COLUMN_MEMBERS):
        return None
    before = len(seen.problems)
    name = seen.text(entry["name"], f"{where}/name", names.NAME)
    encoding = seen.text(entry["encoding"], f"{where}/encoding")
    dtype = seen.text(entry["dtype"], f"{where}/dtype")
    if encoding == "npy" and dtype not in DTYPES:
        seen.refuse(f"{where}/dtype", "bad_dtype", dtype, ", ".join(DTYPES))
    arrow_type = entry["arrow_type"]
    if not isinstance(arrow_type, str):
        seen.refuse(f"{where}/arrow_type", "wrong_type", arrow_type, "text")
    shape = tuple(
        seen.integer(size, f"{where}/shape/{axis}", 1, (1 << 31) - 1)
        for axis, size in enumerate(seen.listing(entry["shape"], f"{where}/shape", MAX_DIMENSIONS))
    )
    kind = seen.text(entry["kind"], f"{where}/kind", names.KIND)
    mask = entry["mask"]
    if mask is not None:
        seen.text(mask, f"{where}/mask", names.NAME)
    attributes = seen.mapping(entry["attributes"], f"{where}/attributes")
    if len(seen.problems) > before:
        return None
    column = seen.built(
        where,
        lambda: Column(name, encoding, dtype, shape, arrow_type, kind, mask, attributes),  # type: ignore[arg-type]
    )
    if column is None:
        return None
    suffix = column.encoding
    shards = seen.shards(
        entry["shards"],
        f"{where}/shards",
        lambda position: names.file_name("column", name, position, suffix),
        npy_size(dtype, shape) if suffix == "npy" else None,
    )
    seen.rows(shards, num_rows, f"{where}/shards")
    return ColumnEntry(column, shards)


def _table(seen: Inspector, entry: Any, where: str) -> TableEntry | None:
    if not seen.members(entry, where, {"name", "arrow_type", "shards"}):
        return None
    name = seen.text(entry["name"], f"{where}/name", names.NAME)
    arrow_type = entry["arrow_type"]
    if not isinstance(arrow_type, str):
        seen.refuse(f"{where}/arrow_type", "wrong_type", arrow_type, "text")
        return None
    seen.built(f"{where}/arrow_type", lambda: arrow_types.schema_of(arrow_type))
    shards = seen.shards(
        entry["shards"],
        f"{where}/shards",
        lambda position: names.file_name("table", name, position, "arrow"),
        None,
    )
    return TableEntry(name, arrow_type, shards)


def _validity(seen: Inspector, value: object, num_rows: int) -> tuple[Shard, ...] | None:
    if value is None:
        return None
    shards = seen.shards(value, "/validity", names.validity_name, npy_size("|b1", ()))
    seen.rows(shards, num_rows, "/validity")
    return shards


def _provenance(seen: Inspector, value: object) -> Provenance:
    if not seen.members(value, "/provenance", set(PROVENANCE_FIELDS), frozenset(PROVENANCE_FIELDS)):
        return Provenance()
    known = {name: text for name, text in value.items() if name in PROVENANCE_FIELDS}  # type: ignore[attr-defined]
    for name, text in known.items():
        seen.text(text, f"/provenance/{name}")
    return seen.built("/provenance", lambda: Provenance(**known)) or Provenance()


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
    seen = Inspector()
    if not seen.members(members, "", _MANIFEST_MEMBERS):
        raise ManifestError(path, seen.problems)
    num_rows = seen.integer(members["num_rows"], "/num_rows", 0, MAX_ROWS)
    columns = [
        _column(seen, entry, f"/columns/{position}", num_rows)
        for position, entry in enumerate(seen.listing(members["columns"], "/columns", MAX_COLUMNS))
    ]
    tables = [
        _table(seen, entry, f"/tables/{position}")
        for position, entry in enumerate(seen.listing(members["tables"], "/tables", MAX_COLUMNS))
    ]
    known_columns = [entry for entry in columns if entry is not None]
    known_tables = [entry for entry in tables if entry is not None]
    seen.unique([entry.column.name for entry in known_columns], "/columns")
    seen.unique([entry.name for entry in known_tables], "/tables")
    _check_masks(seen, known_columns)
    if known_tables and not columns and members["validity"] is None:
        seen.rows(known_tables[0].shards, num_rows, "/tables/0/shards")
    inputs = seen.mapping(members["inputs"], "/inputs")
    for name, number in inputs.items():
        seen.text(name, f"/inputs/{name[:80]}", names.NAME)
        seen.integer(number, f"/inputs/{name[:80]}", 1, MAX_NUMBER)
    partition = seen.text(members["partition"], "/partition")
    seen.built("/partition", lambda: names.encode_partition(partition))
    manifest = Manifest(
        dataset=seen.text(members["dataset"], "/dataset", names.NAME),
        asset=seen.text(members["asset"], "/asset", names.NAME),
        partition=partition,
        number=seen.integer(members["number"], "/number", 1, MAX_NUMBER),
        created_at=seen.moment(members["created_at"], "/created_at"),
        attempt=seen.text(members["attempt"], "/attempt", names.ATTEMPT),
        num_rows=num_rows,
        columns=tuple(known_columns),
        tables=tuple(known_tables),
        validity=_validity(seen, members["validity"], num_rows),
        inputs=inputs,
        statistics=seen.mapping(members["statistics"], "/statistics"),
        metadata=seen.mapping(members["metadata"], "/metadata"),
        provenance=_provenance(seen, members["provenance"]),
        snapshot=parse_snapshot(seen, members["snapshot"], num_rows),
        features=tuple(members["required_features"]),
        content_hash=seen.text(members["content_hash"], "/content_hash", names.HASH),
    )
    if seen.problems:
        raise ManifestError(path, seen.problems)
    return manifest


def _check_masks(seen: Inspector, entries: list[ColumnEntry]) -> None:
    masks = {
        entry.column.name
        for entry in entries
        if (entry.column.encoding, entry.column.dtype, entry.column.shape) == ("npy", "|b1", ())
    }
    for entry in entries:
        if entry.column.mask is not None and entry.column.mask not in masks:
            seen.refuse("/columns", "unknown_mask", entry.column.mask, "a |b1 column of one value a row")
