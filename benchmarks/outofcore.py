"""Loaders over data larger than their memory: full shuffle, block shuffle, and how well blocks mix.

Every participant runs in a process of its own whose memory, page cache included, is bound to a fraction of
the data; what others left in the page cache is taken out before each pass. The pictures lie in the order of
their labels, the worst case for a shuffle within windows.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import loader_data as data
from benchmarks import loader_store
from benchmarks.harness import Absent, Suite, Work, evict, requires
from benchmarks.memory_bound import Bound, memory_bound
from benchmarks.participant import Child
from loaders import ShardDataset
from loaders.options import choose_order

ROW_BYTES = data.SIDE_PX * data.SIDE_PX * 3
NUM_LABELS = 100
FULL = {
    "NumPy by hand": "numpy",
    "Hugging Face Arrow": "datasets",
    "TensorDict": "tensordict",
    "Lance": "lance",
}
WITHIN = {"LitData": "litdata", "LitData random": "litdata", "WebDataset": "webdataset"}
"""Peers whose shuffle of large data is one of chunks, and within a chunk or a buffer."""
READ_BYTES = 4 << 20
WIDE = 64  # blocks of a window that mixes better


def make(directory: Path, num_rows: int) -> None:
    """Write pictures of noise in the order of their labels, unless they are there."""
    folder = directory / "images" / "source"
    if (folder / "done").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    shape = (num_rows, data.SIDE_PX, data.SIDE_PX, 3)
    out = np.lib.format.open_memmap(folder / "image.npy", "w+", np.dtype(np.uint8), shape)
    for start in range(0, num_rows, 1024):
        stop = min(start + 1024, num_rows)
        out[start:stop] = np.frombuffer(random.bytes((stop - start) * ROW_BYTES), np.uint8).reshape(
            -1, *shape[1:]
        )
    out.flush()
    np.save(folder / "label.npy", np.arange(num_rows) * NUM_LABELS // num_rows)
    np.save(folder / "id.npy", np.array([f"{number:024x}" for number in range(num_rows)]).astype("S24"))
    (folder / "done").touch()


class Participant:
    """A loader in a bound process; remembers the bits of the labels of its batches."""

    def __init__(self, name: str, source: Path, folder: Path, bound: Bound) -> None:
        self.folder, self.bound = folder, bound
        command: list[str | Path] = [sys.executable, "-m", "benchmarks.outofcore_child", name, source, folder]
        self._child, self._writer = Child(*bound.prefix, *command), Child(*command)
        self._written = name == "ours"
        self._number = 0
        self.bits: dict[Any, float] = {}

    def pass_over(self, shuffle: Any, seconds: float, **options: Any) -> float:
        """Samples a second of a pass with nothing in the page cache."""
        if not self._written:
            self._writer.answer(write=True)
            self._writer.close()
            self._written = True
        self._number += 1
        self.bound.empty()
        evict(self.folder.rglob("*"))
        workers = options.pop("workers", 0)
        answer = self._child.answer(
            shuffle=shuffle, workers=workers, number=self._number, seconds=seconds, **options
        )
        self.bits[shuffle, options.get("window_blocks")] = answer["bits"]
        return float(answer["value"])

    def close(self) -> None:
        """End the processes."""
        self._child.close()
        self._writer.close()


def disk(files: list[Path], seconds: float, *, sequential: bool) -> float:
    """Rows a second that the disk gives: in order, read ahead by the system, or at random, sixteen at once.

    In order through the page cache, which nothing of the files is in: two threads get more out of this disk
    so than any number of them past it.
    """
    evict(files)
    sizes = {path: path.stat().st_size for path in files}
    step = READ_BYTES if sequential else -(-ROW_BYTES // 4096) * 4096
    num_threads = 2 if sequential else 16
    places = [(path, at) for path in files for at in range(0, sizes[path] - step, step)]
    if sequential:
        dealt = [[place for place in places if files.index(place[0]) % 2 == number] for number in range(2)]
    else:
        np.random.default_rng().shuffle(places)
        dealt = [places[number::num_threads] for number in range(num_threads)]
    flags = os.O_RDONLY if sequential else os.O_RDONLY | os.O_DIRECT
    descriptors = {path: os.open(path, flags) for path in files}
    began = time.perf_counter()

    def read(mine: list[tuple[Path, int]]) -> int:
        buffer, done = mmap.mmap(-1, step), 0
        for path, at in mine:
            if time.perf_counter() - began > seconds:
                break
            done += os.preadv(descriptors[path], [buffer], at)
        return done

    with ThreadPoolExecutor(num_threads) as pool:
        num_bytes = sum(pool.map(read, dealt))
    rate = num_bytes / (ROW_BYTES if sequential else step) / (time.perf_counter() - began)
    for descriptor in descriptors.values():
        os.close(descriptor)
    return rate


def mixing(dataset: ShardDataset, **options: Any) -> tuple[float, float]:
    """Mean displacement of an order, a share of a permutation's, and its rank correlation with the disk."""
    order = choose_order(dataset, seed=0, **options).at(0, np.arange(len(dataset)))
    place = np.arange(len(order))
    displacement = float(np.abs(order - place).mean()) / (len(order) / 3)
    return displacement, float(np.corrcoef(order, place)[0, 1])


