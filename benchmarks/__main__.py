"""Run benchmarks, refresh their rows of the README's table: `python -m benchmarks [--quick] [NAME ...]`."""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
from typing import Any

from benchmarks.harness import ROOT, Figure, lay_out, row_of

NAMES = ("extract", "images", "records", "format", "loader", "outofcore", "remote", "refresh", "scale", "gpu")
README = ROOT / "README.md"
MOST_PEERS = 4
BEGIN, END = "<!-- benchmarks: begin -->", "<!-- benchmarks: end -->"


def main(arguments: list[str] | None = None) -> int:
    """Run benchmarks one after the other, each in a process of its own; 0 when all of them ran."""
    there = [name for name in NAMES if importlib.util.find_spec(f"benchmarks.{name}")]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(there)}; all by default")
    parser.add_argument(
        "--quick", action="store_true", help="small data, at most a minute each; README unchanged"
    )
    chosen = parser.parse_args(arguments)
    unknown = sorted(set(chosen.names) - set(there))
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}; there are: {', '.join(there)}")
    results, failed = [], []
    for name in chosen.names or there:
        target = ROOT / "bench-data" / "results" / f"{name}{'-quick' if chosen.quick else ''}.json"
        command = [sys.executable, "-m", f"benchmarks.{name}", "--json", str(target)]
        if subprocess.run(command + ["--quick"] * chosen.quick, cwd=ROOT).returncode:
            failed.append(name)
        else:
            results.append(json.loads(target.read_text()))
    if results and not chosen.quick:
        README.write_text(refreshed(README.read_text(), results))
        print(f"refreshed the rows of {', '.join(result['name'] for result in results)} in {README.name}")
    if failed:
        print(f"error: these benchmarks did not run: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def refreshed(text: str, results: list[dict[str, Any]]) -> str:
    """Give the README's text with the rows of these benchmarks between its two markers replaced.

    Raises
    ------
    ValueError
        When a marker is missing.
    """
    head, begin, rest = text.partition(BEGIN)
    old, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{README}: the markers {BEGIN} and {END} are needed, in this order")
    rows, days = _read(old)
    for result in results:
        name, machine = result["name"], result["machine"]
        figures = [Figure(**{**figure, "leg": f"{name}: {figure['leg']}"}) for figure in result["figures"]]
        rows[name] = [row_of(figure, MOST_PEERS) for figure in figures]
        days[name] = (
            f"{result['day']} on {machine['processor']}, {machine['num_cores']} cores, "
            f"{machine['memory_gib']} GiB"
        )
    names = [*(name for name in NAMES if name in rows), *(name for name in rows if name not in NAMES)]
    when = [f"- {name}: {days[name]}" for name in names if name in days]
    told = [
        f"Medians of alternating runs; a ratio is ours divided by theirs; the best {MOST_PEERS} peers.",
        lay_out([row for name in names for row in rows[name]]),
        "\n".join(["Run:", "", *when]),
    ]
    return "\n\n".join([head + begin, *told, end + tail])


def _read(old: str) -> tuple[dict[str, list[list[str]]], dict[str, str]]:
    """Read back the rows of each benchmark, and when it was run."""
    rows: dict[str, list[list[str]]] = {}
    days = {}
    for line in old.splitlines():
        if line.startswith("| ") and not line.startswith(("| leg ", "| ---")):
            cells = _cells(line)
            rows.setdefault(cells[0].partition(":")[0], []).append(cells)
        elif line.startswith("- "):
            name, _, day = line.removeprefix("- ").partition(": ")
            days[name] = day
    return rows, days


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.removeprefix("| ").removesuffix(" |").split(" | ")]


if __name__ == "__main__":
    sys.exit(main())
