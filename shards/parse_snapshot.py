"""The strict reading of the part of a manifest that only snapshots have."""

from __future__ import annotations

from typing import Any

from shards import arrow_types, names
from shards.inspector import Inspector, npy_size
from shards.limits import INDEX_DTYPES, MAX_COLUMNS, MAX_NUMBER, MAX_ROWS, MAX_SHARDS
from shards.manifest import IndexEntry, Pin, SnapshotEntry, VocabularyEntry


def _index(seen: Inspector, entry: Any, where: str, role: str) -> IndexEntry | None:
    members = {"name", "dtype", "shards"} | ({"parent"} if role == "subset" else set())
    if not seen.members(entry, where, members):
        return None
    name = seen.text(entry["name"], f"{where}/name", names.NAME)
    parent = seen.text(entry["parent"], f"{where}/parent", names.NAME) if role == "subset" else None
    dtype = seen.text(entry["dtype"], f"{where}/dtype")
    if dtype not in INDEX_DTYPES:
        seen.refuse(f"{where}/dtype", "bad_dtype", dtype, ", ".join(INDEX_DTYPES))
        return None
    if len(seen.listing(entry["shards"], f"{where}/shards", 1)) > 1:
        return None
    shards = seen.shards(
        entry["shards"],
        f"{where}/shards",
        lambda position: names.file_name(role, name, position, "npy"),  # type: ignore[arg-type]
        npy_size(dtype, ()),
    )
    return IndexEntry(name, dtype, shards, parent)


def _vocabulary(seen: Inspector, entry: Any, where: str) -> VocabularyEntry | None:
    if not seen.members(entry, where, {"column", "arrow_type", "shards"}):
        return None
    column = seen.text(entry["column"], f"{where}/column", names.NAME)
    arrow_type = seen.text(entry["arrow_type"], f"{where}/arrow_type")
    seen.built(f"{where}/arrow_type", lambda: arrow_types.parse(arrow_type))
    shards = seen.shards(
        seen.listing(entry["shards"], f"{where}/shards", 1),
        f"{where}/shards",
        lambda position: names.file_name("vocabulary", column, position, "arrow"),
        None,
    )
    return VocabularyEntry(column, arrow_type, shards)


def _pins(seen: Inspector, value: object) -> dict[str, dict[str, Pin]]:
    pins: dict[str, dict[str, Pin]] = {}
    for asset, partitions in seen.mapping(value, "/snapshot/pins").items():
        where = f"/snapshot/pins/{asset[:80]}"
        seen.text(asset, where, names.NAME)
        pins[asset] = {}
        for key, pin in seen.mapping(partitions, where).items():
            here = f"{where}/{key[:80]}"
            seen.built(here, lambda key=key: names.encode_partition(key))  # type: ignore[misc]
            if seen.members(pin, here, {"number", "content_hash"}):
                number = seen.integer(pin["number"], f"{here}/number", 1, MAX_NUMBER)
                pins[asset][key] = Pin(
                    number, seen.text(pin["content_hash"], f"{here}/content_hash", names.HASH)
                )
    return pins


def _partitions(seen: Inspector, value: object) -> list[tuple[str, int]]:
    partitions: list[tuple[str, int]] = []
    for position, entry in enumerate(seen.listing(value, "/snapshot/partitions", MAX_SHARDS)):
        where = f"/snapshot/partitions/{position}"
        if seen.members(entry, where, {"key", "num_rows"}):
            key = seen.text(entry["key"], f"{where}/key")
            partitions.append((key, seen.integer(entry["num_rows"], f"{where}/num_rows", 0, MAX_ROWS)))
    keys = [key for key, _ in partitions]
    if keys != sorted(set(keys)):
        seen.refuse("/snapshot/partitions", "not_sorted", keys[:5], "distinct keys in ascending order")
    return partitions


def parse_snapshot(seen: Inspector, value: Any, num_rows: int) -> SnapshotEntry | None:
    members = {"pins", "partitions", "splits", "subsets", "vocabularies", "transforms"}
    if value is None or not seen.members(value, "/snapshot", members):
        return None
    partitions = _partitions(seen, value["partitions"])
    if sum(rows for _, rows in partitions) != num_rows:
        seen.refuse("/snapshot/partitions", "wrong_rows", num_rows, "num_rows is the sum over partitions")
    pins = _pins(seen, value["pins"])
    for asset, pinned in pins.items():
        if pinned.keys() != {key for key, _ in partitions}:
            seen.refuse(
                f"/snapshot/pins/{asset[:80]}", "wrong_partitions", sorted(pinned)[:5], "every partition"
            )
    found: dict[str, list[Any]] = {}
    for group, role in (("splits", "index"), ("subsets", "subset")):
        where = f"/snapshot/{group}"
        entries = [
            _index(seen, entry, f"{where}/{position}", role)
            for position, entry in enumerate(seen.listing(value[group], where, MAX_COLUMNS))
        ]
        found[group] = [entry for entry in entries if entry is not None]
        seen.unique([entry.name for entry in found[group]], where)
    split_names = {entry.name for entry in found["splits"]}
    for entry in found["subsets"]:
        if entry.parent not in split_names:
            seen.refuse("/snapshot/subsets", "unknown_parent", entry.parent, "a split of this snapshot")
    vocabularies = [
        _vocabulary(seen, entry, f"/snapshot/vocabularies/{position}")
        for position, entry in enumerate(
            seen.listing(value["vocabularies"], "/snapshot/vocabularies", MAX_COLUMNS)
        )
    ]
    transforms = seen.mapping(value["transforms"], "/snapshot/transforms")
    for name, steps in transforms.items():
        where = f"/snapshot/transforms/{name[:80]}"
        for position, step in enumerate(seen.listing(steps, where, MAX_COLUMNS)):
            if not isinstance(seen.mapping(step, f"{where}/{position}").get("op"), str):
                seen.refuse(f"{where}/{position}/op", "wrong_type", step, "an object whose op is text")
    return SnapshotEntry(
        pins=pins,
        partitions=tuple(partitions),
        splits=tuple(found["splits"]),
        subsets=tuple(found["subsets"]),
        vocabularies=tuple(entry for entry in vocabularies if entry is not None),
        transforms=transforms,
    )
