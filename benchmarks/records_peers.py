"""The same fit and transform by other means: Arrow and NumPy, scikit-learn, Hugging Face datasets, dicts.

Each reads the documents from the same mapped files and leaves `.npy` files: dense float32 (rows, 4), codes
int32 (rows, 3), embeddings float32 (rows, 32) and the split. None of them rejects, checks ranges, keeps
statistics or publishes a version; what they share with ours is the arithmetic.

Ours uses every core. Arrow and NumPy compute such arrays in one thread, and so do scikit-learn's scalers.
Hugging Face `map` runs in one process: `num_proc=2` made 0.31M rows/s where one process made 0.64M, on two
idle cores, since tables and results then pass between processes.
"""

from __future__ import annotations

import math
import shutil
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.records_data import BUCKETS, LENGTH, STANDARDIZED, VOCABULARIES
from shards import Version

Floats = npt.NDArray[np.float64]
ENDS = (int(0.8 * 2**53), int(0.9 * 2**53))


class Peers:
    """Peers over one version of documents.

    Parameters
    ----------
    documents
        What is read.
    directory
        Where results go; emptied by each run.
    """

    def __init__(self, documents: Version, directory: Path) -> None:
        self.documents, self.directory = documents, directory

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Give the documents as they were written."""
        return self.documents.table("documents").batches()

    def outputs(self) -> tuple[Any, Any, Any, Any]:
        """Make the four files."""
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True)
        num_rows = self.documents.num_rows

        def made(name: str, shape: tuple[int, ...], dtype: str) -> Any:
            return np.lib.format.open_memmap(str(self.directory / f"{name}.npy"), "w+", dtype, shape)

        return (
            made("dense", (num_rows, 4), "f4"),
            made("codes", (num_rows, 3), "i4"),
            made("embeddings", (num_rows, LENGTH), "f4"),
            made("split", (num_rows,), "u1"),
        )

    def fit(self) -> tuple[dict[str, Floats], list[float], dict[str, pa.Array]]:
        """Merge moments, extremes and value counts over batches."""
        moments = {name: np.zeros(3) for name in STANDARDIZED}
        low, high = math.inf, -math.inf
        counts: dict[str, dict[str, int]] = {name: {} for name in VOCABULARIES}
        for batch in self.batches():
            for name in STANDARDIZED:
                values = numbers(batch[name])
                values = values[~np.isnan(values)]
                number, mean, spread = len(values), values.mean(), values.var()
                before, middle, m2 = moments[name]
                step = mean - middle
                total = before + number
                moments[name] = np.array(
                    [
                        total,
                        middle + step * number / total,
                        m2 + spread * number + step * step * before * number / total,
                    ]
                )
            extremes = pc.min_max(batch["age"])
            low, high = min(low, extremes["min"].as_py()), max(high, extremes["max"].as_py())
            for name in VOCABULARIES:
                for pair in pc.value_counts(batch[name]):
                    value = pair["values"].as_py()
                    counts[name][value] = counts[name].get(value, 0) + pair["counts"].as_py()
        vocabularies = {name: pa.array(by_count(found), pa.large_string()) for name, found in counts.items()}
        return moments, [low, high], vocabularies

    def arrow_numpy(self) -> None:
        """Plain Arrow and NumPy, batch by batch, written by hand for this very table."""
        moments, (low, high), vocabularies = self.fit()
        dense, codes, embeddings, split = self.outputs()
        start, known = 0, {}
        for batch in self.batches():
            rows = slice(start, start + batch.num_rows)
            start += batch.num_rows
            for index, name in enumerate(STANDARDIZED):
                number, mean, m2 = moments[name]
                dense[rows, index] = np.nan_to_num((numbers(batch[name]) - mean) / np.sqrt(m2 / number))
            dense[rows, 3] = np.nan_to_num((numbers(batch["age"]) - low) / (high - low))
            for index, name in enumerate(VOCABULARIES):
                found = pc.index_in(batch[name], value_set=vocabularies[name])
                codes[rows, index] = pc.fill_null(found, -1).to_numpy(zero_copy_only=False) + 1
            names = batch["name"].dictionary_encode()
            for value in names.dictionary.to_pylist():
                if value not in known:
                    known[value] = bucket(value)
            table = np.array([known[value] for value in names.dictionary.to_pylist()], np.int32)
            codes[rows, 2] = table[names.indices.to_numpy()]
            embeddings[rows] = batch["emb"].flatten().to_numpy().reshape(-1, LENGTH)
            split[rows] = split_of(ids_of(batch))
        for made in (dense, codes, embeddings, split):
            made.flush()

    def per_dict(self) -> None:
        """One Python dict a row, the way most code does it."""
        moments = {name: [0.0, 0.0, 0.0] for name in STANDARDIZED}
        low, high = math.inf, -math.inf
        counts: dict[str, dict[str, int]] = {name: {} for name in VOCABULARIES}
        for row in self._rows():
            for name in STANDARDIZED:
                value = row[name]
                if value is not None and value == value:
                    state = moments[name]
                    state[0] += 1
                    step = value - state[1]
                    state[1] += step / state[0]
                    state[2] += step * (value - state[1])
            if row["age"] is not None:
                low, high = min(low, row["age"]), max(high, row["age"])
            for name in VOCABULARIES:
                counts[name][row[name]] = counts[name].get(row[name], 0) + 1
        code_of = {
            name: {value: code + 1 for code, value in enumerate(by_count(found))}
            for name, found in counts.items()
        }
        dense, codes, embeddings, split = self.outputs()
        for number, row in enumerate(self._rows()):
            scaled = []
            for name in STANDARDIZED:
                value = row[name]
                state = moments[name]
                missing = value is None or value != value
                scaled.append(0.0 if missing else (value - state[1]) / math.sqrt(state[2] / state[0]))
            scaled.append(0.0 if row["age"] is None else (row["age"] - low) / (high - low))
            dense[number] = scaled
            codes[number] = [code_of[name].get(row[name], 0) for name in VOCABULARIES] + [bucket(row["name"])]
            embeddings[number] = row["emb"]
            split[number] = split_of(np.frombuffer(row["_id"][1:], np.uint8)[None])[0]

    def _rows(self) -> Iterator[dict[str, Any]]:
        for batch in self.batches():
            yield from batch.to_pylist()

    def scikit_learn(self) -> None:
        """Its scalers and encoders over whole columns in memory."""
        from sklearn.impute import SimpleImputer
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import MinMaxScaler, OrdinalEncoder, StandardScaler

        table = self.documents.table("documents").read()
        values = np.stack([numbers(table[name].combine_chunks()) for name in (*STANDARDIZED, "age")], axis=1)
        strings = np.stack([table[name].to_numpy() for name in VOCABULARIES], axis=1)
        constant = {"strategy": "constant", "fill_value": 0.0}
        encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
        dense, codes, embeddings, split = self.outputs()
        dense[:, :3] = make_pipeline(StandardScaler(), SimpleImputer(**constant)).fit_transform(values[:, :3])
        dense[:, 3:] = make_pipeline(MinMaxScaler(), SimpleImputer(**constant)).fit_transform(values[:, 3:])
        codes[:, :2] = encoder.fit_transform(strings) + 1
        codes[:, 2] = [bucket(value) for value in table["name"].to_pylist()]
        embeddings[:] = table["emb"].combine_chunks().flatten().to_numpy().reshape(-1, LENGTH)
        ids = np.frombuffer(b"".join(value[1:] for value in table["_id"].to_pylist()), np.uint8)
        split[:] = split_of(ids.reshape(-1, 12))

    def hugging_face(self) -> None:
        """`datasets.map` over Arrow batches with NumPy inside; the fit is done outside, there is none."""
        import datasets

        datasets.disable_progress_bars()
        moments, (low, high), vocabularies = self.fit()
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True)
        table = self.documents.table("documents").read()
        table = table.set_column(0, "_id", table["_id"].cast(pa.large_binary()))
        data = datasets.Dataset(table).with_format("arrow")

        def fixed(array: npt.NDArray[Any]) -> pa.Array:
            return pa.FixedSizeListArray.from_arrays(pa.array(array.reshape(-1)), array.shape[1])

        def transform(part: pa.Table) -> pa.Table:
            batch = part.combine_chunks().to_batches()[0]
            dense = np.empty((batch.num_rows, 4), np.float32)
            codes = np.empty((batch.num_rows, 3), np.int32)
            for index, name in enumerate(STANDARDIZED):
                number, mean, m2 = moments[name]
                dense[:, index] = np.nan_to_num((numbers(batch[name]) - mean) / np.sqrt(m2 / number))
            dense[:, 3] = np.nan_to_num((numbers(batch["age"]) - low) / (high - low))
            for index, name in enumerate(VOCABULARIES):
                found = pc.index_in(batch[name].cast(pa.large_string()), value_set=vocabularies[name])
                codes[:, index] = pc.fill_null(found, -1).to_numpy(zero_copy_only=False) + 1
            names = batch["name"].dictionary_encode()
            buckets = np.array([bucket(value) for value in names.dictionary.to_pylist()], np.int32)
            codes[:, 2] = buckets[names.indices.to_numpy()]
            embeddings = batch["emb"].flatten().to_numpy().reshape(-1, LENGTH).astype(np.float32)
            split = split_of(ids_of(batch))
            return pa.table(
                {"dense": fixed(dense), "codes": fixed(codes), "emb32": fixed(embeddings), "split": split}
            )

        data.map(
            transform,
            batched=True,
            batch_size=20_000,
            remove_columns=data.column_names,
            cache_file_name=str(self.directory / "mapped.arrow"),
        )


def by_count(counts: dict[str, int]) -> list[str]:
    """Order values by falling count, ties by the value."""
    return sorted(counts, key=lambda value: (-counts[value], value))


def numbers(array: pa.Array) -> Floats:
    """Give numbers as float64, null as NaN."""
    filled = array.cast(pa.float64()).fill_null(math.nan)
    return np.asarray(filled.to_numpy(zero_copy_only=False), np.float64)


def bucket(value: str) -> int:
    """Hash a string into its bucket."""
    return zlib.crc32(value.encode()) % BUCKETS


def ids_of(batch: pa.RecordBatch) -> npt.NDArray[np.uint8]:
    """Give the 12 bytes of every ObjectId."""
    ids = batch["_id"].cast(pa.large_binary())
    octets = np.frombuffer(ids.buffers()[2], np.uint8)
    return octets[ids.offset * 13 : (ids.offset + len(ids)) * 13].reshape(-1, 13)[:, 1:]


def split_of(ids: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Give each id its split by a hash: 0 train, 1 validation, 2 test."""
    padded = np.zeros((len(ids), 16), np.uint8)
    padded[:, :12] = ids
    words = padded.view("<u8")
    mixed = words[:, 0] ^ (words[:, 1] * np.uint64(0x9E3779B97F4A7C15))
    mixed ^= mixed >> np.uint64(30)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(27)
    mixed *= np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    place = mixed >> np.uint64(11)
    return np.where(place < ENDS[0], 0, np.where(place < ENDS[1], 1, 2)).astype(np.uint8)
