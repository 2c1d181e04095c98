"""Small sealed files beside the assets that hold or doom versions: tags, leases and collectors' intents.

A holder (tag, lease) is written first and then looks for an intent that dooms what it holds; a collector
writes its intent first and then looks for holders. Whatever the interleaving, one of the two sees the other.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shards import names, strict_json
from shards.errors import ManifestError, NotFound, Problem
from shards.limits import FORMAT, FORMAT_VERSION, MAX_MANIFEST_BYTES, MAX_NUMBER
from shards.manifest import seal
from shards.storage import Storage

Pins = Mapping[str, Mapping[str, int]]
"""Version number by asset and partition."""


@dataclass(frozen=True, slots=True)
class Mark:
    """One such file.

    Attributes
    ----------
    kind
        `tag`, `lease` or `intent`.
    name
        Of the tag; random for others.
    pins
        Versions that are held or doomed; several numbers of one partition only in intents.
    written_at, expires_at
        Seconds since the epoch; a tag does not expire.
    holder
        Free text: who wrote it.
    """

    kind: str
    name: str
    pins: Mapping[str, Mapping[str, tuple[int, ...]]]
    written_at: float
    expires_at: float | None
    holder: str

    def holds(self, asset: str, partition: str, number: int) -> bool:
        """Whether the version is named."""
        return number in self.pins.get(asset, {}).get(partition, ())


_DIRECTORIES = {"tag": names.TAGS, "lease": names.LEASES, "intent": names.INTENTS}


def directory(dataset: str, kind: str) -> str:
    """Directory of a dataset's marks of one kind."""
    return f"{dataset}/{_DIRECTORIES[kind]}"


def write(storage: Storage, dataset: str, mark: Mark, *, exclusive: bool = False) -> None:
    """Write a mark whole; FileExistsError when it must be new and is not. Its directory must exist."""
    place = directory(dataset, mark.kind)
    members: dict[str, Any] = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "kind": mark.kind,
        "name": mark.name,
        "pins": {a: {p: list(n) for p, n in pinned.items()} for a, pinned in mark.pins.items()},
        "written_at": mark.written_at,
        "expires_at": mark.expires_at,
        "holder": mark.holder,
    }
    draft, target = f"{place}/{secrets.token_hex(8)}.draft", f"{place}/{mark.name}.json"
    with contextlib.closing(storage.create(draft)) as file:
        file.write(seal(members))
        file.sync()
    try:
        if exclusive:
            storage.link(draft, target)
        else:
            storage.replace(draft, target)
        storage.sync_directory(place)
    finally:
        storage.remove(draft)


def remove(storage: Storage, dataset: str, kind: str, name: str) -> None:
    """Remove a mark; no error if it is absent."""
    storage.remove(f"{directory(dataset, kind)}/{name}.json")


def read_all(storage: Storage, dataset: str, kind: str) -> list[Mark]:
    """Every mark of one kind, sorted by name; ManifestError when one is unreadable."""
    found = []
    for name in sorted(storage.names(directory(dataset, kind))):
        if name.endswith(".json"):
            with contextlib.suppress(NotFound):  # removed meanwhile
                found.append(read(storage, dataset, kind, name.removesuffix(".json")))
    return found


def read(storage: Storage, dataset: str, kind: str, name: str) -> Mark:
    """Read one mark; NotFound when there is none, ManifestError when it is unreadable."""
    path = f"{directory(dataset, kind)}/{name}.json"
    members = strict_json.load(path, storage.read(path, MAX_MANIFEST_BYTES))
    members.pop("checksum")
    wanted = {"format": FORMAT, "format_version": FORMAT_VERSION, "kind": kind, "name": name}
    for member, value in wanted.items():
        if members.get(member) != value:
            raise ManifestError(
                path, [Problem(f"/{member}", "wrong_value", repr(members.get(member))[:80], repr(value))]
            )
    pins, expires_at = members.get("pins"), members.get("expires_at")
    sound = (
        isinstance(pins, dict)
        and all(
            isinstance(pinned, dict)
            and all(
                isinstance(numbers, list)
                and all(type(number) is int and 1 <= number <= MAX_NUMBER for number in numbers)
                for numbers in pinned.values()
            )
            for pinned in pins.values()
        )
        and type(members.get("written_at")) in (int, float)
        and (expires_at is None if kind == "tag" else type(expires_at) in (int, float))
        and isinstance(members.get("holder"), str)
        and len(members) == 8
    )
    if not sound or not isinstance(pins, dict):
        raise ManifestError(path, [Problem("", "wrong_type", repr(members)[:80], "see docs/format.md")])
    return Mark(
        kind=kind,
        name=name,
        pins={a: {p: tuple(numbers) for p, numbers in pinned.items()} for a, pinned in pins.items()},
        written_at=members["written_at"],
        expires_at=expires_at,
        holder=members["holder"],
    )


def doomed(storage: Storage, dataset: str, mark: Mark, now: float) -> str | None:
    """Say what a live intent dooms of what the mark holds, or None."""
    for intent in read_all(storage, dataset, "intent"):
        if intent.expires_at is not None and intent.expires_at > now:
            for asset, pinned in mark.pins.items():
                for partition, numbers in pinned.items():
                    for number in numbers:
                        if intent.holds(asset, partition, number):
                            return f"{asset}[{partition}] version {number}"
    return None
