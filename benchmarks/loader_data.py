"""The three kinds of data of the loader benchmark, made once: as plain arrays, and in this project's store.

`images`: uint8 128x128x3 pictures that compress like photographs, a label, a text id. `rows`: 32 float32,
an int64 label, an int32 category. `records`: a list of 127 int64 on average (512 at most), a text, a nested
dict, two floats. Needs NumPy alone, so that it runs in the environment of every peer.
"""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

SIZES = {"images": 20_000, "rows": 2_000_000, "records": 200_000}
QUICK_SIZES = {"images": 4_000, "rows": 400_000, "records": 40_000}
KINDS = tuple(SIZES)
BATCH_SIZE = 256
SIDE_PX = 128
WORDS = ("alpha", "beta", "gamma", "delta", "eps", "zeta", "eta", "theta")

Arrays = dict[str, npt.NDArray[Any]]


def make(directory: Path, kind: str, size: int) -> None:
    """Write the arrays of a kind unless they are there."""
    folder = directory / kind / "source"
    if (folder / "done").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    if kind == "images":
        _make_images(folder, size, rng)
    elif kind == "rows":
        np.save(folder / "x.npy", rng.standard_normal((size, 32), dtype=np.float32))
        np.save(folder / "label.npy", rng.integers(0, 2, size))
        np.save(folder / "category.npy", rng.integers(0, 5000, size).astype(np.int32))
    else:
        _make_records(folder, size, rng)
    (folder / "done").touch()


def _make_images(folder: Path, size: int, rng: np.random.Generator) -> None:
    out = np.lib.format.open_memmap(
        folder / "image.npy", "w+", np.dtype(np.uint8), (size, SIDE_PX, SIDE_PX, 3)
    )
    noise = rng.normal(0, 5, (64, SIDE_PX, SIDE_PX, 3)).astype(np.int16)
    for number in range(size):  # a smooth field of colour, and sensor noise
        coarse = rng.integers(0, 256, (9, 9, 3)).astype(np.float32)
        grid = np.linspace(0, 7.999, SIDE_PX)
        low = grid.astype(int)
        part = (grid - low).astype(np.float32)[:, None, None]
        tall = coarse[low] * (1 - part) + coarse[low + 1] * part
        part = part.transpose(1, 0, 2)
        smooth = tall[:, low] * (1 - part) + tall[:, low + 1] * part
        out[number] = np.clip(smooth.astype(np.int16) + noise[number % 64], 0, 255)
    out.flush()
    np.save(folder / "label.npy", rng.integers(0, 1000, size))
    np.save(
        folder / "id.npy", np.array([f"{key:024x}" for key in rng.integers(0, 2**62, size)]).astype("S24")
    )


def _make_records(folder: Path, size: int, rng: np.random.Generator) -> None:
    lengths = np.clip(rng.gamma(2.0, 64.0, size), 1, 512).astype(np.int64)
    np.save(folder / "offsets.npy", np.concatenate([[0], np.cumsum(lengths)]))
    np.save(folder / "tokens.npy", rng.integers(0, 50_000, int(lengths.sum())))
    np.save(folder / "ab.npy", rng.standard_normal((size, 2)))
    counts = rng.integers(3, 20, size)
    chosen = rng.integers(0, 8, int(counts.sum())).tolist()
    begin = 0
    with (folder / "text.jsonl").open("w") as file:
        for number, count in enumerate(counts.tolist()):
            text = " ".join(WORDS[word] for word in chosen[begin : begin + count])
            begin += count
            meta = {
                "source": WORDS[number % 8],
                "score": number % 997 / 997,
                "lang": {"code": "en" if number % 3 else "de", "conf": number % 89 / 89},
            }
            file.write(json.dumps([text, meta]) + "\n")


def arrays(directory: Path, kind: str) -> Arrays:
    """Map the arrays of a kind, read-only."""
    folder = directory / kind / "source"
    return {path.stem: np.asarray(np.load(path, mmap_mode="r")) for path in sorted(folder.glob("*.npy"))}


def texts(directory: Path) -> tuple[list[str], list[dict[str, Any]]]:
    """Read the texts and dicts of the records."""
    with (directory / "records" / "source" / "text.jsonl").open() as file:
        pairs = [json.loads(line) for line in file]
    return [text for text, _ in pairs], [meta for _, meta in pairs]


def rows(directory: Path, kind: str) -> Any:
    """Yield Python rows, as a writer that takes one at a time sees them."""
    found = arrays(directory, kind)
    if kind == "images":
        for image, label, key in zip(found["image"], found["label"], found["id"], strict=True):
            yield {"image": image, "label": int(label), "id": key.decode()}
    elif kind == "rows":
        for x, label, category in zip(found["x"], found["label"], found["category"], strict=True):
            yield {"x": x, "label": label, "category": category}
    else:
        text, meta = texts(directory)
        edges = found["offsets"].tolist()
        for number, (low, high) in enumerate(pairwise(edges)):
            a, b = found["ab"][number].tolist()
            tokens = found["tokens"][low:high]
            yield {"tokens": tokens, "text": text[number], "meta": meta[number], "a": a, "b": b}


def touch(batch: Any) -> int:
    """Read a batch as training would, of pictures a byte of every page; give its size."""
    import torch

    size = len(batch["a"] if "a" in batch else batch["label"])
    for value in batch.values():
        if not isinstance(value, torch.Tensor):
            continue
        if value.is_nested:
            float(value.values().sum())
        elif value.dtype == torch.uint8 and value.dim() > 1:
            float(value.reshape(len(value), -1)[:, ::4096].sum())
        else:
            float(value.sum())
    return size
