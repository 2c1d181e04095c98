"""What commands print: tables for people, one JSON document for programs, bars on a terminal."""

from __future__ import annotations

import json
import math
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_CELL_CHARACTERS = 60


def print_json(value: Any) -> None:
    """One JSON document on standard output; bytes as hexadecimal digits, NaN and infinities as text."""
    json.dump(_plain(value), sys.stdout, indent=2, ensure_ascii=False, allow_nan=False)
    sys.stdout.write("\n")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(child) for name, child in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(child) for child in value]
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    return spell(value)


def spell(value: object) -> str:
    """Text of a value; bytes as hexadecimal digits."""
    return value.hex() if isinstance(value, bytes) else str(value)


def leaves(value: Any, prefix: str = "") -> dict[str, Any]:
    """Values of nested objects by their path, names joined by dots."""
    if isinstance(value, Mapping):
        found: dict[str, Any] = {}
        for name, child in value.items():
            found |= leaves(child, f"{prefix}.{name}" if prefix else str(name))
        return found
    return {prefix: value}


def _cell(value: object) -> str:
    if isinstance(value, (Mapping, list, tuple)):
        value = json.dumps(_plain(value), ensure_ascii=False)
    text = " ".join(spell(value).split())
    return text if len(text) <= _CELL_CHARACTERS else text[: _CELL_CHARACTERS - 1] + "…"


def print_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Rows in columns as wide as their widest cell; long values are cut."""
    for line in _aligned([header, *rows]):
        print(line)


def _aligned(rows: Sequence[Sequence[object]]) -> list[str]:
    cells = [[_cell(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]


def print_records(rows: Sequence[Mapping[str, object]]) -> None:
    """Rows as a table where that is no wider than the terminal, else one below the other."""
    if not rows:
        print("no rows")
        return
    lines = _aligned([list(rows[0]), *(list(row.values()) for row in rows)])
    if max(map(len, lines)) <= shutil.get_terminal_size().columns:
        print("\n".join(lines))
        return
    for position, row in enumerate(rows):
        print("\n" * bool(position) + "\n".join(_aligned(list(row.items()))))


def spell_bytes(size: float) -> str:
    """Bytes with a unit."""
    for unit in _UNITS:
        if size < 1024 or unit == _UNITS[-1]:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    raise AssertionError


def spell_rows(count: float) -> str:
    """Count of rows."""
    return f"{count:,.0f} rows"


class Bar:
    """A bar on standard error, when that is a terminal; safe to call from any thread that calls in turn."""

    def __init__(self, what: str, spell_total: Callable[[float], str]) -> None:
        self._what, self._spell_total = what, spell_total
        self._shown = sys.stderr.isatty()
        self._last = 0.0

    def __call__(self, done: int, total: int) -> None:
        """Show how far it is."""
        now = time.monotonic()
        if self._shown and (now - self._last > 0.1 or done >= total):
            self._last = now
            share = done / total if total else 1.0
            marks = "#" * int(share * 30)
            end = "\n" if done >= total else ""
            sys.stderr.write(f"\r{self._what} [{marks:<30}] {share:4.0%} of {self._spell_total(total)}{end}")
            sys.stderr.flush()
