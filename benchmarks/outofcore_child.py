"""One participant of the out-of-core benchmark in a process of its own, whose memory the parent bounds.

    python -m benchmarks.outofcore_child NAME SOURCE FOLDER

Commands come as lines of JSON: `{"shuffle": "block", "workers": 0, "number": 3, "seconds": 4}` is answered by
the samples/s of an epoch that is cut off after that time, and by the entropy of the labels of its batches.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import loader_data as data
from benchmarks.loader_child import Ours
from benchmarks.loader_peers import BY_HAND, PEERS


class OursByOptions(Ours):
    """The loader of this project with any of its options."""

    def epoch(self, shuffle: Any, workers: int, number: int, **options: Any) -> Any:
        """Make a loader."""
        if "dataset" not in self.made:
            self.made["dataset"] = self.dataset(self.store / self.kind, columns=["image", "label"])
        return iter(
            self.made["dataset"].loader(
                data.BATCH_SIZE, shuffle=shuffle, seed=number, num_threads=workers, **options
            )
        )


def label_entropy(labels: Any) -> float:
    """Bits of the labels of a batch."""
    shares = np.unique(np.asarray(labels), return_counts=True)[1] / len(labels)
    return float(-(shares * np.log2(shares)).sum())


def run(participant: Any, shuffle: Any, workers: int, number: int, seconds: float, **options: Any) -> Any:
    """Time one epoch, or as much of it as fits, after its first batch: the program's pages are cold, too."""
    size, bits = 0, []
    found = iter(participant.epoch(shuffle, workers, number, **options))
    data.touch(next(found))
    began = time.perf_counter()
    for batch in found:
        size += data.touch(batch)
        bits.append(label_entropy(batch["label"]))
        if time.perf_counter() - began > seconds:
            break
    rate = size / (time.perf_counter() - began)
    if hasattr(found, "close"):
        found.close()
    return {"value": rate, "bits": float(np.mean(bits))}


def main() -> None:
    """Serve commands until the input ends."""
    name, source, folder = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not be taken for an answer
    torch.set_num_threads(1)
    participant: Any
    if name == "ours":
        participant = OursByOptions(folder, "images")
    else:
        participant = (BY_HAND | PEERS)[name][0](source, folder, "images")
    for line in sys.stdin:
        command = json.loads(line)
        try:
            if command.pop("write", False):
                participant.write()
                answer: dict[str, Any] = {"value": 0.0}
            else:
                answer = run(participant, **command)
                gc.collect()  # memory is short, and what a pass leaves may lie in cycles
        except Exception as error:  # other projects' code may fail in any way; the parent names it
            answer = {"error": f"{type(error).__name__}: {error}"[:300]}
        print(json.dumps(answer), file=answers, flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
