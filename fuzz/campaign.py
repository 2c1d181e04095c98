"""One target in one process: run it, say what came of it, keep what failed."""

from __future__ import annotations

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


def run_and_say(name: str, num_inputs: int, seed: int, kept: Path) -> None:
    """Fuzz one target, print a line, write failing inputs below `kept`; exits with 1 when there are any."""
    outcome = run(name, num_inputs, seed)
    print(
        f"\r{name}: {outcome.num_inputs:,} inputs in {outcome.seconds:.0f} s, {outcome.num_corpus} kept, "
        f"{outcome.num_edges} edges, {len(outcome.failures)} failures",
        flush=True,
    )
    for position, (data, error) in enumerate(outcome.failures):
        kept.mkdir(parents=True, exist_ok=True)
        path = kept / f"{name}-{position}"
        path.write_bytes(data)
        print(f"  {path}: {error}", flush=True)
    sys.exit(1 if outcome.failures else 0)
