"""Peers of the loader benchmark with a file or an opaque record a sample: JPEG, WebDataset, Grain."""

# mypy: disable-error-code="import-not-found,import-untyped,no-untyped-call"

from __future__ import annotations

import functools
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import loader_data as data
from benchmarks.loader_hand import BATCH, Peer, collate_records


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


class Jpeg(Peer):
    """One JPEG file a picture (quality 90), decoded by Pillow, one by one."""

    kinds = ("images",)

    def write(self) -> None:
        """Write the files, a thousand in a folder."""
        from PIL import Image

        if (self.out / "labels.json").exists():
            return
        listed = []
        for number, row in enumerate(data.rows(self.source, self.kind)):
            path = self.out / f"{number // 1000:03d}" / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(row["image"]).save(path, quality=90)
            listed.append([str(path), row["label"], row["id"]])
        (self.out / "labels.json").write_text(json.dumps(listed))

    def epoch(self, shuffle: bool, workers: int, number: int) -> Iterator[Any]:
        """Iterate."""
        return self.loader(lambda: _JpegRows(self.out), shuffle, workers)


class _JpegRows:
    def __init__(self, folder: Path) -> None:
        self.listed = json.loads((folder / "labels.json").read_text())

    def __len__(self) -> int:
        return len(self.listed)

    def __getitem__(self, number: int) -> Any:
        from PIL import Image

        path, label, key = self.listed[number]
        with Image.open(path) as picture:
            image = torch.from_numpy(np.array(picture.convert("RGB")))
        return {"image": image, "label": label, "id": key}


def packed(kind: str, row: dict[str, Any]) -> bytes:
    """Lay a row out as bytes, for stores of opaque records."""
    if kind == "images":
        return struct.pack("<q24s", row["label"], row["id"].encode()) + bytes(row["image"].tobytes())
    if kind == "rows":
        return struct.pack("<qi", int(row["label"]), int(row["category"])) + bytes(row["x"].tobytes())
    tokens = bytes(row["tokens"].tobytes())
    numbers = struct.pack("<Idd", len(tokens), row["a"], row["b"])
    return numbers + tokens + json.dumps([row["text"], row["meta"]]).encode()


def unpacked(kind: str, record: bytes) -> dict[str, Any]:
    """Read what `packed` wrote."""
    if kind == "images":
        label, key = struct.unpack_from("<q24s", record)
        image = np.frombuffer(record, np.uint8, offset=32).reshape(data.SIDE_PX, data.SIDE_PX, 3)
        return {"image": image, "label": np.int64(label), "id": key.decode()}
    if kind == "rows":
        label, category = struct.unpack_from("<qi", record)
        x = np.frombuffer(record, np.float32, offset=12)
        return {"x": x, "label": np.int64(label), "category": np.int32(category)}
    length, a, b = struct.unpack_from("<Idd", record)
    text, meta = json.loads(record[20 + length :])
    return {
        "tokens": np.frombuffer(record, np.int64, length // 8, 20),
        "a": a,
        "b": b,
        "text": text,
        "meta": meta,
    }


def _padded(samples: Any) -> dict[str, Any]:
    found = collate_records(list(samples))
    return {name: value.numpy() if hasattr(value, "numpy") else value for name, value in found.items()}


class Grain(Peer):
    """grain over array_record files, uncompressed, one record a group: its own recipe for random access."""

    RECORDS = 20_000  # of a file; a read takes time in proportion to it

    def write(self) -> None:
        """Write fixed layouts, with JSON for what is nested."""
        from array_record.python.array_record_module import ArrayRecordWriter

        if (self.out / "done").exists():
            return
        self.out.mkdir(parents=True, exist_ok=True)
        writer: Any = None
        for number, row in enumerate(data.rows(self.source, self.kind)):
            if number % self.RECORDS == 0:
                if writer is not None:
                    writer.close()
                path = self.out / f"{number // self.RECORDS:05d}.array_record"
                writer = ArrayRecordWriter(str(path), "group_size:1,uncompressed")
            writer.write(packed(self.kind, row))
        writer.close()
        (self.out / "done").touch()

    def epoch(self, shuffle: bool, workers: int, number: int) -> Iterator[Any]:
        """Iterate."""
        import grain.python as grain

        if "source" not in self.made:
            files = sorted(map(str, self.out.glob("*.array_record")))
            self.made["source"] = grain.MapDataset.source(grain.ArrayRecordDataSource(files))
        found = self.made["source"].shuffle(seed=number) if shuffle else self.made["source"]
        found = found.map(functools.partial(unpacked, self.kind))
        if self.kind == "records":
            found = found.batch(BATCH, batch_fn=_padded)
        else:
            found = found.batch(BATCH, drop_remainder=False)
        if workers:
            options = grain.MultiprocessingOptions(num_workers=workers)
            read = grain.ReadOptions(num_threads=1, prefetch_buffer_size=2)
            batches = found.to_iter_dataset(read).mp_prefetch(options)
        else:
            batches = found.to_iter_dataset(grain.ReadOptions(num_threads=2, prefetch_buffer_size=4))
        for batch in batches:
            yield {
                name: torch.from_numpy(value)
                if isinstance(value, np.ndarray) and value.dtype.kind not in "US"
                else value
                for name, value in batch.items()
            }
