"""Loaders side by side: pictures, wide rows and ragged dicts, shuffled and in order.

Every participant reads the same data from a warm page cache, in batches of 256 as torch tensors whose
contents are touched, in a process of its own with one thread of torch, which is stopped while others run; its
files are read in order before its turn, as systems may drop what is idle. The limit is `np.take` from mapped
arrays by hand, in one process. Peers are looked for in this environment, and in environments `.venv-bench*`
beside it (`make bench-peers`), because MosaicML Streaming needs other versions; nothing is installed.
`--kind NAME` runs one kind of data.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import loader_data, loader_store
from benchmarks.harness import ROOT, Absent, Suite, Work, evict, warm
from benchmarks.loader_peers import PEERS
from benchmarks.participant import Child

GOALS = {  # shuffled, beside the bare gather with one thread and beside the best peer
    "images": (">= 1.2", ">= 9"),
    "rows": (">= 1.1", ">= 8"),
    "records": (">= 2.0", ">= 8"),
}
SEQUENTIAL = {"images": ">= 20", "rows": ">= 3.5"}


class Cast:
    """Everybody who takes part, for one kind of data."""

    def __init__(self, suite: Suite, kind: str, size: int) -> None:
        self.kind, self.seconds = kind, 0.4 if suite.quick else 1.0
        self._directory = self.source = suite.directory / str(size)
        loader_data.make(self._directory, kind, size)
        self.dataset = loader_store.build(self._directory, kind)
        self._environments = _environments()
        self._folders: dict[Child, Path] = {}
        self._fresh: set[Child] = set()
        self.ours = self._child(sys.executable, "ours", self.dataset.parent)
        self.bare = self._child(sys.executable, "NumPy by hand", self._directory / "numpy")
        self.stock = self._child(sys.executable, "NumPy in DataLoader", self._directory / "numpy")
        self.peers: dict[str, Child | Absent] = {}
        for name, (peer, module) in PEERS.items():
            if kind not in peer.kinds:
                continue
            python = next((p for p, found in self._environments.items() if module in found), None)
            if python is None:
                self.peers[name] = Absent(f"{module} is in none of the environments")
            elif suite.quick:
                self.peers[name] = Absent("not run with --quick")
            else:
                self.peers[name] = self._child(python, name, self._directory / f"{module}-{kind}")

    def _child(self, python: str, name: str, folder: Path) -> Child:
        child = Child(python, "-m", "benchmarks.loader_child", name, self.kind, self._directory, folder)
        self._folders[child] = folder
        return child

    def afresh(self, child: Child, **command: Any) -> Work:
        """Give what asks a new process of a participant."""

        def work() -> float:
            new = child.again()
            try:
                return new.ask(**command)
            finally:
                new.close()

        return work

    def each_afresh(self, **command: Any) -> dict[str, Work | Absent]:
        """Give what asks a new process of every peer."""
        return {
            name: child if isinstance(child, Absent) else self.afresh(child, **command)
            for name, child in self.peers.items()
        }

    def disk_bytes(self) -> dict[str, Path]:
        """Give where each participant that has run keeps its data."""
        found = {"ours": self.dataset, "limit": self._directory / self.kind / "source"}
        for name, child in self.peers.items():
            folder = self._directory / f"{PEERS[name][1]}-{self.kind}"
            if isinstance(child, Child) and folder.exists():
                found[name] = folder
        return found

    def epoch(self, child: Child, *, shuffle: bool, workers: int, **options: Any) -> Work:
        """Give what measures epochs of a participant, whose files the system may have dropped meanwhile."""
        folders = [self._folders[child]]
        if child in (self.bare, self.stock):
            folders.append(self._directory / self.kind / "source")

        def work() -> float:
            files = [path for folder in folders for path in folder.rglob("*")]
            if child not in self._fresh:  # what an earlier run read at random lies in small pages
                self._fresh.add(child)
                evict(files)
            warm(files)
            return child.ask(shuffle=shuffle, workers=workers, seconds=self.seconds, **options)

        return work

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
        for child in self._folders:
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
    goals: dict[int, Any] = {1: {"vs_limit": vs_limit, "vs_best_peer": vs_peer}}
    if kind == "images":
        goals[2] = {"vs_limit": vs_limit}
    for threads in (1,) if suite.quick else (0, 1, 2):
        suite.leg(
            f"{kind} shuffled, {threads} threads",
            unit=unit,
            ours=cast.epoch(cast.ours, shuffle=True, workers=threads),
            limit=limit,
            peers=cast.others(shuffle=True) if threads == 1 else {},
            goals=goals.get(threads, {}),
        )
    if kind == "records" and not suite.quick:
        for form in ("flat", "nested"):
            suite.leg(
                f"records shuffled, {form}, records as columns",
                unit=unit,
                ours=cast.epoch(cast.ours, shuffle=True, workers=1, ragged=form, records="columns"),
                limit=limit,
                peers=cast.others(shuffle=True) if form == "flat" else {},
                goals=goals[1] if form == "flat" else {},
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
    for workers in (0, 2):
        suite.leg(
            f"{kind} shuffled, in torch's DataLoader, {workers} workers",
            unit=unit,
            ours=cast.epoch(cast.ours, shuffle=True, workers=workers, stock=True),
            limit=cast.epoch(cast.stock, shuffle=True, workers=workers),
        )
    suite.leg(
        f"{kind}: first batch after import torch",
        unit="s",
        better="lower",
        ours=cast.afresh(cast.ours, first=True, workers=1),
        limit=cast.afresh(cast.bare, first=True, workers=0),
        peers=cast.each_afresh(first=True, workers=0),
        goals={"ours": "<= 0.15"},
        warm_up=False,
        rounds=min(suite.rounds, 3),
    )
    seconds = 60 * cast.seconds
    suite.leg(
        f"{kind}: peak of anonymous memory of an epoch",
        unit="MB",
        better="lower",
        ours=cast.afresh(cast.ours, memory=True, epochs=1, shuffle=True, workers=1, seconds=seconds),
        limit=cast.afresh(cast.bare, memory=True, epochs=1, shuffle=True, workers=0, seconds=seconds),
        peers=cast.each_afresh(memory=True, epochs=1, shuffle=True, workers=0, seconds=5 * cast.seconds),
        goals={"ours": "<= 250"},
        warm_up=False,
        rounds=1,
    )
    _measure_small(suite, kind, seconds)
    sizes = {
        name: sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        for name, folder in cast.disk_bytes().items()
    }
    constant = {name: (lambda size=size: size / 1e6) for name, size in sizes.items()}
    suite.leg(
        f"{kind}: bytes on disk",
        unit="MB",
        better="lower",
        ours=constant.pop("ours"),
        limit=constant.pop("limit"),
        peers=constant,
        warm_up=False,
        rounds=1,
    )


def _measure_small(suite: Suite, kind: str, seconds: float) -> None:
    """Show that the memory of an epoch does not grow with the dataset."""
    cast = Cast(suite, kind, loader_data.QUICK_SIZES[kind])
    suite.leg(
        f"{kind}: the same of a fifth of the samples",
        unit="MB",
        better="lower",
        ours=cast.afresh(cast.ours, memory=True, epochs=1, shuffle=True, workers=1, seconds=seconds),
        warm_up=False,
        rounds=1,
    )
    cast.close()


def _cold(suite: Suite, cast: Cast) -> None:
    """Evict the pictures from the page cache before each pass; ours reads ahead of its order.

    Pages that a process has mapped cannot be evicted, so that every pass is made by a new one. The host of a
    virtual machine takes back memory that was freed while that process begins, and gives it back more slowly
    than a disk reads; so free memory is touched before. Reading the files from end to end stands beside it,
    in place of a peer: nobody is faster than the disk.
    """
    cast.close()
    files = sorted((cast.dataset / "records" / "data").rglob("column.image.*.npy"))
    source = cast.source / "images" / "source" / "image.npy"
    free_bytes = 3 * sum(path.stat().st_size for path in files)

    def cold(child: Child, shuffle: Any, workers: int) -> Work:
        work = cast.afresh(
            child, epochs=1, shuffle=shuffle, workers=workers, seconds=5 * cast.seconds, get_back=free_bytes
        )

        def evicted() -> float:
            evict([*files, source])
            return work() or 0.0

        return evicted

    def read() -> float:
        evict(files)
        began = time.perf_counter()
        warm(files)
        return loader_data.SIZES["images"] / (time.perf_counter() - began)

    plain = cold(cast.bare, True, 0)
    disk: dict[str, Work | Absent] = {"the disk, in order": read}
    goals: Any = {"vs_limit": ">= 1.1"}
    for threads in (1, 2):
        ours = cold(cast.ours, True, threads)
        leg = f"images shuffled, cold, {threads} threads"
        suite.leg(leg, unit="samples/s", ours=ours, limit=plain, peers=disk, goals=goals, warm_up=False)
    suite.leg(
        "images block shuffled, cold, 2 threads",
        unit="samples/s",
        ours=cold(cast.ours, "block", 2),
        limit=plain,
        peers=disk,
        warm_up=False,
    )


def main() -> int:
    """Run every leg."""
    own = argparse.ArgumentParser(add_help=False)
    own.add_argument("--kind", choices=loader_data.KINDS, action="append")
    chosen, others = own.parse_known_args()
    suite = Suite.from_command_line("loader", __doc__, others)
    sizes = loader_data.QUICK_SIZES if suite.quick else loader_data.SIZES
    for kind in chosen.kind or loader_data.KINDS:
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
