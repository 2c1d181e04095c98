"""Tags: names of snapshots that keep them from being collected."""

from __future__ import annotations

import time

from shards import marks, names
from shards.catalog import Catalog
from shards.commit import Directories
from shards.errors import InvalidArgument, LeaseLost, NotFound
from shards.marks import Mark


def check_tag(name: str) -> str:
    """Return `name`, or raise InvalidArgument saying what a tag may be called."""
    if not names.TAG.fullmatch(name):
        raise InvalidArgument(
            f"tag {name!r}: allowed are a lower-case letter, then letters, digits, . _ -; at most 64"
        )
    return name


def set_tag(
    catalog: Catalog, directories: Directories, dataset: str, name: str, number: int, *, move: bool
) -> None:
    """Name a snapshot; InvalidArgument when the name is taken and `move` is false."""
    check_tag(name)
    catalog.manifest(dataset, names.SNAPSHOT, "all", number)
    directories.ensure(marks.directory(dataset, "tag"))
    mark = Mark("tag", name, {names.SNAPSHOT: {"all": (number,)}}, time.time(), None, "")
    try:
        marks.write(catalog.storage, dataset, mark, exclusive=not move)
    except FileExistsError:
        taken = number_of(catalog, dataset, name)
        if taken == number:
            return
        raise InvalidArgument(f"tag {name}: names snapshot {taken} already; move it explicitly") from None
    lost = marks.doomed(catalog.storage, dataset, mark, time.time())
    try:
        if lost is not None:
            raise LeaseLost(f"{dataset}: {lost} is being collected; tag a later snapshot")
        catalog.manifest(dataset, names.SNAPSHOT, "all", number)
    except (LeaseLost, NotFound):
        remove_tag(catalog, dataset, name)
        raise


def number_of(catalog: Catalog, dataset: str, name: str) -> int:
    """Snapshot that a tag names; NotFound when there is no such tag."""
    names.check_name(dataset, "dataset")
    check_tag(name)
    try:
        mark = marks.read(catalog.storage, dataset, "tag", name)
        return mark.pins[names.SNAPSHOT]["all"][0]
    except (NotFound, LookupError):
        known = ", ".join(all_tags(catalog, dataset)) or "none"
        raise NotFound(f"{dataset}: no tag {name!r}; there are {known}") from None


def remove_tag(catalog: Catalog, dataset: str, name: str) -> None:
    """Remove a tag; no error when there is none."""
    marks.remove(catalog.storage, names.check_name(dataset, "dataset"), "tag", check_tag(name))


def all_tags(catalog: Catalog, dataset: str) -> dict[str, int]:
    """Snapshot number by tag, sorted by tag."""
    names.check_name(dataset, "dataset")
    found = marks.read_all(catalog.storage, dataset, "tag")
    return {mark.name: mark.pins[names.SNAPSHOT]["all"][0] for mark in found}
