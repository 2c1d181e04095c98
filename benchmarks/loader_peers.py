"""Other loaders over the same data, each the way its documentation recommends, read in batches of 256.

Runs in the environment of the peer: needs that package, NumPy and torch. `write` puts the data into the
peer's own form, `epoch` iterates over batches: dicts of tensors (and lists of texts and dicts).
"""

# mypy: disable-error-code="import-not-found,import-untyped,no-untyped-call"

from __future__ import annotations

import importlib.machinery
import importlib.util
import itertools
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import loader_data as data
from benchmarks.loader_arrow import HuggingFace, HuggingFaceArrow, Lance
from benchmarks.loader_files import Grain, Jpeg, WebDataset
from benchmarks.loader_hand import BATCH, Bare, BareDataLoader, Peer, collate_records, same

__all__ = ["BY_HAND", "PEERS", "Peer"]


def _litdata_rows(span: tuple[str, str, int, int]) -> Iterator[Any]:
    source, kind, low, high = span
    yield from itertools.islice(data.rows(Path(source), kind), low, high)


class LitData(Peer):
    """litdata: chunks of 64 MB, the default shuffle: of chunks, and in windows of 256 samples."""

    window: str | None = None

    def write(self) -> None:
        """Optimize with one worker."""
        import litdata

        if not (self.out / "index.json").exists():
            size = len(data.arrays(self.source, self.kind)["ab" if self.kind == "records" else "label"])
            litdata.optimize(
                fn=_litdata_rows,
                inputs=[(str(self.source), self.kind, 0, size)],
                output_dir=str(self.out),
                chunk_bytes="64MB",
                num_workers=1,
                start_method="fork",
            )

    def epoch(self, shuffle: bool, workers: int, number: int) -> Iterator[Any]:
        """Iterate."""
        import litdata

        if (shuffle, workers) not in self.made:
            options: dict[str, Any] = {"collate_fn": collate_records} if self.kind == "records" else {}
            if workers:
                options["persistent_workers"] = True
            window = {"item_shuffle_window": self.window} if self.window and shuffle else {}
            self.made[shuffle, workers] = litdata.StreamingDataLoader(
                litdata.StreamingDataset(str(self.out), shuffle=shuffle, **window),
                batch_size=BATCH,
                num_workers=workers,
                **options,
            )
        return iter(self.made[shuffle, workers])


class LitDataRandom(LitData):
    """The same files, shuffled over whole chunks: the nearest it has to random access."""

    window = "full"


def _stub_torchvision() -> None:
    """Stand in for torchvision, which streaming imports and does not use; its wheels fit few torches."""
    if importlib.util.find_spec("torchvision") is not None:
        return
    for name in ("", ".datasets", ".transforms", ".transforms.functional"):
        module: Any = types.ModuleType(f"torchvision{name}")
        module.__spec__ = importlib.machinery.ModuleSpec(f"torchvision{name}", None)
        module.VisionDataset = module.CIFAR10 = module.to_tensor = object
        sys.modules[f"torchvision{name}"] = module


class Streaming(Peer):
    """MosaicML Streaming: MDS files read by its own loader."""

    def write(self) -> None:
        """Write MDS."""
        _stub_torchvision()
        from streaming import MDSWriter

        if (self.out / "index.json").exists():
            return
        columns = {
            "images": {"image": "ndarray:uint8:128,128,3", "label": "int", "id": "str"},
            "rows": {"x": "ndarray:float32:32", "label": "int64", "category": "int32"},
            "records": {
                "tokens": "ndarray:int64",
                "text": "str",
                "meta": "json",
                "a": "float64",
                "b": "float64",
            },
        }[self.kind]
        with MDSWriter(out=str(self.out), columns=columns) as writer:
            for row in data.rows(self.source, self.kind):
                writer.write(row)

    def epoch(self, shuffle: bool, workers: int, number: int) -> Iterator[Any]:
        """Iterate."""
        _stub_torchvision()
        from streaming import StreamingDataLoader, StreamingDataset
        from streaming.base.util import clean_stale_shared_memory

        if (shuffle, workers) not in self.made:
            clean_stale_shared_memory()
            found = StreamingDataset(
                local=str(self.out), batch_size=BATCH, shuffle=shuffle, num_canonical_nodes=1
            )
            options: dict[str, Any] = {"collate_fn": collate_records} if self.kind == "records" else {}
            self.made[shuffle, workers] = StreamingDataLoader(
                found, batch_size=BATCH, num_workers=workers, persistent_workers=workers > 0, **options
            )
        return iter(self.made[shuffle, workers])


class _StreamingRows:
    def __init__(self, found: Any) -> None:
        self.found = found

    def __len__(self) -> int:
        return len(self.found)

    def __getitem__(self, number: int) -> Any:
        return self.found[number]


class StreamingMap(Streaming):
    """The same files by number, through torch's DataLoader: random access."""

    def epoch(self, shuffle: bool, workers: int, number: int) -> Iterator[Any]:
        """Iterate."""
        _stub_torchvision()
        from streaming import StreamingDataset
        from streaming.base.util import clean_stale_shared_memory

        if (shuffle, workers) not in self.made:
            clean_stale_shared_memory()
        return self.loader(
            lambda: _StreamingRows(
                StreamingDataset(local=str(self.out), batch_size=BATCH, num_canonical_nodes=1)
            ),
            shuffle,
            workers,
        )


class TensorDict(Peer):
    """tensordict: memory-mapped tensors, indexed by a batch; it has no ragged rows."""

    kinds = ("images", "rows")

    def write(self) -> None:
        """Write memory maps."""
        from tensordict import TensorDict as Stored

        if (self.out / "meta.json").exists():
            return
        found = {
            name: torch.from_numpy(a.copy() if name != "id" else a.view(np.uint8).reshape(len(a), -1).copy())
            for name, a in data.arrays(self.source, self.kind).items()
        }
        Stored(found, batch_size=[len(found["label"])]).memmap(str(self.out), num_threads=0)

    def epoch(self, shuffle: bool, workers: int, number: int) -> Iterator[Any]:
        """Iterate."""
        from tensordict import TensorDict as Stored

        for batch in self.loader(
            lambda: Stored.load_memmap(str(self.out)), shuffle, workers, collate_fn=same
        ):
            found = dict(batch.items())
            if "id" in found:
                found["id"] = found["id"].numpy().view("S24").ravel().astype(str).tolist()
            yield found


BY_HAND: dict[str, tuple[type[Peer], str]] = {
    "NumPy by hand": (Bare, "numpy"),
    "NumPy in DataLoader": (BareDataLoader, "numpy"),
}
PEERS: dict[str, tuple[type[Peer], str]] = {  # with the module that each needs
    "LitData": (LitData, "litdata"),
    "LitData random": (LitDataRandom, "litdata"),
    "MosaicML Streaming": (Streaming, "streaming"),
    "MosaicML Streaming map": (StreamingMap, "streaming"),
    "TensorDict": (TensorDict, "tensordict"),
    "Hugging Face Arrow": (HuggingFaceArrow, "datasets"),
    "Hugging Face documented": (HuggingFace, "datasets"),
    "JPEG files": (Jpeg, "PIL"),
    "WebDataset": (WebDataset, "webdataset"),
    "Grain": (Grain, "array_record"),
    "Lance": (Lance, "lance"),
}
