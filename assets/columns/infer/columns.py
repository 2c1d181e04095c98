"""Which column suits what was seen at a path."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from assets.columns.infer.profile import Profile, Seen

DOMINANT = 0.95
"""Share of one type from which on the others are treated as defects."""
FEW_VALUES = 32
REPEATED = 3
"""Rows for each different value, on average, from which on values are said to repeat."""
NUMERIC = ("int", "double")


@dataclass(slots=True)
class Suggestion:
    """A column, why it is suggested, and whether it is only a comment in the file.

    `note` is set above it; a suggestion that is commented out needs a decision that a sample cannot make.
    """

    path: str
    column: dict[str, Any] | None
    note: str
    commented: bool = False
    name: str = field(default="")


def suggestions_of(profile: Profile) -> list[Suggestion]:
    """Suggest a column for every path that holds values, in the order in which paths were met."""
    found = []
    for path, seen in profile.paths.items():
        one = _suggest(path, seen, profile)
        if one is not None:
            found.append(one)
    taken: set[str] = set()
    for one in found:
        one.name = column_name(one.path, taken)
    return found


def column_name(path: str, taken: set[str]) -> str:
    """Make a column's name of a path: lower-case letters, digits, single underscores, unlike those taken."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", path.replace("*", ""))
    base = re.sub(r"[^a-z0-9]+", "_", words.lower()).strip("_") or "column"
    base = base if base[0].isalpha() else f"c_{base}"
    name, number = base[:60].rstrip("_"), 2
    while name in taken:
        name, number = f"{base[:56].rstrip('_')}_{number}", number + 1
    taken.add(name)
    return name


def describe(seen: Seen, num_documents: int, *, spread: bool = False) -> str:
    """Say what a path holds: types with shares, absence, distinct values, range or lengths.

    The values of a path with `*` (`spread`) are no matter of documents, so nothing is said to be absent.
    """
    total = sum(seen.types.values())
    kinds = ", ".join(f"{kind} {_percent(count, total)}" for kind, count in seen.types.most_common(4))
    parts = [kinds]
    if total < num_documents and not spread:
        parts.append(f"absent {_percent(num_documents - total, num_documents)}")
    if seen.distinct:
        parts.append(f"{'over ' if seen.many else ''}{len(seen.distinct) - seen.many} different")
        if 1 < len(seen.distinct) <= FEW_VALUES < total and set(seen.types) & {"string", "int"}:
            top = sorted(seen.distinct.items(), key=lambda pair: (-pair[1], str(pair[0])))[:3]
            parts.append("most often " + ", ".join(f"{_cut(v)} {_percent(n, total)}" for (_, v), n in top))
    if seen.nan:
        parts.append(f"NaN {_percent(seen.nan, total)}")
    if seen.low is not None and seen.low != seen.high:
        parts.append(f"{_short(seen.low)} to {_short(seen.high)}")
    if seen.lengths:
        low, high = min(seen.lengths), max(seen.lengths)
        parts.append(f"length {low}" if low == high else f"length {low} to {high}")
    return "; ".join(parts)


def _percent(part: int, whole: int) -> str:
    share = 100 * part / max(whole, 1)
    return "100 %" if part == whole else f"{share:.1f} %" if 0.1 <= share <= 99.9 else f"{share:.2g} %"


