"""Taking members out of untrusted JSON values while collecting everything that is wrong with them."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any, TypeVar

from shards import names, npy
from shards.errors import InvalidArgument, Problem
from shards.limits import MAX_FILE_BYTES, MAX_ROWS, MAX_SHARDS, MAX_TEXT
from shards.manifest import Shard
from shards.schema import Column

_T = TypeVar("_T")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII)
_SHARD_MEMBERS = {"file", "rows", "bytes", "xxh3_128"}


class Inspector:
    """One document under inspection; `problems` lists what was found."""

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
        sound = _sound_shards(value, name_of, size_of)
        if sound is not None and self.num_shards + len(sound) <= MAX_SHARDS:
            self.num_shards += len(sound)
            return sound
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


def _sound_shards(
    value: object, name_of: Callable[[int], str], size_of: Callable[[int], int] | None
) -> tuple[Shard, ...] | None:
    """Files that are all as they should be, judged together and quickly; None where one may not be."""
    if type(value) is not list or not value or set(map(type, value)) != {dict} or set(map(len, value)) != {4}:
        return None
    try:
        shards = tuple([Shard(e["file"], e["rows"], e["bytes"], e["xxh3_128"]) for e in value])
    except KeyError:
        return None
    rows, sizes = [shard.rows for shard in shards], [shard.bytes for shard in shards]
    hashes = [shard.xxh3_128 for shard in shards]
    sound = (
        set(map(type, rows)) == {int}
        and set(map(type, sizes)) == {int}
        and set(map(type, hashes)) == {str}
        and min(rows) >= 1
        and max(rows) <= MAX_ROWS
        and min(sizes) >= 1
        and max(sizes) <= MAX_FILE_BYTES
        and all(map(names.HASH.fullmatch, hashes))
        and (size_of is None or sizes == list(map(size_of, rows)))
        and [shard.file for shard in shards] == list(map(name_of, range(len(shards))))
    )
    return shards if sound else None


def npy_size(dtype: str, shape: tuple[int, ...]) -> Callable[[int], int]:
    column = Column("x", "npy", dtype, shape)
    fixed, row_bytes = len(npy.header(dtype, 0, shape)), column.row_bytes
    return lambda rows: fixed + rows * row_bytes
