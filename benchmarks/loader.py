"""Loaders side by side: pictures, wide rows and ragged dicts, shuffled and in order.

Every participant reads the same data from a warm page cache, in batches of 256 as torch tensors whose
contents are touched, in a process of its own. Peers are looked for in this environment, and in environments
`.venv-bench*` beside it, because some need other versions of NumPy; nothing is installed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import loader_data, loader_store
from benchmarks.harness import ROOT, Absent, Suite, Work

MODULES = {
    "NumPy in DataLoader": ("torch", loader_data.KINDS),
    "Hugging Face datasets": ("datasets", loader_data.KINDS),
    "LitData": ("litdata", loader_data.KINDS),
    "MosaicML Streaming": ("streaming", loader_data.KINDS),
    "TensorDict": ("tensordict", ("images", "rows")),
    "WebDataset": ("webdataset", ("images", "records")),
}
GOALS = {  # shuffled, beside the bare gather with one thread and beside the best peer
    "images": (">= 1.2", ">= 9"),
    "rows": (">= 1.1", ">= 8"),
    "records": (">= 2.0", ">= 8"),
}
SEQUENTIAL = {"images": ">= 20", "rows": ">= 3.5"}


class Child:
    """A participant in a process of its own."""

    def __init__(self, python: str, name: str, kind: str, source: Path, folder: Path) -> None:
        self._arguments = [python, "-m", "benchmarks.loader_child", name, kind, str(source), str(folder)]
        self._process: subprocess.Popen[str] | None = None

    def ask(self, **command: Any) -> float:
        """Run one command; RuntimeError when the participant fails."""
        if self._process is None:
            self._process = subprocess.Popen(
                self._arguments,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                cwd=ROOT,
                env=os.environ | {"PYTHONWARNINGS": "ignore"},
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        answer = json.loads(line) if line else {"error": f"ended with {self._process.wait()}"}
        if not line:
            self._process = None
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return float(answer["value"])

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class Cast:
    """Everybody who takes part, for one kind of data."""

    def __init__(self, suite: Suite, kind: str, size: int) -> None:
        self.kind, self.seconds = kind, 0.4 if suite.quick else 2.0
        self._directory = suite.directory / str(size)
        loader_data.make(self._directory, kind, size)
        self.dataset = loader_store.build(self._directory, kind)
        self._environments = _environments()
        self._children: list[Child] = []
        self.ours = self._child(sys.executable, "ours", self.dataset.parent)
        self.bare = self._child(sys.executable, "NumPy by hand", self._directory / "numpy")
        self.peers: dict[str, Child | Absent] = {}
        for name, (module, kinds) in MODULES.items():
            if kind not in kinds:
                continue
            python = next((p for p, found in self._environments.items() if module in found), None)
            if python is None:
                self.peers[name] = Absent(f"{module} is in none of the environments")
            elif suite.quick and module != "torch":
                self.peers[name] = Absent("not run with --quick")
            else:
                folder = self._directory / f"{module}-{kind}"
                self.peers[name] = self._child(python, name, folder)

    def _child(self, python: str, name: str, folder: Path) -> Child:
        child = Child(python, name, self.kind, self._directory, folder)
        self._children.append(child)
        return child

    def epoch(self, child: Child, *, shuffle: bool, workers: int, **options: Any) -> Work:
        """Give what measures an epoch of a participant."""
        return lambda: child.ask(shuffle=shuffle, workers=workers, seconds=self.seconds, **options)

    def others(self, *, shuffle: bool) -> dict[str, Work | Absent]:
        """Give every peer's epoch, in one process and with two workers."""
        found: dict[str, Work | Absent] = {}
        for name, child in self.peers.items():
            for workers in (0, 2):
                key = f"{name}, {workers} workers"
                if isinstance(child, Absent):
                    found[key] = child
                else:
                    found[key] = self.epoch(child, shuffle=shuffle, workers=workers)
        return found

    def close(self) -> None:
        """End every process."""
        for child in self._children:
            child.close()


def _environments() -> dict[str, set[str]]:
    """Find interpreters and, for each, the names of what is installed."""
    found = {}
    for python in [sys.executable, *map(str, sorted(ROOT.glob(".venv-bench*/bin/python")))]:
        code = "import pkgutil; print(' '.join(m.name for m in pkgutil.iter_modules()))"
        found[python] = set(
            subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.split()
        )
    return found


