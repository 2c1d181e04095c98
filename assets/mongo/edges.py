"""Finding a name, or an array index, among the edges below a node; compiled."""

from __future__ import annotations

from assets.mongo import layout
from assets.mongo.memory import inline, inner, load8, load64, store64


@inline
def same_name(edge: int, word: int, length: int, address: int) -> bool:
    """Whether an edge has the name at an address, whose first eight bytes are `word`."""
    if load64(edge + layout.EDGE_WORD) != word or load64(edge + layout.EDGE_LENGTH) != length:
        return False
    name = load64(edge + layout.EDGE_NAME)
    for index in range(8, length):
        if load8(name + index) != load8(address + index):
            return False
    return True


@inline
def find_edge(node: int, previous: int, word: int, length: int, address: int) -> int:
    """Edge of a name below a node, 0 for none; what followed `previous` last time is tried first."""
    edge = load64(previous + layout.EDGE_FOLLOWED)
    if same_name(edge, word, length, address):
        return edge
    mask = load64(node + layout.NODE_MASK)
    table = load64(node + layout.NODE_TABLE)
    slot = hash_name(word, length) & mask
    while True:
        edge = load64(table + 8 * slot)
        if edge == 0:
            return 0
        if same_name(edge, word, length, address):
            store64(previous + layout.EDGE_FOLLOWED, edge)
            return edge
        slot = (slot + 1) & mask


@inline
def hash_name(word: int, length: int) -> int:
    """Hash of a name; `plan.name_hash` is the same in Python."""
    mixed = (word ^ length) * 0x1E3779B97F4A7C15
    return (mixed ^ (mixed >> 29)) & 0x7FFFFFFF


@inner
def index_edge(node: int, index: int) -> int:
    """Edge of an array index below a node, 0 for none."""
    edge = load64(node + layout.NODE_EDGES)
    for _ in range(load64(node + layout.NODE_NUM_EDGES)):
        if load64(edge + layout.EDGE_INDEX) == index:
            return edge
        edge += layout.EDGE_BYTES
    return 0
