"""`make fuzz`: run every target over a million inputs; exit code 1 when one fails.

Each target runs in a process of its own, so that one that crashes the interpreter is a finding, too.
"""

from __future__ import annotations

import argparse
import multiprocessing
import subprocess
import sys
from pathlib import Path

from fuzz.campaign import run_and_say
from fuzz.targets import TARGETS


def main() -> int:
    """Fuzz all targets, one after the other."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000, help="inputs a target")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--target", choices=sorted(TARGETS), action="append")
    parser.add_argument("--failures", type=Path, default=Path("build/fuzz"), help="where failing inputs go")
    given = parser.parse_args()
    failed = False
    for name in given.target or TARGETS:
        context = multiprocessing.get_context("spawn")
        process = context.Process(target=run_and_say, args=(name, given.inputs, given.seed, given.failures))
        process.start()
        process.join()
        if process.exitcode not in (0, 1):
            print(f"{name}: the process died with {process.exitcode}", flush=True)
        failed = failed or process.exitcode != 0
    if not given.target:
        documents = ["-m", "fuzz.documents", "--num", str(given.inputs), "--seed", str(given.seed)]
        failed = subprocess.run([sys.executable, *documents], check=False).returncode != 0 or failed
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