def _measure(suite: Suite, cast: Cast) -> None:
    kind, unit = cast.kind, "samples/s"
    limit = cast.epoch(cast.bare, shuffle=True, workers=0)
    vs_limit, vs_peer = GOALS[kind]
    for threads in (1,) if suite.quick else (0, 1, 2):
        suite.leg(
            f"{kind} shuffled, {threads} threads",
            unit=unit,
            ours=cast.epoch(cast.ours, shuffle=True, workers=threads),
            limit=limit,
            peers=cast.others(shuffle=True) if threads == 1 else {},
            goals={"vs_limit": vs_limit, "vs_best_peer": vs_peer} if threads == 1 else {},
        )
    if kind == "records" and not suite.quick:
        for form in ("flat", "nested"):
            suite.leg(
                f"records shuffled, {form}, records as columns",
                unit=unit,
                ours=cast.epoch(cast.ours, shuffle=True, workers=1, ragged=form, records="columns"),
                limit=limit,
            )
    suite.leg(
        f"{kind} in order, views",
        unit=unit,
        ours=cast.epoch(cast.ours, shuffle=False, workers=0, read_only=True),
        limit=cast.epoch(cast.bare, shuffle=False, workers=0),
        peers=cast.others(shuffle=False),
        goals={"vs_best_peer": SEQUENTIAL[kind]} if kind in SEQUENTIAL else {},
    )
    if suite.quick:
        return
    suite.leg(
        f"{kind} shuffled, stock DataLoader, 2 workers",
        unit=unit,
        ours=cast.epoch(cast.ours, shuffle=True, workers=2, stock=True),
        limit=limit,
    )
    suite.leg(
        f"{kind}: first batch after import torch",
        unit="s",
        better="lower",
        ours=lambda: _fresh(cast, first=True, workers=1),
        goals={"ours": "<= 0.15"},
        warm_up=False,
    )
    suite.leg(
        f"{kind}: anonymous memory of an epoch",
        unit="MB",
        better="lower",
        ours=lambda: _fresh(cast, memory=True, shuffle=True, workers=1, seconds=60 * cast.seconds),
        goals={"ours": "<= 250"},
        warm_up=False,
        rounds=1,
    )


def _fresh(cast: Cast, **command: Any) -> float:
    child = Child(sys.executable, "ours", cast.kind, cast.dataset, cast.dataset.parent)
    try:
        return child.ask(**command)
    finally:
        child.close()


def _cold(suite: Suite, cast: Cast) -> None:
    """Evict the pictures from the page cache before each pass; ours reads ahead of its order."""
    files = sorted((cast.dataset / "records" / "data").rglob("column.image.*.npy"))
    source = cast._directory / "images" / "source" / "image.npy"

    def evict() -> None:
        os.sync()
        for path in [*files, source]:
            descriptor = os.open(path, os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)

    def ours(shuffle: Any) -> Work:
        def work() -> float:
            evict()
            return cast.ours.ask(shuffle=shuffle, workers=2, seconds=cast.seconds)

        return work

    def plain() -> float:
        evict()
        return cast.bare.ask(shuffle=True, workers=0, seconds=cast.seconds)

    goals: Any = {"vs_limit": ">= 1.1"}
    suite.leg("images shuffled, cold", unit="samples/s", ours=ours(True), limit=plain, goals=goals)
    suite.leg("images block shuffled, cold", unit="samples/s", ours=ours("block"), limit=plain)


def main() -> int:
    """Run every leg."""
    suite = Suite.from_command_line("loader", __doc__)
    sizes = loader_data.QUICK_SIZES if suite.quick else loader_data.SIZES
    for kind in loader_data.KINDS:
        began = time.monotonic()
        cast = Cast(suite, kind, sizes[kind])
        try:
            _measure(suite, cast)
            if kind == "images" and not suite.quick:
                _cold(suite, cast)
        finally:
            cast.close()
        print(f"{kind}: {time.monotonic() - began:.0f} s", file=sys.stderr)
    np.testing.assert_array_less(0, [figure.ours for figure in suite.figures])
    return suite.finish()


if __name__ == "__main__":
    sys.exit(main())
