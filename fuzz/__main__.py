"""`make fuzz`: run every target over a million inputs; exit code 1 when one fails.

Each target runs in a process of its own, so that one that crashes the interpreter is a finding, too; as many
run at once as there are processors.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fuzz.targets import TARGETS


def main() -> int:
    """Fuzz all targets."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=1_000_000, help="inputs a target")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--target", choices=sorted([*TARGETS, "documents"]), action="append")
    parser.add_argument("--failures", type=Path, default=Path("build/fuzz"), help="where failing inputs go")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="targets at once")
    given = parser.parse_args()

    def run(name: str) -> int:
        command = [sys.executable, "-m", "fuzz.campaign", name, "--failures", str(given.failures)]
        if name == "documents":
            command = [sys.executable, "-m", "fuzz.documents"]
        command += ["--num", str(given.inputs), "--seed", str(given.seed)]
        code = subprocess.run(command, check=False).returncode
        if code not in (0, 1):
            print(f"{name}: the process died with {code}", flush=True)
        return code

    with ThreadPoolExecutor(given.jobs) as pool:
        codes = list(pool.map(run, given.target or ["documents", *TARGETS]))
    return 1 if any(codes) else 0


if __name__ == "__main__":
    sys.exit(main())
