"""Writes the suggestion: a commented `defs.yaml` that a person reads, corrects and keeps."""

from __future__ import annotations

import json
import re
from datetime import datetime, timezone
from typing import Any

from bson.objectid import ObjectId

from assets.columns.infer.columns import FEW_VALUES, REPEATED, Suggestion, suggestions_of
from assets.columns.infer.profile import Profile, Seen

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./*-]*")
_GROUP_NAME = re.compile(r"patient|subject|person|user|customer|site|device|session|group", re.IGNORECASE)
_WORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n", "~"})
_BEST_DATES = ("created", "captured", "inserted", "timestamp", "recorded", "taken", "date", "time")
DAY_SECONDS = 86_400
COMMENT_CHARACTERS = 96


def suggest(profile: Profile, *, database: str, collection: str, uri_env: str = "MONGODB_URI") -> str:
    """Write a dataset specification for a sample.

    Parameters
    ----------
    profile
        What the sample held.
    database, collection, uri_env
        Where the documents are, for `source`.

    Returns
    -------
    str
        YAML that the specification accepts, with what was seen in comments.

    Raises
    ------
    ValueError
        The sample is empty, or nothing in it can be a column.
    """
    if not profile.num_documents:
        raise ValueError(f"{database}.{collection} has no documents; check the names of both")
    suggestions = suggestions_of(profile)
    if not any(one.column is not None and not one.commented for one in suggestions):
        raise ValueError(
            f"{database}.{collection}: {profile.num_documents} documents were sampled and no field of them "
            "can be a column as it is; check the names, or write the file by hand"
        )
    lines = [
        f"# Suggested from {profile.num_documents:,} documents of {database}.{collection}: correct it.",
        "# Shares and ranges in comments are those of the sample. Columns in comments need a decision first.",
        "type: assets.MongoDataset",
        "attributes:",
        f"  description: {scalar(f'Documents of {database}.{collection}')}",
        "  source:",
        f"    uri_env: {scalar(uri_env)}",
        f"    database: {scalar(database)}",
        f"    collection: {scalar(collection)}",
        *_partitions(profile),
        "  columns:",
    ]
    for one in suggestions:
        lines += _column(one)
    if profile.left_out:
        lines.append(f"    # {profile.left_out:,} values were too deep, or had names that no path can have")
    lines += [
        "  splits:",
        "    by: hash",
        "    fractions: {train: 0.8, validation: 0.1, test: 0.1}",
        *_groups(profile),
    ]
    return "\n".join(lines) + "\n"


def _groups(profile: Profile) -> list[str]:
    """Name the fields by which rows may belong together, those called like it first."""
    found = [
        (path, seen)
        for path, seen in profile.paths.items()
        if set(seen.types) <= {"string", "int", "objectId", "null"}
        and "*" not in path
        and len(seen.distinct) > FEW_VALUES
        and not seen.many
        and seen.distinct.total() >= REPEATED * len(seen.distinct)
    ]
    found.sort(key=lambda pair: not _GROUP_NAME.search(pair[0]))
    says = "rows with one value of this field share a split (a patient, a site)"
    lines = [
        f"    # group: {scalar(path)}   # {len(seen.distinct):,} different; {says}"
        for path, seen in found[:3]
    ]
    return lines or [f"    # group: PATH             # {says}"]


def _column(one: Suggestion) -> list[str]:
    prefix = "    # " if one.commented or one.column is None else "    "
    lines = _comment(f"{one.path}: {one.note}")
    if one.column is None:
        return lines
    lines.append(f"{prefix}{scalar(one.name)}:")
    lines += [f"{prefix}  {key}: {scalar(value)}" for key, value in one.column.items()]
    return lines


def _comment(text: str) -> list[str]:
    """Write a comment above a column, on several lines where it is long."""
    lines = [""]
    for part in text.split("; "):
        if lines[-1] and len(lines[-1]) + len(part) > COMMENT_CHARACTERS:
            lines.append("")
        lines[-1] += f"; {part}" if lines[-1] else part
    return [f"    # {'' if number == 0 else '  '}{line}" for number, line in enumerate(lines)]


def _partitions(profile: Profile) -> list[str]:
    dates = [
        (path, seen)
        for path, seen in profile.paths.items()
        if set(seen.types) == {"date"}
        and seen.types["date"] >= 0.999 * profile.num_documents
        and "*" not in path
    ]
    dates.sort(
        key=lambda pair: next((i for i, word in enumerate(_BEST_DATES) if word in pair[0].lower()), 99)
    )
    lines = ["  partitions:"]
    if dates and dates[0][1].low is not None:
        path, seen = dates[0]
        others = "".join(f" (or {other})" for other, _ in dates[1:3])
        lines.append(f"    # {path} is in every sampled document{others}; index it on the server")
        return lines + _windows(path, seen.low, seen.high)
    ids = profile.paths.get("_id", Seen())
    moments = sorted(value.generation_time for kind, value in ids.distinct if isinstance(value, ObjectId))
    if set(ids.types) == {"objectId"} and len(moments) > 1 and (moments[-1] - moments[0]).days > 2:
        lines.append(
            "    # no date is in every document; the time inside the ObjectId is when it was inserted"
        )
        return lines + _windows("_id", moments[0], moments[-1])
    return [*lines, "    by: none                    # no date is in every sampled document"]


def _windows(path: str, low: datetime, high: datetime) -> list[str]:
    low = low if low.tzinfo else low.replace(tzinfo=timezone.utc)
    high = high if high.tzinfo else high.replace(tzinfo=timezone.utc)
    days = (high - low).total_seconds() / DAY_SECONDS
    every = "month" if days > 120 else "week" if days > 28 else "day" if days > 2 else "hour"
    start = low.replace(day=1) if every == "month" else low
    return [
        "    by: time",
        f"    field: {scalar(path)}",
        f"    every: {every}",
        f"    start: '{start:%Y-%m-%d}'         # earliest in the sample; there may be earlier ones",
    ]


def scalar(value: Any) -> str:
    """Write a value as YAML on one line; strings plain where that is safe."""
    if isinstance(value, str):
        is_plain = _PLAIN.fullmatch(value) and value.lower() not in _WORDS
        return value if is_plain else json.dumps(value, ensure_ascii=True)
    if isinstance(value, list):
        return "[" + ", ".join(scalar(part) for part in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{scalar(key)}: {scalar(part)}" for key, part in value.items()) + "}"
    return json.dumps(value)
