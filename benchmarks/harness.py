"""The one way in which this project measures: ours and theirs in turns, medians, ratios, goals beside them.

A benchmark is a module `benchmarks/NAME.py` that makes its own data, installs nothing and ends like this::

    def main() -> int:
        suite = Suite.from_command_line("extract", __doc__)
        num_documents = 20_000 if suite.quick else 1_000_000
        ...                                                     # make data below suite.directory
        suite.leg(
            "one collection, one process",
            unit="documents/s",
            amount=num_documents,                               # figure = amount / seconds of one call
            ours=read_ours,                                     # any callable without arguments
            limit=read_undecoded,                               # what the machine allows, or None
            peers={"PyMongoArrow": requires("pymongoarrow", read_arrow), "X": Absent("Windows only")},
            goals={"vs_best_peer": ">= 5", "vs_limit": ">= 0.75"},
        )
        return suite.finish()

    if __name__ == "__main__":
        sys.exit(main())

A callable that returns a number has measured itself (a peak of memory, a time inside a child process): that
number is the figure, in `unit`, and `amount` is not used. With `better="lower"` the best peer is the smallest
(seconds, bytes). Ratios are always ours divided by theirs, taken within one round and then the median over
rounds, so that a machine that grows slower during a run does not shift them.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import operator
import os
import platform
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Literal, TypeAlias

ROOT = Path(__file__).resolve().parents[1]
QUICK_SECONDS = 45.0  # a quick run starts no further round after this; it must end within 60
OPERATORS = {">=": operator.ge, "<=": operator.le}

Work: TypeAlias = Callable[[], float | None]


@dataclass(frozen=True, slots=True)
class Absent:
    """A peer that is not run, and why."""

    reason: str


def requires(module: str, work: Work) -> Work | Absent:
    """Give `work` when `module` can be imported, else an `Absent` that names it."""
    try:
        found = importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # the parent of a dotted name
        found = False
    return work if found else Absent(f"{module} is not installed")


@dataclass(slots=True)
class Figure:
    """What one leg measured; peers come best first."""

    leg: str
    unit: str
    ours: float
    limit: float | None
    peers: dict[str, float | None]
    vs_best_peer: float | None
    vs_limit: float | None
    goal: str
    met: bool | None

    def as_json(self) -> dict[str, Any]:
        """Give the members of the JSON form; figures rounded to four digits."""
        names = ("leg", "unit", "ours", "limit", "peers", "vs_best_peer", "vs_limit", "goal", "met")
        return {name: _rounded(getattr(self, name)) for name in names}


@dataclass
class Suite:
    """One run of one benchmark.

    Parameters
    ----------
    name
        Module name, as in `python -m benchmarks.NAME`.
    quick
        Small data and few rounds: the whole run ends within 60 s.
    json_path
        Where the figures are written as JSON, when given.
    rounds
        How often each participant is measured; 3 when quick, else 5.
    """

    name: str
    quick: bool = False
    json_path: Path | None = None
    rounds: int = 0
    figures: list[Figure] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    _absent: dict[str, str] = field(default_factory=dict)
    _began: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.rounds = self.rounds or (3 if self.quick else 5)

    @classmethod
    def from_command_line(cls, name: str, doc: str | None, arguments: list[str] | None = None) -> Suite:
        """Read `[--quick] [--json FILE] [--rounds N]`."""
        parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=doc)
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        parser.add_argument("--quick", action="store_true", help="small data; ends within 60 s")
        parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
        parser.add_argument("--rounds", type=int, default=0, metavar="N", help="runs of each participant")
        chosen = parser.parse_args(arguments)
        return cls(name, chosen.quick, chosen.json, chosen.rounds)

    @property
    def directory(self) -> Path:
        """Where this benchmark keeps its data, made when missing: `bench-data/NAME` in the repository."""
        made = ROOT / "bench-data" / self.name
        made.mkdir(parents=True, exist_ok=True)
        return made

    def skip(self, leg: str, reason: str) -> None:
        """Say that a leg was not run here, and why."""
        self.skipped[leg] = reason
        _say(f"{self.name}: {leg}: skipped: {reason}")

    def leg(
        self,
        leg: str,
        *,
        unit: str,
        ours: Work,
        amount: float | None = None,
        limit: Work | None = None,
        peers: Mapping[str, Work | Absent] | None = None,
        goals: Mapping[Literal["vs_best_peer", "vs_limit", "ours"], str] | None = None,
        better: Literal["higher", "lower"] = "higher",
        rounds: int | None = None,
        warm_up: bool = True,
    ) -> Figure:
        """Measure one comparison; see the module's docstring.

        Parameters
        ----------
        goals
            Comparisons such as `{"vs_best_peer": ">= 5"}` or `{"ours": "<= 0.05"}`; a goal whose ratio could
            not be measured (no peer is installed) leaves `met` undecided.
        rounds, warm_up
            Measured rounds of this leg, and whether each participant first runs once unmeasured.
        """
        runs: dict[str, Work] = {"ours": ours}
        if limit is not None:
            runs["limit"] = limit
        for name, peer in (peers or {}).items():
            if isinstance(peer, Absent):
                self._absent[name] = peer.reason
            else:
                runs[f"peer {name}"] = peer
        values = self._measure(leg, runs, amount, rounds or self.rounds, warm_up)
        named = {name: values.get(f"peer {name}") for name in peers or {}}
        peer_medians = {name: statistics.median(got) if got else None for name, got in named.items()}
        present = {name: value for name, value in peer_medians.items() if value is not None}
        ranked = sorted(present, key=lambda name: present[name], reverse=better == "higher")
        best = ranked[0] if ranked else None
        ratios = {
            "vs_best_peer": _ratio(values["ours"], values[f"peer {best}"] if best else None),
            "vs_limit": _ratio(values["ours"], values.get("limit")),
        }
        median = statistics.median(values["ours"])
        figure = Figure(
            leg=leg,
            unit=unit,
            ours=median,
            limit=statistics.median(values["limit"]) if "limit" in values else None,
            peers={name: peer_medians[name] for name in dict.fromkeys([*ranked, *peer_medians])},
            **ratios,
            goal=", ".join(f"{what} {bound}" for what, bound in (goals or {}).items()),
            met=_all_met({**ratios, "ours": median}, goals or {}),
        )
        self.figures.append(figure)
        return figure

    def finish(self) -> int:
        """Print the table and write the JSON; the exit status is 0 once everything has run."""
        print(table(self.figures))
        for name, reason in sorted(self._absent.items()):
            print(f"absent: {name}: {reason}")
        for leg, reason in self.skipped.items():
            print(f"skipped: {leg}: {reason}")
        if self.json_path is not None:
            self.json_path.parent.mkdir(parents=True, exist_ok=True)
            self.json_path.write_text(json.dumps(self.as_json(), indent=2) + "\n")
        return 0

    def as_json(self) -> dict[str, Any]:
        """Give name, day, machine, figures, and what was skipped."""
        figures = [figure.as_json() for figure in self.figures]
        told = {"name": self.name, "day": date.today().isoformat(), "machine": machine()}
        return told | {"figures": figures, "skipped": self.skipped}

    def _measure(
        self, leg: str, runs: dict[str, Work], amount: float | None, rounds: int, warm_up: bool
    ) -> dict[str, list[float]]:
        values: dict[str, list[float]] = {name: [] for name in runs}
        order = list(runs)
        for number in range(-1 if warm_up else 0, rounds):
            late = self.quick and time.monotonic() - self._began > QUICK_SECONDS
            if late and all(values.values()):
                break
            _say(f"{self.name}: {leg}: {f'round {number + 1} of {rounds}' if number >= 0 else 'warm-up'}")
            shift = max(number, 0) % len(order)
            for name in [*order[shift:], *order[:shift]]:
                if name not in runs:
                    continue
                try:
                    value = _timed(runs[name], amount)
                except Exception as error:
                    if not name.startswith("peer "):
                        raise
                    # Another project's code may fail in any way; it is named, and the others still count.
                    self._absent[name[5:]] = f"failed: {type(error).__name__}: {error}"
                    del runs[name], values[name]
                    continue
                if number >= 0:
                    values[name].append(value)
        return values


HEAD = ("leg", "unit", "ours", "peers", "limit", "vs best peer", "vs limit", "goal", "met")


def table(figures: list[Figure]) -> str:
    """Give the figures as a Markdown table."""
    return lay_out([row_of(figure) for figure in figures])


def row_of(figure: Figure, most_peers: int | None = None) -> list[str]:
    """Give the cells of a figure's row, with the best of the peers."""
    present = [(name, value) for name, value in figure.peers.items() if value is not None]
    others = ", ".join(f"{name} {_number(value)}" for name, value in present[:most_peers])
    met = {True: "yes", False: "NO", None: ""}[figure.met]
    ratios = [_number(figure.vs_best_peer), _number(figure.vs_limit)]
    row = [figure.leg, figure.unit, _number(figure.ours), others, _number(figure.limit)]
    return [*row, *ratios, figure.goal, met]


