"""Run every benchmark and refresh the table of the README: `python -m benchmarks [--quick] [NAME ...]`."""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
from typing import Any

from benchmarks.harness import ROOT, Figure, table

NAMES = ("extract", "images", "records", "format", "loader", "outofcore", "remote", "refresh", "scale", "gpu")
README = ROOT / "README.md"
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
    if results and not chosen.quick and not chosen.names:
        README.write_text(refreshed(README.read_text(), results))
        print(f"refreshed the table of {README.name}")
    if failed:
        print(f"error: these benchmarks did not run: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def refreshed(text: str, results: list[dict[str, Any]]) -> str:
    """Give the README's text with the figures between its two markers replaced.

    Raises
    ------
    ValueError
        When a marker is missing.
    """
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{README}: the markers {BEGIN} and {END} are needed, in this order")
    return f"{head}{BEGIN}\n\n{summary(results)}\n\n{END}{tail}"


def summary(results: list[dict[str, Any]]) -> str:
    """Lay the figures of all benchmarks out as one Markdown table."""
    figures = [
        Figure(**{**figure, "leg": f"{result['name']}: {figure['leg']}"})
        for result in results
        for figure in result["figures"]
    ]
    machine = results[0]["machine"]
    told = f"{machine['processor']}, {machine['num_cores']} cores, {machine['memory_gib']} GiB"
    return f"Medians of alternating runs on {told}; a ratio is ours divided by theirs.\n\n{table(figures)}"


if __name__ == "__main__":
    sys.exit(main())
