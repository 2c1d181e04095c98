"""A small coverage-guided fuzzer in pure Python.

Inputs that reach a line after a line that none reached before join the corpus. Tracing costs ten times the
work of most targets, so that after a first part only every eighth input is traced.
"""

from __future__ import annotations

import copy
import json
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

Target = Callable[[bytes], None]
ODD_NUMBERS: tuple[Any, ...] = (
    -1, 0, 1, 2, 255, 2**31, 2**32, 2**53 + 1, 2**63, 2**64, 10**19, 10**30, 0.5, -0.0, 1e308
)  # fmt: skip
ODD_VALUES: tuple[Any, ...] = (
    *ODD_NUMBERS, None, True, False, "", "..", "/", "../x", "a" * 2000, "\x00", "ä", "\U0001f600", "nan",
    [], [[]], {}, {"a": 1}, [None], "|O", ">f4", "<f4", "|V0", "npy", "arrow", "struct<>", "list<int8>",
    "fixed_size_list<int8>[0]", "fixed_size_list<int8>[2147483648]", "mongodb://u:p@h",
)  # fmt: skip
TOKENS = (
    b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"\\u0000", b"\\ud800", b"null", b"true", b"NaN",
    b"Infinity", b"-", b"1e999", b"00", b"9" * 30, b"\xff", b"\x00", b"<", b">", b"[1]", b"struct<", b"list<",
    b"\xef\xbb\xbf",
)  # fmt: skip


@dataclass
class Outcome:
    """What a run of a target did."""

    num_inputs: int = 0
    num_corpus: int = 0
    num_edges: int = 0
    seconds: float = 0.0
    failures: list[tuple[bytes, str]] = field(default_factory=list)


class _Coverage:
    """Pairs of lines, one after the other, of this project's files that a call ran through."""

    def __init__(self) -> None:
        self.edges: set[tuple[int, int, int]] = set()
        self._before = 0

    def _trace(self, frame: FrameType, event: str, argument: Any) -> Any:
        code = frame.f_code
        if "/shards/" not in code.co_filename:
            return None
        self.edges.add((hash(code), self._before, frame.f_lineno))
        self._before = frame.f_lineno
        return self._trace

    def run(self, target: Target, data: bytes) -> None:
        before = sys.gettrace()
        sys.settrace(self._trace)
        try:
            target(data)
        finally:
            sys.settrace(before)


def _mutate_bytes(data: bytes, chance: random.Random, corpus: Sequence[bytes]) -> bytes:
    made = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        place = chance.randrange(len(made) + 1)
        match chance.randrange(6):
            case 0 if made:
                made[place % len(made)] ^= 1 << chance.randrange(8)
            case 1 if made:
                made[place % len(made)] = chance.randrange(256)
            case 2:
                made[place:place] = chance.choice(TOKENS)
            case 3:
                del made[place : place + chance.randrange(1, 32)]
            case 4:
                start = chance.randrange(len(made) + 1)
                made[place:place] = made[start : start + chance.randrange(1, 64)]
            case _:
                other = chance.choice(corpus)
                start = chance.randrange(len(other) + 1)
                made[place:] = other[start:]
    return bytes(made[:65_536])


def _mutate_tree(data: bytes, chance: random.Random) -> bytes | None:
    """Replace, drop, repeat or add somewhere in a JSON document."""
    try:
        tree = json.loads(data)
    except (ValueError, RecursionError):
        return None
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        node = tree
        while isinstance(node, (dict, list)) and node:
            keys: Sequence[Any] = list(node) if isinstance(node, dict) else range(len(node))
            key = chance.choice(keys)
            if not isinstance(node[key], (dict, list)) or chance.random() < 0.3:
                _change(node, key, chance)
                break
            node = node[key]
    return json.dumps(tree, ensure_ascii=False).encode("utf-8", "replace")


def _change(node: Any, key: Any, chance: random.Random) -> None:
    match chance.randrange(5):
        case 0:
            del node[key]
        case 1 if isinstance(node, list):
            node.insert(key, copy.deepcopy(node[key]))
        case 2 if isinstance(node, dict):
            node[str(chance.choice(ODD_VALUES))] = copy.deepcopy(node[key])
        case 3 if isinstance(node[key], int):
            node[key] += chance.choice((-1, 1, 2**31, 2**63))
        case _:
            node[key] = copy.deepcopy(chance.choice(ODD_VALUES))


def fuzz(
    target: Target,
    seeds: Sequence[bytes],
    num_inputs: int,
    *,
    seed: int = 0,
    progress: Callable[[Outcome], None] | None = None,
) -> Outcome:
    """Run a target over seeds and what becomes of them.

    Parameters
    ----------
    target
        Takes bytes; whatever it raises is a failure.
    seeds
        Inputs to begin with.
    num_inputs
        How many inputs to run in all.
    """
    chance, coverage, outcome = random.Random(seed), _Coverage(), Outcome()
    first_part = min(num_inputs // 5, 20_000)
    corpus: list[bytes] = []
    began = time.monotonic()
    for position in range(num_inputs):
        if position < len(seeds):
            data = seeds[position]
        else:
            parent = chance.choice(corpus or list(seeds))
            made = _mutate_tree(parent, chance) if chance.random() < 0.5 else None
            data = made if made is not None else _mutate_bytes(parent, chance, corpus or seeds)
        known = len(coverage.edges)
        traced = position < first_part or position % 8 == 0
        try:
            if traced:
                coverage.run(target, data)
            else:
                target(data)
        except Exception as error:
            outcome.failures.append((data, repr(error)))
            if len(outcome.failures) >= 10:
                break
        if len(coverage.edges) > known:
            corpus.append(data)
        outcome.num_inputs, outcome.num_corpus = position + 1, len(corpus)
        outcome.num_edges, outcome.seconds = len(coverage.edges), time.monotonic() - began
        if progress is not None and position % 1000 == 0:
            progress(outcome)
    return outcome
