"""Other loaders over the same data, each the way its documentation recommends, read in batches of 256.

Runs in the environment of the peer: needs that package, NumPy and torch. `write` puts the data into the
peer's own form, `epoch` iterates over batches: dicts of tensors (and lists of texts and dicts).
"""

# mypy: disable-error-code="import-not-found,import-untyped,no-untyped-call"

from __future__ import annotations

import itertools
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, SequentialSampler

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
            yield self.gather(found, order[start : start + BATCH])

    def gather(self, found: dict[str, Any], rows: Any) -> dict[str, Any]:
        """Make one batch."""
        if self.kind != "records":
            batch: dict[str, Any] = {
                name: torch.from_numpy(np.take(array, rows, axis=0))
                for name, array in found.items()
                if name != "id"
            }
            if "id" in found:
                batch["id"] = np.take(found["id"], rows).astype(str).tolist()
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


class HuggingFace(Peer):
    """datasets: Arrow files, torch format, whole batches by a BatchSampler."""

    def write(self) -> None:
        """Write by a generator."""
        import datasets

        if self.out.exists():
            return
        value, listed = datasets.Value, datasets.List
        meta = {"source": value("string"), "score": value("float64")}
        features = {
            "images": {
                "image": datasets.Array3D((128, 128, 3), "uint8"),
                "label": value("int64"),
                "id": value("string"),
            },
            "rows": {"x": listed(value("float32"), 32), "label": value("int64"), "category": value("int32")},
            "records": {
                "tokens": listed(value("int64")),
                "text": value("string"),
                "meta": meta | {"lang": {"code": value("string"), "conf": value("float64")}},
                "a": value("float64"),
                "b": value("float64"),
            },
        }[self.kind]
        cache = f"{self.out}-cache"
        made = datasets.Dataset.from_generator(
            data.rows,
            gen_kwargs={"directory": self.source, "kind": self.kind},
            features=datasets.Features(features),
            cache_dir=cache,
        )
        made.save_to_disk(self.out)
        shutil.rmtree(cache)

    def epoch(self, shuffle: bool, workers: int, number: int) -> Iterator[Any]:
        """Iterate."""
        import datasets

        datasets.disable_progress_bars()
        if (shuffle, workers) not in self.made:
            found = datasets.load_from_disk(self.out).with_format("torch")
            if self.kind == "records":
                return self.loader(lambda: found, shuffle, workers)
            sampler = RandomSampler(found) if shuffle else SequentialSampler(found)
            self.made[shuffle, workers] = DataLoader(
                found,
                sampler=BatchSampler(sampler, BATCH, False),
                batch_size=None,
                num_workers=workers,
                persistent_workers=workers > 0,
            )
        return iter(self.made[shuffle, workers])


def _litdata_rows(span: tuple[str, str, int, int]) -> Iterator[Any]:
    source, kind, low, high = span
    yield from itertools.islice(data.rows(Path(source), kind), low, high)


class LitData(Peer):
    """litdata: chunks of 64 MB, the default shuffle within chunks."""

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
            self.made[shuffle, workers] = litdata.StreamingDataLoader(
                litdata.StreamingDataset(str(self.out), shuffle=shuffle),
                batch_size=BATCH,
                num_workers=workers,
                **options,
            )
        return iter(self.made[shuffle, workers])


class Streaming(Peer):
    """MosaicML Streaming: MDS files read by its own loader."""

    def write(self) -> None:
        """Write MDS."""
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


class TensorDict(Peer):
    """tensordict: memory-mapped tensors, indexed by a batch; it has no ragged rows."""

    kinds = ("images", "rows")

    def write(self) -> None:
        """Write memory maps."""
        from tensordict import TensorDict as Stored

        if (self.out / "meta.json").exists():
            return
        found = {
            name: torch.from_numpy(a.copy())
            for name, a in data.arrays(self.source, self.kind).items()
            if name != "id"
        }
        Stored(found, batch_size=[len(found["label"])]).memmap(str(self.out), num_threads=0)

    def epoch(self, shuffle: bool, workers: int, number: int) -> Iterator[Any]:
        """Iterate."""
        from tensordict import TensorDict as Stored

        for batch in self.loader(
            lambda: Stored.load_memmap(str(self.out)), shuffle, workers, collate_fn=same
        ):
            yield dict(batch.items())


class WebDataset(Peer):
    """webdataset: tar files of arrays, shuffled in a buffer; the rows are too many tar members for it."""

    kinds = ("images", "records")

    def write(self) -> None:
        """Write tar files."""
        import webdataset

        if self.out.exists():
            return
        self.out.mkdir(parents=True)
        with webdataset.ShardWriter(f"{self.out}/%05d.tar", maxcount=1000, verbose=0) as writer:
            for number, row in enumerate(data.rows(self.source, self.kind)):
                member: dict[str, Any] = {"__key__": f"{number:09d}"}
                if self.kind == "images":
                    member |= {"npy": row["image"], "cls": row["label"], "id.txt": row["id"]}
                else:
                    member |= {"npy": row["tokens"], "json": {k: row[k] for k in ("text", "meta", "a", "b")}}
                writer.write(member)

    def epoch(self, shuffle: bool, workers: int, number: int) -> Iterator[Any]:
        """Iterate."""
        import webdataset

        urls = sorted(map(str, self.out.glob("*.tar")))
        found = webdataset.WebDataset(urls, shardshuffle=len(urls) if shuffle else False)
        found = (found.shuffle(1000) if shuffle else found).decode()
        if self.kind == "images":
            found = found.to_tuple("npy", "cls", "id.txt").batched(
                BATCH, collation_fn=_web_images, partial=True
            )
        else:
            found = found.to_tuple("npy", "json").batched(BATCH, collation_fn=_web_records, partial=True)
        return iter(webdataset.WebLoader(found, batch_size=None, num_workers=workers))


def _web_images(samples: list[Any]) -> dict[str, Any]:
    images, labels, keys = zip(*samples, strict=True)
    return {"image": torch.from_numpy(np.stack(images)), "label": torch.tensor(labels), "id": list(keys)}


def _web_records(samples: list[Any]) -> dict[str, Any]:
    return collate_records([{"tokens": tokens, **rest} for tokens, rest in samples])


PEERS: dict[str, tuple[type[Peer], str]] = {
    "NumPy by hand": (Bare, "numpy"),
    "NumPy in DataLoader": (BareDataLoader, "torch"),
    "Hugging Face datasets": (HuggingFace, "datasets"),
    "LitData": (LitData, "litdata"),
    "MosaicML Streaming": (Streaming, "streaming"),
    "TensorDict": (TensorDict, "tensordict"),
    "WebDataset": (WebDataset, "webdataset"),
}
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
