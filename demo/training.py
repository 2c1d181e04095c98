"""Training a shipped dataset: the example script as a child process, its last line as figures."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass

from demo.home import ROOT

SAID = re.compile(r"test accuracy (?P<accuracy>[\d.]+), (?P<rate>[\d,]+) samples/s")


class TrainingFailed(RuntimeError):
    """The script ended with an error, or did not say what it reached."""


@dataclass(frozen=True, slots=True)
class Trained:
    """What a training script reached: accuracy on the test split, samples per second while training."""

    accuracy: float
    samples_per_second: float


def train(dataset: str) -> Trained:
    """Run `examples/train_<dataset>.py`, showing what it prints.

    Raises
    ------
    TrainingFailed
        With the script's name and exit code.
    """
    script = f"examples/train_{dataset}.py"
    found: re.Match[str] | None = None
    with subprocess.Popen([sys.executable, script], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(f"  {line}", end="", flush=True)
            found = SAID.search(line) or found
    if process.returncode:
        raise TrainingFailed(f"{script} ended with code {process.returncode}")
    if found is None:
        raise TrainingFailed(f"{script} printed no line like 'test accuracy 0.98, 50,000 samples/s'")
    return Trained(float(found["accuracy"]), float(found["rate"].replace(",", "")))
