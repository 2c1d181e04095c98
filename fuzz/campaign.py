"""One target in one process: run it, say what came of it, keep what failed."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from fuzz.engine import Outcome, fuzz
from fuzz.targets import TARGETS


def run(name: str, num_inputs: int, seed: int, *, quiet: bool = False) -> Outcome:
    """Fuzz one target in this process."""
    target, seeds = TARGETS[name]()

    def progress(outcome: Outcome) -> None:
        if sys.stderr.isatty() and not quiet:
            text = f"{outcome.num_inputs:,} inputs, {outcome.num_corpus} kept, {outcome.num_edges} edges"
            sys.stderr.write(f"\r{name}: {text}")

    return fuzz(target, seeds, num_inputs, seed=seed, progress=progress)


def main() -> int:
    """Fuzz one target, print a line, write failing inputs; 1 when there are any."""
    parser = argparse.ArgumentParser(prog="python -m fuzz.campaign", description=__doc__)
    parser.add_argument("target", choices=sorted(TARGETS))
    parser.add_argument("--num", type=int, default=1_000_000, help="inputs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--failures", type=Path, default=Path("build/fuzz"), help="where failing inputs go")
    given = parser.parse_args()
    outcome = run(given.target, given.num, given.seed)
    print(
        f"\r{given.target}: {outcome.num_inputs:,} inputs in {outcome.seconds:.0f} s, "
        f"{outcome.num_corpus} kept, {outcome.num_edges} edges, {len(outcome.failures)} failures",
        flush=True,
    )
    for position, (data, error) in enumerate(outcome.failures):
        given.failures.mkdir(parents=True, exist_ok=True)
        path = given.failures / f"{given.target}-{position}"
        path.write_bytes(data)
        print(f"  {path}: {error}", flush=True)
    return 1 if outcome.failures else 0


if __name__ == "__main__":
    sys.exit(main())