class Stage:
    """Data, participants and legs of one run."""

    def __init__(self, suite: Suite, stack: contextlib.ExitStack) -> None:
        self.suite, self._stack = suite, stack
        num_bytes, self.limit_bytes, self.seconds = (
            (1 << 30, 400 << 20, 1.2) if suite.quick else (2 << 30, 640 << 20, 4.0)
        )
        num_rows = num_bytes // ROW_BYTES
        self._directory = suite.directory / str(num_rows)
        make(self._directory, num_rows)
        store = loader_store.build(self._directory, "images")
        self.files = sorted(store.rglob("column.image.*.npy"))
        self.dataset = ShardDataset(store, columns=["image", "label"], lease_seconds=None)
        self._cast: dict[str, Participant] = {}
        self.ours = self._participant("ours", store.parent)
        sizes = f"{num_bytes >> 20} MiB of pictures, {self.limit_bytes >> 20} MiB of memory"
        print(f"{sizes} by {self.ours.bound.how}")

    def _participant(self, name: str, folder: Path) -> Participant:
        if name not in self._cast:
            bound = self._stack.enter_context(memory_bound(self.limit_bytes))
            self._cast[name] = Participant(name, self._directory, folder, bound)
            self._stack.callback(self._cast[name].close)
        return self._cast[name]

    def _peers(
        self, modules: dict[str, str], measure: Callable[[Participant], Work]
    ) -> dict[str, Work | Absent]:
        found: dict[str, Work | Absent] = {}
        for name, module in modules.items():
            if self.suite.quick and module != "numpy":
                found[name] = Absent("not run with --quick")
                continue
            folder = "images/source" if module == "numpy" else f"peers/{module}"
            found[name] = requires(module, measure(self._participant(name, self._directory / folder)))
        return found

    def speed(
        self, shuffle: Any, peers: dict[str, str], *, sequential: bool, goals: Any, **options: Any
    ) -> None:
        """Samples a second of everybody, beside the disk."""
        windows = "".join(f", windows of {value} blocks" for value in options.values())
        how = "in order" if sequential else "at random"
        self.suite.leg(
            f"{'full' if shuffle is True else shuffle} shuffle{windows}; limit: the disk read {how}",
            unit="samples/s",
            ours=lambda: self.ours.pass_over(shuffle, self.seconds, workers=1, **options),
            limit=lambda: disk(self.files, self.seconds, sequential=sequential),
            peers=self._peers(peers, lambda peer: lambda: peer.pass_over(True, self.seconds)),
            goals=goals,
        )

    def bits(self, peers: dict[str, str], **options: Any) -> None:
        """Labels in a batch, as the passes before met them."""
        windows = "".join(f", windows of {value} blocks" for value in options.values())
        self.suite.leg(
            f"labels of a batch, block shuffle{windows}; limit: full shuffle",
            unit="bits",
            ours=lambda: self.ours.bits["block", options.get("window_blocks")],
            limit=lambda: self.ours.bits[True, None],
            peers=self._peers(peers, lambda peer: lambda: peer.bits[True, None]),
            rounds=1,
            warm_up=False,
        )


def main() -> int:
    """Run the benchmark."""
    suite = Suite.from_command_line("outofcore", __doc__)
    with contextlib.ExitStack() as stack:
        stage = Stage(suite, stack)
        stage.speed(True, FULL, sequential=False, goals={"vs_best_peer": ">= 1"})
        stage.speed("block", WITHIN, sequential=True, goals={"vs_limit": ">= 0.8"})
        stage.speed("block", {}, sequential=True, goals={"vs_limit": ">= 0.8"}, window_blocks=WIDE)
        stage.bits(WITHIN)
        stage.bits({}, window_blocks=WIDE)
        print("| order | mean displacement, 1 is a permutation's | rank correlation |\n| --- | --- | --- |")
        for options in (
            {"shuffle": False},
            {"shuffle": "block"},
            {"shuffle": "block", "window_blocks": WIDE},
            {"shuffle": "full"},
        ):
            displacement, correlation = mixing(stage.dataset, **options)
            name = ", ".join(f"{name}={value!r}" for name, value in options.items())
            print(f"| {name} | {displacement:.3f} | {correlation:.3f} |")
    return suite.finish()


if __name__ == "__main__":
    sys.exit(main())
