"""The plan of a walker as flat records in memory: one block of 64-bit integers and one of names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from assets.mongo import layout
from assets.mongo.errors import FieldError
from assets.mongo.fields import Field
from assets.mongo.plan import (
    MAX_FIELDS,
    VARIABLE,
    WIDTHS,
    Node,
    Scope,
    Target,
    bounds_of,
    build_scope,
    name_hash,
    scopes_of,
)

SIZES = {
    layout.T_DOUBLE: 8,
    layout.T_STRING: layout.SIZE_TEXT,
    layout.T_DOCUMENT: layout.SIZE_CONTAINER,
    layout.T_ARRAY: layout.SIZE_CONTAINER,
    layout.T_BINARY: layout.SIZE_BINARY,
    layout.T_UNDEFINED: 0,
    layout.T_OBJECTID: 12,
    layout.T_BOOL: layout.SIZE_BOOL,
    layout.T_DATE: 8,
    layout.T_NULL: 0,
    layout.T_REGEX: layout.SIZE_REGEX,
    layout.T_DBPOINTER: layout.SIZE_DBPOINTER,
    layout.T_CODE: layout.SIZE_TEXT,
    layout.T_SYMBOL: layout.SIZE_TEXT,
    layout.T_CODE_WITH_SCOPE: layout.SIZE_SCOPE,
    layout.T_INT32: 4,
    layout.T_TIMESTAMP: 8,
    layout.T_INT64: 8,
    layout.T_DECIMAL128: 16,
    layout.T_MAXKEY: 0,
    layout.T_MINKEY: 0,
}
ACCEPTS = {
    layout.INT64: 1 << layout.T_INT32 | 1 << layout.T_INT64,
    layout.UINT64: 1 << layout.T_INT32 | 1 << layout.T_INT64,
    layout.FLOAT64: 1 << layout.T_DOUBLE | 1 << layout.T_INT32 | 1 << layout.T_INT64,
    layout.BOOL: 1 << layout.T_BOOL,
    layout.TIMESTAMP: 1 << layout.T_DATE,
    layout.STRING: 1 << layout.T_STRING,
    layout.BINARY: 1 << layout.T_BINARY,
    layout.OBJECTID: 1 << layout.T_OBJECTID,
    layout.UUID: 1 << layout.T_BINARY,
    layout.DECIMAL128: 1 << layout.T_DECIMAL128,
}
MAX_REJECTS = 1024
MAX_WANTED = 1024


class Tables:
    """Records of one walker; keeps every buffer alive that an address in them points to.

    Parameters
    ----------
    fields
        What to take from every document.
    """

    def __init__(self, fields: Sequence[Field]) -> None:
        self.root = build_scope(fields)
        self._scopes = list(scopes_of(self.root))
        self.targets = [target for scope, _ in self._scopes for target in scope.targets]
        if len(self.targets) > MAX_FIELDS:
            raise FieldError(f"{len(self.targets)} fields and members; at most {MAX_FIELDS} are read at once")
        self._scope_of = {id(node): scope for scope, _ in self._scopes for node in _nodes(scope.root)}
        self.nodes = [node for scope, _ in self._scopes for node in _nodes(scope.root)]
        names = b"".join(key.encode() + b"\0" * 8 for node in self.nodes for key in node.edges)
        self._names = np.frombuffer(names + b"\0", np.uint8)
        self._lay_out()
        self._fill()

    def _lay_out(self) -> None:
        """Give every record its address; the block never moves afterwards."""
        position = layout.STATE_BYTES
        places: dict[int, int] = {}
        self._edge_places: dict[int, int] = {}
        self._hash_places: dict[int, tuple[int, int]] = {}
        self._places: dict[str, int] = {}
        self._null_places: dict[int, int] = {}
        for scope, _ in self._scopes:
            places[id(scope)] = position
            position += layout.SCOPE_BYTES
        for target in self.targets:
            places[id(target)] = position
            position += layout.TARGET_BYTES
        for node in self.nodes:
            places[id(node)] = position
            position += layout.NODE_BYTES
            self._edge_places[id(node)] = position
            position += layout.EDGE_BYTES * len(node.edges)
            size = 2 << len(node.edges).bit_length()
            self._hash_places[id(node)] = (position, size)
            position += 8 * size
        for name, size in (
            ("ends", 8 * layout.MAX_DEPTH),
            ("indexes", 8 * layout.MAX_INDEXES),
            ("rejects", layout.REJECT_BYTES * MAX_REJECTS),
            ("wanted", layout.WANTED_BYTES * MAX_WANTED),
            ("frames", layout.FRAME_BYTES * layout.MAX_FRAMES),
            ("sizes", 8 * 256),
        ):
            self._places[name] = position
            position += size
        for target in self.targets:
            self._null_places[id(target)] = position
            position += 16 * len(_null_entries(target))
        self._words: npt.NDArray[np.int64] = np.zeros(position // 8, np.int64)
        self.base = int(self._words.ctypes.data)
        self.address = {key: self.base + place for key, place in places.items()}
        self.target_at = {self.address[id(target)]: target for target in self.targets}
        self.node_at = {self.address[id(node)]: node for node in self.nodes}
        self.field_of: dict[int, str] = {}
        for scope, owner in self._scopes:
            for target in scope.targets:
                self.field_of[id(target)] = target.name if owner is None else self.field_of[id(owner)]

    def get(self, address: int) -> int:
        """Read a member of a record."""
        return int(self._words[(address - self.base) >> 3])

    def put(self, address: int, value: int) -> None:
        """Write a member of a record."""
        self._words[(address - self.base) >> 3] = value

    def words(self, address: int, num_words: int) -> npt.NDArray[np.int64]:
        """Several members at once, as a view."""
        first = (address - self.base) >> 3
        return self._words[first : first + num_words]

    def _fill(self) -> None:
        for scope, owner in self._scopes:
            self._fill_scope(scope, owner)
        for node in self.nodes:
            self._fill_node(node)
        self._fill_edges()
        state = self.base
        first = self.address[id(self._scopes[0][0])]
        for offset, value in (
            (layout.STATE_ROOT, first),
            (layout.STATE_SCOPES, first),
            (layout.STATE_NUM_SCOPES, len(self._scopes)),
            (layout.STATE_ENDS, self.base + self._places["ends"]),
            (layout.STATE_INDEXES, self.base + self._places["indexes"]),
            (layout.STATE_REJECTS, self.base + self._places["rejects"]),
            (layout.STATE_MAX_REJECTS, MAX_REJECTS),
            (layout.STATE_WANTED, self.base + self._places["wanted"]),
            (layout.STATE_MAX_WANTED, MAX_WANTED),
            (layout.STATE_FRAMES, self.base + self._places["frames"]),
            (layout.STATE_SIZES, self.base + self._places["sizes"]),
        ):
            self.put(state + offset, value)
        self.words(self.base + self._places["sizes"], 256)[:] = [
            SIZES.get(bson_type, layout.SIZE_UNKNOWN) for bson_type in range(256)
        ]

    def _fill_scope(self, scope: Scope, owner: Target | None) -> None:
        at = self.address[id(scope)]
        root = scope.root
        self.put(at + layout.SCOPE_NODE, self.address[id(root)])
        self.put(at + layout.SCOPE_TARGETS, self.address[id(scope.targets[0])])
        self.put(at + layout.SCOPE_NUM_TARGETS, len(scope.targets))
        self.put(at + layout.SCOPE_PARENT, 0 if owner is None else self.address[id(owner)])
        if _is_leaf(root):
            self.put(at + layout.SCOPE_LEAF, self.address[id(root.targets[0])])
        for target in scope.targets:
            here = self.address[id(target)]
            plain, low, high = bounds_of(target)
            for offset, value in (
                (layout.TARGET_KIND, target.kind),
                (layout.TARGET_SCOPE, at),
                (layout.TARGET_NULLABLE, target.nullable),
                (layout.TARGET_COERCE, target.coerce),
                (layout.TARGET_KEEP_NULL, target.keep_null),
                (layout.TARGET_PLAIN, plain),
                (layout.TARGET_LOW, low),
                (layout.TARGET_HIGH, high),
                (layout.TARGET_FIXED, target.fixed),
                (layout.TARGET_INNER, 0 if target.inner is None else self.address[id(target.inner)]),
                (layout.TARGET_WIDTH, WIDTHS.get(target.kind, 0)),
                (layout.TARGET_ACCEPTS, ACCEPTS.get(target.kind, 0)),
                (layout.TARGET_SIMPLE, ACCEPTS.get(target.kind, 0) & ~(1 << layout.T_BINARY)),
                (layout.TARGET_NULLS, self.base + self._null_places[id(target)]),
                (layout.TARGET_NUM_NULLS, len(_null_entries(target))),
            ):
                self.put(here + offset, value)
            pairs = [(self.address[id(one)], number) for one, number in _null_entries(target)]
            place = self.base + self._null_places[id(target)]
            self.words(place, 2 * len(pairs))[:] = np.array(pairs, np.int64).ravel()

    def _fill_node(self, node: Node) -> None:
        at = self.address[id(node)]
        chain = [self.address[id(target)] for target in node.targets]
        for target, following in zip(chain, [*chain, 0][1:], strict=True):
            self.put(target + layout.TARGET_NEXT, following)
        table, size = self._hash_places[id(node)]
        for offset, value in (
            (layout.NODE_TARGET, chain[0] if chain else 0),
            (layout.NODE_LEAF, _is_leaf(node)),
            (layout.NODE_EDGES, self.base + self._edge_places[id(node)]),
            (layout.NODE_NUM_EDGES, len(node.edges)),
            (layout.NODE_BY_INDEX, any(_index(key) >= 0 for key in node.edges)),
            (layout.NODE_TABLE, self.base + table),
            (layout.NODE_MASK, size - 1),
            (layout.NODE_SCOPE, self.address[id(self._scope_of[id(node)])]),
        ):
            self.put(at + offset, value)

    def _fill_edges(self) -> None:
        name_at = int(self._names.ctypes.data)
        for node in self.nodes:
            first = self.base + self._edge_places[id(node)]
            table, size = self._hash_places[id(node)]
            for number, (key, below) in enumerate(node.edges.items()):
                at = first + number * layout.EDGE_BYTES
                name = key.encode()
                word, mask = _word(name[:8])
                word_2, mask_2 = _word(name[8:16]) if len(name) >= 8 else (0, 0)
                quick = _is_leaf(below) and len(name) <= layout.MAX_QUICK_NAME
                follower = first + (number + 1) % len(node.edges) * layout.EDGE_BYTES
                for offset, value in (
                    (layout.EDGE_NODE, self.address[id(below)]),
                    (layout.EDGE_WORD, word),
                    (layout.EDGE_LENGTH, len(name)),
                    (layout.EDGE_NAME, name_at),
                    (layout.EDGE_INDEX, _index(key)),
                    (layout.EDGE_FOLLOWED, follower),
                    (layout.EDGE_MASK, mask),
                    (layout.EDGE_WORD_2, word_2),
                    (layout.EDGE_MASK_2, mask_2),
                    (layout.EDGE_SPAN, len(name) + 2),
                    (layout.EDGE_LEAF, self.address[id(below.targets[0])] if quick else 0),
                ):
                    self.put(at + offset, value)
                slot = name_hash(word & 0xFFFFFFFFFFFFFFFF, len(name)) & (size - 1)
                while self.get(self.base + table + 8 * slot):
                    slot = (slot + 1) & (size - 1)
                self.put(self.base + table + 8 * slot, at)
                name_at += len(name) + 8

    def first_target_below(self, node: Node) -> Target:
        """Some field that a node leads to, for naming what a document fails at."""
        while not node.targets:
            node = next(iter(node.edges.values()))
        return node.targets[0]


def _null_entries(target: Target, num_entries: int = 1) -> list[tuple[Target, int]]:
    """What a null entry of a target is made of: itself, and placeholders below structs and fixed lists."""
    pairs = [(target, num_entries)]
    if target.inner is not None:
        below = num_entries * max(target.fixed, 0) if target.kind == layout.LIST else num_entries
        for inner in target.inner.targets:
            pairs += _null_entries(inner, below) if below else []
    return pairs


def _nodes(root: Node) -> Iterator[Node]:
    pending = [root]
    for node in pending:
        yield node
        pending.extend(node.edges.values())


def _word(name: bytes) -> tuple[int, int]:
    """Up to eight bytes of a name as a number, and the mask of them and the zero byte behind."""
    mask = b"\xff" * min(8, len(name) + 1)
    return int.from_bytes(name.ljust(8, b"\0"), "little", signed=True), int.from_bytes(
        mask.ljust(8, b"\0"), "little", signed=True
    )


def _is_leaf(node: Node) -> bool:
    return (
        len(node.targets) == 1
        and not node.edges
        and (node.targets[0].kind in WIDTHS or node.targets[0].kind in (*VARIABLE, layout.ANY_OF))
    )


def _index(key: str) -> int:
    return int(key) if key.isascii() and key.isdigit() and (key == "0" or key[0] != "0") else -1
