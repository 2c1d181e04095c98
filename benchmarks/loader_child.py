"""One participant of the loader benchmark in a process of its own; commands come as lines of JSON.

    python -m benchmarks.loader_child NAME KIND SOURCE FOLDER

`{"shuffle": true, "workers": 0, "seconds": 2}` is answered by samples/s of as many epochs as that time
holds, the last one cut off; with `"epochs": 1` of one. Needs only what the participant itself needs.
"""

from __future__ import annotations

import json
import mmap
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import loader_data as data

EPOCHS = 1 << 12  # of one command at most; the number of each is another


class Ours:
    """Read by this project."""

    def __init__(self, store: Path, kind: str) -> None:
        from loaders import ShardDataset

        self.kind, self.store, self.dataset = kind, store, ShardDataset
        self.made: dict[Any, Any] = {}

    def epoch(self, shuffle: bool, workers: int, number: int, **options: Any) -> Any:
        """Begin the next epoch of a loader; `workers` are threads, except for torch's DataLoader."""
        key = (shuffle, workers, *sorted(options.items()))
        if key not in self.made:
            stock = options.pop("stock", False)
            dataset = self.dataset(self.store / self.kind, **options)
            if stock:
                self.made[key] = torch.utils.data.DataLoader(
                    dataset,
                    batch_size=data.BATCH_SIZE,
                    shuffle=shuffle,
                    num_workers=workers,
                    persistent_workers=workers > 0,
                )
            else:
                self.made[key] = dataset.loader(data.BATCH_SIZE, shuffle=shuffle, num_threads=workers)
        return iter(self.made[key])


def run(participant: Any, command: dict[str, Any], number: int) -> float:
    """Time epochs one after the other, until as many are done or the time is over."""
    seconds, epochs = command.pop("seconds"), command.pop("epochs", EPOCHS)
    shuffle, workers = command.pop("shuffle"), command.pop("workers")
    size, began = 0, time.perf_counter()
    for epoch in range(number * EPOCHS, number * EPOCHS + epochs):
        found = participant.epoch(shuffle, workers, epoch, **command)
        for batch in found:
            size += data.touch(batch)
            if time.perf_counter() - began > seconds:
                break
        rate = size / (time.perf_counter() - began)
        if hasattr(found, "close"):
            found.close()
        if time.perf_counter() - began > seconds:
            break
    return rate


class Peak(threading.Thread):
    """Samples the memory of this process that is no mapped file."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.before = self.most = anonymous_bytes()
        self._ended = threading.Event()

    def run(self) -> None:
        """Look every few milliseconds."""
        while not self._ended.wait(0.01):
            self.most = max(self.most, anonymous_bytes())

    def megabytes(self) -> float:
        """Stop; give what came on top of what was there at first."""
        self._ended.set()
        self.join()
        return (self.most - self.before) / 1e6


def anonymous_bytes() -> int:
    """Memory of this process that is no mapped file."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return sum(int(lines[name].split()[0]) * 1024 for name in ("RssAnon", "RssShmem") if name in lines)


def get_back(num_bytes: int) -> None:
    """Touch free memory and free it again: a machine's host may have taken it, and gives it back slowly."""
    memory = mmap.mmap(-1, num_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        memory.madvise(mmap.MADV_HUGEPAGE)
    np.frombuffer(memory, np.uint8)[:: mmap.PAGESIZE] = 1
    memory.close()


def main() -> None:
    """Serve commands until the input ends."""
    name, kind, source, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not be taken for an answer
    torch.set_num_threads(1)
    began, peak = time.perf_counter(), Peak()  # looks only where memory is asked for: others run meanwhile
    if name == "ours":
        participant: Any = Ours(folder, kind)
    else:
        from benchmarks.loader_peers import BY_HAND, PEERS

        participant = (BY_HAND | PEERS)[name][0](source, folder, kind)
        participant.write()
    for number, line in enumerate(sys.stdin):
        command = json.loads(line)
        try:
            if num_bytes := command.pop("get_back", 0):
                get_back(num_bytes)
            if command.pop("first", False):
                found = participant.epoch(True, command["workers"], 0)
                data.touch(next(iter(found)))
                answer: dict[str, Any] = {"value": time.perf_counter() - began}
            elif command.pop("memory", False):
                peak.start()
                run(participant, command, number)
                answer = {"value": peak.megabytes()}
            else:
                answer = {"value": run(participant, command, number)}
        except NotImplementedError:
            answer = {"error": "cannot do this"}
        except Exception as error:  # other projects' code may fail in any way; the parent names it
            answer = {"error": f"{type(error).__name__}: {error}"[:300]}
        print(json.dumps(answer), file=answers, flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
