"""Peers of the loader benchmark that keep Arrow tables: Hugging Face datasets and Lance."""

# mypy: disable-error-code="import-not-found,import-untyped,no-untyped-call"

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, SequentialSampler

from benchmarks import loader_data as data
from benchmarks.loader_hand import BATCH, Peer, same

os.environ.setdefault("HF_DATASETS_OFFLINE", "1")


def by_batches(found: Any, shuffle: bool, workers: int) -> Any:
    """Make a DataLoader that asks for whole batches, as the documentation of datasets recommends."""
    sampler = RandomSampler(found) if shuffle else SequentialSampler(found)
    return DataLoader(
        found,
        sampler=BatchSampler(sampler, BATCH, False),
        batch_size=None,
        num_workers=workers,
        persistent_workers=workers > 0,
    )


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
            self.made[shuffle, workers] = by_batches(found, shuffle, workers)
        return iter(self.made[shuffle, workers])


def arrow_batch(kind: str, table: Any) -> dict[str, Any]:
    """Turn an Arrow table into a batch without a copy of its numbers, as a user's own code can at best."""
    table = table.combine_chunks()
    found: dict[str, Any] = {}
    for name in table.column_names:
        column = table[name].chunk(0)
        if name in ("id", "text", "meta"):
            found[name] = column.to_pylist()
        elif name == "tokens":
            offsets = column.offsets.to_numpy().astype(np.int64)
            lengths, values = np.diff(offsets), column.values.to_numpy()
            tokens = np.zeros((len(lengths), int(lengths.max())), np.int64)
            for row, start, length in zip(tokens, offsets.tolist(), lengths.tolist(), strict=False):
                row[:length] = values[start : start + length]
            found |= {"tokens": torch.from_numpy(tokens), "lengths": torch.from_numpy(lengths)}
        else:
            column = getattr(column, "storage", column)
            while hasattr(column, "flatten") and "list" in str(column.type):
                column = column.flatten()
            values = torch.from_numpy(column.to_numpy(zero_copy_only=True))
            shape = {"image": (data.SIDE_PX, data.SIDE_PX, 3), "x": (32,)}.get(name, ())
            found[name] = values.reshape(-1, *shape)
    return found


class _ArrowRows:
    def __init__(self, found: Any, kind: str) -> None:
        self.found, self.kind = found.with_format("arrow"), kind

    def __len__(self) -> int:
        return len(self.found)

    def __getitem__(self, rows: list[int]) -> Any:
        return arrow_batch(self.kind, self.found[rows])


class HuggingFaceArrow(HuggingFace):
    """The same files in the Arrow format, converted by hand."""

    def epoch(self, shuffle: bool, workers: int, number: int) -> Iterator[Any]:
        """Iterate."""
        import datasets

        datasets.disable_progress_bars()
        if (shuffle, workers) not in self.made:
            found = _ArrowRows(datasets.load_from_disk(self.out), self.kind)
            self.made[shuffle, workers] = by_batches(found, shuffle, workers)
        return iter(self.made[shuffle, workers])


class _LanceRows:
    """As `lance.torch.data.SafeLanceDataset`, but without lists of Python values; opens where it is used."""

    def __init__(self, path: str, kind: str, size: int) -> None:
        self.path, self.kind, self.size = path, kind, size
        self.found: Any = None

    def __len__(self) -> int:
        return self.size

    def __getitems__(self, rows: list[int]) -> Any:
        if self.found is None:
            import lance

            self.found = lance.dataset(self.path)
        return arrow_batch(self.kind, self.found.take(rows))


class Lance(Peer):
    """lance: taken by rows in whole batches, scanned in order."""

    def write(self) -> None:
        """Write from Arrow tables."""
        import lance
        import pyarrow as pa

        if self.out.exists():
            return
        found = data.arrays(self.source, self.kind)
        if self.kind == "records":
            texts, metas = data.texts(self.source)
            lists = pa.LargeListArray.from_arrays(pa.array(found["offsets"]), pa.array(found["tokens"]))
            a, b = found["ab"][:, 0].copy(), found["ab"][:, 1].copy()
            columns = {"tokens": lists, "text": texts, "meta": metas, "a": a, "b": b}
        else:
            columns = {name: array for name, array in found.items() if name != "id" and array.ndim == 1}
            wide = "image" if self.kind == "images" else "x"
            flat = found[wide].reshape(len(found[wide]), -1)
            columns[wide] = pa.FixedSizeListArray.from_arrays(pa.array(flat.reshape(-1)), flat.shape[1])
            if "id" in found:
                columns["id"] = found["id"].astype(str).tolist()
        most = {"images": 4096, "rows": 1 << 20, "records": 1 << 16}[self.kind]
        lance.write_dataset(pa.table(columns), str(self.out), max_rows_per_file=most)

    def epoch(self, shuffle: bool, workers: int, number: int) -> Iterator[Any]:
        """Iterate."""
        import lance
        import pyarrow as pa

        if not shuffle:
            if workers:
                raise NotImplementedError
            found = lance.dataset(str(self.out))
            for batch in found.to_batches(batch_size=BATCH):
                yield arrow_batch(self.kind, pa.Table.from_batches([batch]))
            return
        options: dict[str, Any] = {"multiprocessing_context": "forkserver"} if workers else {}
        size = lance.dataset(str(self.out)).count_rows()
        rows = _LanceRows(str(self.out), self.kind, size)
        yield from self.loader(lambda: rows, shuffle, workers, collate_fn=same, **options)