def _cut(value: Any) -> str:
    text = json.dumps(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 24 else f"{text[:23]}…"


def _short(value: Any) -> str:
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d")
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def _suggest(path: str, seen: Seen, profile: Profile) -> Suggestion | None:
    types = {kind: count for kind, count in seen.types.items() if kind != "null"}
    total = sum(types.values())
    note = describe(seen, profile.num_documents, spread="*" in path.split("."))
    if path == "_id":
        return None
    if not total:
        return Suggestion(path, None, f"{note}; never a value", commented=True)
    written = (
        bool(seen.numeric) and seen.numeric == types.get("string") and set(types) <= {*NUMERIC, "string"}
    )
    if set(types) <= set(NUMERIC) or written:
        kind, share = "number", 1.0
    else:
        kind, count = max(types.items(), key=lambda pair: pair[1])
        share = count / total
    if kind == "object":
        return None if share == 1.0 else Suggestion(path, None, f"{note}; mixed with dicts", commented=True)
    column = _column(kind if kind not in NUMERIC else "number", seen, total)
    if column is None:
        if kind == "array" and seen.elements is not None and "object" in seen.elements.types:
            return None  # its members are paths of their own
        return Suggestion(path, None, f"{note}; no column takes this", commented=True)
    if "*" in path.split("."):
        column = _spread(column)
        if column is None:
            return Suggestion(path, None, f"{note}; inside a list of dicts", commented=True)
        missing = True
    else:
        missing = total < profile.num_documents
    if missing or seen.nan:
        nan = column["kind"] in ("number", "vector") and column["dtype"].startswith("float")
        column["missing"] = "nan" if nan else "mask"
    if written:
        column = {**column, "coerce": True} if column["kind"] == "number" else column
        note += "; strings hold numbers (of codes with leading zeros, text or category keeps them)"
    if set(types) == {"int"} and column["kind"] == "number" and len(seen.distinct) <= FEW_VALUES < total:
        note += "; if these are classes: kind: category, type: int64"
    if column["kind"] == "text" and not seen.many and total >= REPEATED * len(seen.distinct):
        note += "; values repeat: perhaps kind: category, or splits.group"
    if len(seen.distinct) == 1 and not seen.many and share == 1.0 and total >= FEW_VALUES:
        return Suggestion(path, {"path": path, **column}, f"{note}; always the same", commented=True)
    if share < DOMINANT:
        return Suggestion(path, {"path": path, **column}, f"{note}; several types: choose", commented=True)
    if share < 1.0:
        note += "; values of other types will be rejected"
    is_picture = column["kind"] == "image"
    if is_picture:
        note += f"; looks like pictures ({', '.join(seen.pictures)})"
        if seen.picture_bytes and set(column["sources"]) == {"bytes"}:
            mean_kb = seen.picture_bytes / 1024 / sum(seen.pictures.values())
            note += f"; encoded_kb: {mean_kb:.3g}"
        column.pop("missing", None)
        column["required"] = not missing
    return Suggestion(path, {"path": path, **column}, note, commented=is_picture and "url" in seen.pictures)


def _column(kind: str, seen: Seen, total: int) -> dict[str, Any] | None:
    pictures = sum(seen.pictures.values())
    if pictures > total // 2:
        return _picture(seen)
    match kind:
        case "number":
            return {"kind": "number", "dtype": number_dtype(seen)}
        case "decimal":
            return {"kind": "number", "dtype": "float64", "coerce": True}
        case "string":
            if not seen.many and len(seen.distinct) <= FEW_VALUES and total >= 3 * len(seen.distinct):
                return {"kind": "category"}
            return {"kind": "text"}
        case "bool" | "date" | "objectId" | "uuid" | "binData":
            return {
                "bool": {"kind": "bool"},
                "date": {"kind": "datetime"},
                "objectId": {"kind": "id", "type": "objectid"},
                "uuid": {"kind": "id", "type": "uuid"},
                "binData": {"kind": "binary"},
            }[kind]
        case "vector":
            return _embedding(seen)
        case "array":
            return _list(seen)
    return None


def number_dtype(seen: Seen) -> str:
    """Choose the narrowest dtype of 32 or 64 bits that holds what was seen exactly, with room to grow."""
    low, high = seen.low, seen.high
    if seen.numeric:
        return "float64"
    if "double" not in seen.types:
        small = low is not None and low >= -(2**30) and high < 2**30
        return "int32" if small else "int64"
    whole = low is not None and max(abs(low), abs(high)) > 2**24
    return "float64" if whole or low is None else "float32"


def _picture(seen: Seen) -> dict[str, Any]:
    sources = sorted({name.split()[0] for name in seen.pictures})
    column: dict[str, Any] = {"kind": "image", "sources": sources, "size": [224, 224]}
    if "file" in sources:
        column["root"] = "/directory/of/pictures"
    if "url" in sources:
        column["urls"] = {"hosts": sorted(seen.hosts - {""}) or ["pictures.example.com"]}
    return column


def _embedding(seen: Seen) -> dict[str, Any] | None:
    if len(seen.lengths) != 1:
        return None
    return {"kind": "embedding", "length": next(iter(seen.lengths))}


def _list(seen: Seen) -> dict[str, Any] | None:
    depth, inner = 1, seen.elements
    while inner is not None and set(inner.types) == {"array"}:
        depth, inner = depth + 1, inner.elements
    if inner is None or not inner.types or depth > 8:
        return None
    kinds = set(inner.types)
    if kinds <= set(NUMERIC):
        dtype = number_dtype(inner)
        if depth == 1 and len(seen.lengths) == 1 and next(iter(seen.lengths)) > 1:
            return {"kind": "vector", "length": next(iter(seen.lengths)), "dtype": dtype}
        return {"kind": "list", "element": dtype, "depth": depth}
    if kinds == {"string"}:
        if depth == 1 and not inner.many and len(inner.distinct) <= FEW_VALUES:
            values = sorted(value for _, value in inner.distinct)
            return {"kind": "multilabel", "values": values}
        return {"kind": "list", "element": "string", "depth": depth}
    return {"kind": "list", "element": "bool", "depth": depth} if kinds == {"bool"} else None


def _spread(column: dict[str, Any]) -> dict[str, Any] | None:
    """Turn a column of one value into a list of it: a path with `*` gives all of them."""
    if column["kind"] == "number" and not column.get("coerce"):
        return {"kind": "list", "element": column["dtype"]}
    if column["kind"] in ("text", "category"):
        return {"kind": "list", "element": "string"}
    return {"kind": "list", "element": "bool"} if column["kind"] == "bool" else None
