"""What participants of the loader benchmark share, and the loaders that a user writes by hand with NumPy."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from benchmarks import loader_data as data

BATCH = data.BATCH_SIZE


def collate_records(samples: list[dict[str, Any]]) -> dict[str, Any]:
    """Pad tokens, stack numbers, keep texts and dicts as lists."""
    lengths = np.array([len(sample["tokens"]) for sample in samples])
    tokens = np.zeros((len(samples), int(lengths.max())), np.int64)
    for row, sample, length in zip(tokens, samples, lengths.tolist(), strict=True):
        row[:length] = sample["tokens"]
    found: dict[str, Any] = {name: [sample[name] for sample in samples] for name in ("text", "meta")}
    for name in ("a", "b"):
        found[name] = torch.tensor([float(sample[name]) for sample in samples], dtype=torch.float64)
    return found | {"tokens": torch.from_numpy(tokens), "lengths": torch.from_numpy(lengths)}


def same(batch: Any) -> Any:
    """Collate what is a batch already."""
    return batch


class Peer:
    """One loader; `source` has the arrays, `out` is the peer's own folder."""

    kinds = data.KINDS

    def __init__(self, source: Path, out: Path, kind: str) -> None:
        self.source, self.out, self.kind = source, out, kind
        self.made: dict[Any, Any] = {}

    def write(self) -> None:
        """Put the data into the peer's own form."""

    def epoch(self, shuffle: bool, workers: int, number: int) -> Iterator[Any]:
        """Iterate over batches."""
        raise NotImplementedError

    def loader(self, make: Any, shuffle: bool, workers: int, **options: Any) -> Iterator[Any]:
        """Make a DataLoader once; its workers persist."""
        if (shuffle, workers) not in self.made:
            if self.kind == "records" and "collate_fn" not in options:
                options["collate_fn"] = collate_records
            self.made[shuffle, workers] = DataLoader(
                make(),
                batch_size=BATCH,
                shuffle=shuffle,
                num_workers=workers,
                persistent_workers=workers > 0,
                **options,
            )
        return iter(self.made[shuffle, workers])


class Bare(Peer):
    """np.take of each array, in this process: what a short loader by hand does."""

    def write(self) -> None:
        """Lay out texts and dicts as offsets and bytes."""
        if self.kind == "records" and not (self.out / "text.npy").exists():
            self.out.mkdir(parents=True, exist_ok=True)
            texts, metas = data.texts(self.source)
            encoded = {"text": [t.encode() for t in texts], "meta": [json.dumps(m).encode() for m in metas]}
            for name, values in encoded.items():
                np.save(self.out / f"{name}_offsets.npy", np.cumsum([0, *map(len, values)]))
                np.save(self.out / f"{name}.npy", np.frombuffer(b"".join(values), np.uint8))

    def open(self) -> dict[str, Any]:
        """Map everything."""
        found = data.arrays(self.source, self.kind)
        if self.kind == "records":
            found |= {path.stem: np.asarray(np.load(path, mmap_mode="r")) for path in self.out.glob("*.npy")}
            found["a"], found["b"] = found["ab"][:, 0].copy(), found["ab"][:, 1].copy()
        return found

    def epoch(self, shuffle: bool, workers: int, number: int) -> Iterator[Any]:
        """Gather batch by batch."""
        if workers:
            raise NotImplementedError
        if "open" not in self.made:
            self.made["open"] = self.open()
        found = self.made["open"]
        size = len(found["ab"] if self.kind == "records" else found["label"])
        order = np.random.default_rng(number).permutation(size) if shuffle else np.arange(size)
        for start in range(0, size, BATCH):
            run = None if shuffle else slice(start, start + BATCH)
            yield self.gather(found, order[start : start + BATCH], run)

    def gather(self, found: dict[str, Any], rows: Any, run: slice | None = None) -> dict[str, Any]:
        """Make one batch; rows that follow each other are views."""
        if self.kind != "records":
            parts = {n: np.take(a, rows, axis=0) if run is None else a[run] for n, a in found.items()}
            batch: dict[str, Any] = {n: torch.from_numpy(part) for n, part in parts.items() if n != "id"}
            if "id" in parts:
                batch["id"] = parts["id"].astype(str).tolist()
            return batch
        starts = found["offsets"][rows]
        lengths = found["offsets"][rows + 1] - starts
        tokens = np.zeros((len(rows), int(lengths.max())), np.int64)
        for number, (start, length) in enumerate(zip(starts.tolist(), lengths.tolist(), strict=True)):
            tokens[number, :length] = found["tokens"][start : start + length]
        batch = {name: torch.from_numpy(found[name][rows]) for name in ("a", "b")}
        batch |= {"tokens": torch.from_numpy(tokens), "lengths": torch.from_numpy(lengths)}
        for name, decode in (("text", bytes.decode), ("meta", json.loads)):
            low, high = found[f"{name}_offsets"][rows].tolist(), found[f"{name}_offsets"][rows + 1].tolist()
            view = memoryview(found[name])
            batch[name] = [decode(bytes(view[a:b])) for a, b in zip(low, high, strict=True)]
        return batch


class BareRows:
    """The bare gather as a dataset for DataLoader's workers."""

    def __init__(self, peer: Bare) -> None:
        self.peer, self.found = peer, peer.open()

    def __len__(self) -> int:
        return len(self.found["ab"] if self.peer.kind == "records" else self.found["label"])

    def __getitems__(self, rows: list[int]) -> Any:
        return self.peer.gather(self.found, np.asarray(rows))


class BareDataLoader(Bare):
    """The bare gather inside torch's DataLoader."""

    def epoch(self, shuffle: bool, workers: int, number: int) -> Iterator[Any]:
        """Iterate."""
        return self.loader(lambda: BareRows(self), shuffle, workers, collate_fn=same)