def lay_out(rows: list[list[str]]) -> str:
    """Give rows of cells as a Markdown table."""
    rows = [list(HEAD), *rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    lines.insert(1, "| " + " | ".join("-" * width for width in widths) + " |")
    return "\n".join(lines)


def machine() -> dict[str, Any]:
    """Describe where the figures were taken: processor, cores, memory, system, versions."""
    model = platform.processor() or platform.machine()
    described = Path("/proc/cpuinfo")
    if described.exists():
        named = re.search(r"^model name\s*:\s*(.+)$", described.read_text(), re.MULTILINE)
        model = named[1] if named else model
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": model,
        "num_cores": os.cpu_count(),
        "memory_gib": round(memory_bytes / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def evict(paths: Iterable[Path]) -> None:
    """Take files out of the page cache."""
    for path in paths:
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


def warm(paths: Iterable[Path]) -> None:
    """Bring files into the page cache, each in order: so it holds them in pages as large as it has."""
    buffer = bytearray(16 << 20)
    for path in sorted(paths):
        if path.is_file():
            with path.open("rb", buffering=0) as file:
                while file.readinto(buffer):
                    pass


def _timed(work: Work, amount: float | None) -> float:
    start = time.perf_counter()
    measured = work()
    seconds = time.perf_counter() - start
    if measured is not None:
        return float(measured)
    return seconds if amount is None else amount / seconds


def _ratio(ours: list[float], theirs: list[float] | None) -> float | None:
    if not theirs:
        return None
    pairs = [mine / other for mine, other in zip(ours, theirs, strict=False) if other]
    return statistics.median(pairs) if pairs else None


def _all_met(measured: Mapping[str, float | None], goals: Mapping[Any, str]) -> bool | None:
    met: list[bool] = []
    for what, bound in goals.items():
        sign, number = bound.split()
        value = measured[what]
        if value is None:
            return None
        met.append(bool(OPERATORS[sign](value, float(number))))
    return all(met) if met else None


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.3g}"


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {name: _rounded(member) for name, member in value.items()}
    return value


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
