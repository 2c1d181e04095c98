"""Compile fields into the tables that the walker runs on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from assets.mongo import layout
from assets.mongo.errors import FieldError
from assets.mongo.fields import AnyOf, Field, FieldType, ListOf, Struct

KINDS = {
    "int64": layout.INT64,
    "uint64": layout.UINT64,
    "float64": layout.FLOAT64,
    "bool": layout.BOOL,
    "timestamp": layout.TIMESTAMP,
    "string": layout.STRING,
    "binary": layout.BINARY,
    "objectid": layout.OBJECTID,
    "uuid": layout.UUID,
    "decimal128": layout.DECIMAL128,
    "raw": layout.RAW,
}
WIDTHS = {
    layout.INT64: 8,
    layout.UINT64: 8,
    layout.FLOAT64: 8,
    layout.BOOL: 1,
    layout.TIMESTAMP: 8,
    layout.OBJECTID: 12,
    layout.UUID: 16,
    layout.DECIMAL128: 16,
}
VARIABLE = (layout.STRING, layout.BINARY, layout.RAW)
MAX_FIELDS = 4096
INT64_MAX = (1 << 63) - 1
INT64_MIN = -(1 << 63)


@dataclass(slots=True)
class Node:
    """A place in the documents; `path` is for people."""

    path: str
    edges: dict[str, Node] = field(default_factory=dict)
    targets: list[Target] = field(default_factory=list)


@dataclass(slots=True)
class Target:
    """One Arrow array: what becomes of the values at a path."""

    kind: int
    path: str
    type: FieldType
    name: str
    nullable: bool
    coerce: bool
    minimum: float | None
    maximum: float | None
    fixed: int = -1
    inner: Scope | None = None
    keep_null: bool = False


@dataclass(slots=True)
class Scope:
    """Targets that get one entry each, together, from one place."""

    root: Node
    targets: list[Target] = field(default_factory=list)


def build_scope(fields: Sequence[Field], path: str = "") -> Scope:
    """Arrange fields as a tree of paths.

    Raises
    ------
    FieldError
        When names repeat, a path is malformed, or a `*` has no list to fill.
    """
    scope = Scope(Node(path))
    names: set[str] = set()
    for one in fields:
        if one.name in names:
            raise FieldError(f"two fields are named {one.name!r}; names are unique among siblings")
        names.add(one.name)
        _place(scope, one, one.path.split("."), one.type, one.path, not one.required)
    return scope


def _place(
    scope: Scope, one: Field, segments: Sequence[str], type_: FieldType, path: str, nullable: bool
) -> None:
    if any(not segment or "\0" in segment for segment in segments):
        raise FieldError(f"field {one.name!r}: path {path!r} has an empty or impossible segment")
    node = scope.root
    for segment in segments:
        if segment == "*":
            break
        full = f"{node.path}.{segment}" if node.path else segment
        node = node.edges.setdefault(segment, Node(full))
    else:
        target = _target(one, type_, node.path, nullable)
        node.targets.append(target)
        scope.targets.append(target)
        return
    if not isinstance(type_, ListOf):
        raise FieldError(f"field {one.name!r}: path {path!r} has more `*` than its type has lists")
    rest = segments[segments.index("*") + 1 :]
    inner = Scope(Node(f"{node.path}.*"))
    _element(inner, one, rest, type_.element, path)
    target = Target(
        layout.LIST,
        node.path,
        type_,
        one.name,
        nullable,
        False,
        None,
        None,
        fixed=-1 if type_.length is None else type_.length,
        inner=inner,
    )
    node.targets.append(target)
    scope.targets.append(target)


def _element(scope: Scope, one: Field, rest: Sequence[str], type_: FieldType, path: str) -> None:
    if rest:
        _place(scope, one, rest, type_, path, nullable=False)
        return
    target = _target(one, type_, scope.root.path, nullable=False)
    target.keep_null = target.kind == layout.RAW
    scope.root.targets.append(target)
    scope.targets.append(target)


def _target(one: Field, type_: FieldType, path: str, nullable: bool) -> Target:
    bounds = (one.minimum, one.maximum)
    if isinstance(type_, ListOf):
        if type_.length is not None and type_.length < 0:
            raise FieldError(f"field {one.name!r}: a list cannot have {type_.length} elements")
        inner = Scope(Node(f"{path}.*"))
        _element(inner, one, (), type_.element, path)
        fixed = -1 if type_.length is None else type_.length
        return Target(
            layout.LIST, path, type_, one.name, nullable, False, None, None, fixed=fixed, inner=inner
        )
    if isinstance(type_, Struct):
        if not type_.members:
            raise FieldError(f"field {one.name!r}: a struct needs at least one member")
        inner = build_scope(type_.members, path)
        return Target(layout.STRUCT, path, type_, one.name, nullable, False, None, None, inner=inner)
    if isinstance(type_, AnyOf):
        inner = Scope(Node(path))
        for alternative in type_.alternatives:
            inner.targets.append(
                Target(KINDS[alternative], path, alternative, alternative, True, False, *bounds)
            )
        return Target(layout.ANY_OF, path, type_, one.name, nullable, False, None, None, inner=inner)
    if type_ not in KINDS:
        raise FieldError(f"field {one.name!r}: unknown type {type_!r}; allowed: {', '.join(KINDS)}")
    return Target(KINDS[type_], path, type_, one.name, nullable, one.coerce, *bounds, keep_null=one.keep_null)


def scopes_of(root: Scope) -> Iterator[tuple[Scope, Target | None]]:
    """Every scope with the target that owns it, owners first."""
    pending: list[tuple[Scope, Target | None]] = [(root, None)]
    for scope, owner in pending:
        yield scope, owner
        pending.extend((target.inner, target) for target in scope.targets if target.inner is not None)


def name_hash(word: int, length: int) -> int:
    """Hash of a name; `walker.hash_name` is the same, compiled."""
    mixed = ((word ^ length) * 0x1E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
    signed = mixed - (1 << 64) if mixed >> 63 else mixed
    return (signed ^ (signed >> 29)) & 0x7FFFFFFF


def bounds_of(target: Target) -> tuple[int, int, int]:
    """BSON type that is stored as it is (-1 for none), and the bounds as 64 bits that the walker compares."""
    low, high = target.minimum, target.maximum
    free = low is None and high is None
    if target.kind == layout.FLOAT64:
        pair = [-math.inf if low is None else _above(low), math.inf if high is None else _below(high)]
        bits = np.array(pair, dtype="<f8").view("<i8")
        return (layout.T_DOUBLE if free else -1), int(bits[0]), int(bits[1])
    if target.kind in (layout.INT64, layout.UINT64):
        lowest = INT64_MIN if low is None or low == -math.inf else math.ceil(low)
        highest = INT64_MAX if high is None or high == math.inf else math.floor(high)
        if target.kind == layout.UINT64:
            free, lowest = False, max(lowest, 0)
        return (
            (layout.T_INT64 if free else -1),
            max(lowest, INT64_MIN),
            min(highest, INT64_MAX),
        )
    return (layout.T_DATE if target.kind == layout.TIMESTAMP else -1), 0, 0


def _above(bound: float) -> float:
    """Smallest double that is not below an integer or float bound."""
    real = float(bound)
    return math.nextafter(real, math.inf) if real < bound else real


def _below(bound: float) -> float:
    real = float(bound)
    return math.nextafter(real, -math.inf) if real > bound else real
