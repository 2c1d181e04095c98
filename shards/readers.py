"""Rows out of mapped shard files.

A reader maps a file when it is first used, after its size and header were checked. Readers may be shared by
threads, survive fork, and pickle without their maps. Maps stay valid when files are unlinked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, overload

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from shards import dictionaries, npy
from shards.errors import DamagedFile, InvalidArgument
from shards.manifest import Shard
from shards.schema import Column
from shards.storage import Buffer, Storage


class ShardFile(NamedTuple):
    """A data file: its directory below the root and what its manifest says of it."""

    directory: str
    shard: Shard

    @property
    def path(self) -> str:
        """Path below the root."""
        return f"{self.directory}/{self.shard.file}"


class ShardFiles(Sequence[ShardFile]):
    """Files in order, from one attempt directory or several; made without touching each of them."""

    def __init__(self, groups: Iterable[tuple[str, tuple[Shard, ...]]]) -> None:
        self._directories: list[str] = []
        self.shards: list[Shard] = []
        for directory, shards in groups:
            self._directories += [directory] * len(shards)
            self.shards += shards

    def __len__(self) -> int:
        """Number of files."""
        return len(self.shards)

    @overload
    def __getitem__(self, position: int) -> ShardFile: ...
    @overload
    def __getitem__(self, position: slice) -> list[ShardFile]: ...
    def __getitem__(self, position: int | slice) -> ShardFile | list[ShardFile]:
        """One file, or some."""
        if isinstance(position, slice):
            return [self[index] for index in range(*position.indices(len(self)))]
        return ShardFile(self._directories[position], self.shards[position])


def check_hash(path: str, data: Buffer, expected: str) -> None:
    """Raise DamagedFile unless the bytes have this xxh3_128."""
    found = xxhash.xxh3_128_hexdigest(data)
    if found != expected:
        raise DamagedFile(path, f"has xxh3_128 {found}, its manifest says {expected}")


def _map(storage: Storage, file: ShardFile, verify: bool) -> memoryview:
    data = storage.map(file.path, file.shard.bytes, file.shard.xxh3_128)
    if verify:
        check_hash(file.path, data, file.shard.xxh3_128)
    return data


def map_npy(
    storage: Storage, file: ShardFile, dtype: str, shape: tuple[int, ...], verify: bool = False
) -> npt.NDArray[Any]:
    """Rows of an `.npy` file as a read-only array over the map."""
    data = _map(storage, file, verify)
    head = npy.header(dtype, file.shard.rows, shape)
    if data[: len(head)] != head:
        raise DamagedFile(file.path, f"its header is not that of {file.shard.rows} rows of {dtype} {shape}")
    return np.ndarray((file.shard.rows, *shape), np.dtype(dtype), data, len(head))


def open_arrow(
    storage: Storage, file: ShardFile, schema: pa.Schema, verify: bool = False, *, is_column: bool = False
) -> list[pa.RecordBatch]:
    """Record batches of an IPC file, over the map, validated so that no value lies outside.

    Those of a column may have dictionaries where the schema has texts.
    """
    data = _map(storage, file, verify)
    buffer = pa.py_buffer(data)
    try:
        reader = pa.ipc.open_file(buffer)
        found = reader.schema
        if is_column:
            found = pa.schema(dictionaries.plain(pa.struct(list(found))), found.metadata)
        if not found.equals(schema, check_metadata=True):
            raise DamagedFile(file.path, f"has schema {reader.schema}, its manifest says {schema}")
        batches = [reader.get_batch(position) for position in range(reader.num_record_batches)]
        for batch in batches:
            batch.validate(full=True)
        used = [found for batch in batches for array in batch.columns for found in dictionaries.in_use(array)]
        for array in used:  # validating a batch looks at indices, not at what they name
            array.dictionary.validate(full=True)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DamagedFile(file.path, f"is no valid Arrow IPC file: {error}") from error
    values = [array.dictionary for array in used]
    if any(not 0 < len(array) <= dictionaries.MAX_VALUES or array.null_count for array in values):
        raise DamagedFile(
            file.path, f"has a dictionary with nulls, or not of 1 to {dictionaries.MAX_VALUES} values"
        )
    _check_inside(file.path, buffer, [array for batch in batches for array in batch.columns] + values)
    rows = sum(batch.num_rows for batch in batches)
    if rows != file.shard.rows:
        raise DamagedFile(file.path, f"has {rows} rows, its manifest says {file.shard.rows}")
    return batches


def _check_inside(path: str, data: pa.Buffer, arrays: Sequence[pa.Array]) -> None:
    """Refuse arrays that do not lie in the map: compressed, or of another byte order."""
    start, end = data.address, data.address + data.size
    for array in arrays:
        for buffer in array.buffers():
            if buffer is not None and buffer.size and not start <= buffer.address <= end - buffer.size:
                raise DamagedFile(path, "holds compressed or converted buffers")


def _offsets(rows: Sequence[int]) -> npt.NDArray[np.int64]:
    offsets = np.zeros(len(rows) + 1, np.int64)
    np.cumsum(rows, out=offsets[1:])
    offsets.flags.writeable = False
    return offsets


class _Reader:
    def __init__(self, storage: Storage, files: ShardFiles, verify: bool) -> None:
        self._storage = storage
        self._files = files
        self._verify = verify
        self._mapped: list[Any] = [None] * len(self._files)
        self.shard_offsets = _offsets([shard.rows for shard in files.shards])

    @property
    def num_rows(self) -> int:
        """Rows of all shards."""
        return int(self.shard_offsets[-1])

    @property
    def num_shards(self) -> int:
        """Number of files."""
        return len(self._files)

    def path(self, position: int) -> str:
        """Path of a shard's file below the root of the store."""
        return self._files[position].path

    def file(self, position: int) -> ShardFile:
        """File of a shard, as the manifest describes it."""
        return self._files[position]

    def forget(self, position: int) -> None:
        """Map a shard anew when it is next asked for; what was given out keeps the old map."""
        self._mapped[position] = None

    def __len__(self) -> int:
        """Rows of all shards."""
        return self.num_rows

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the maps."""
        return self.__dict__ | {"_mapped": [None] * len(self._files)}


class ColumnReader(_Reader):
    """Rows of one column, over all its shards.

    Attributes
    ----------
    column
        What is stored.
    shard_offsets
        First row of every shard and, last, the number of rows; int64, shape (num_shards + 1,).
    """

    def __init__(self, storage: Storage, column: Column, files: ShardFiles, *, verify: bool = False) -> None:
        super().__init__(storage, files, verify)
        self.column = column
        self._type = column.pyarrow_type if column.encoding == "arrow" else None

    def shard(self, position: int) -> Any:
        """Rows of one shard as they lie there: a read-only `np.ndarray` or a `pa.Array`, over the map.

        Texts of few distinct values are dictionary-encoded; `read` and `take` give the declared type.

        Raises
        ------
        DamagedFile
            The file is missing, or its size, header, schema or structure is not what the manifest says.
        """
        mapped = self._mapped[position]
        if mapped is None:
            mapped = self._mapped[position] = self._open(self._files[position])
        return mapped

    def _open(self, file: ShardFile) -> Any:
        if self._type is None:
            return map_npy(self._storage, file, self.column.dtype, self.column.shape, self._verify)
        schema = pa.schema([pa.field(self.column.name, self._type)])
        batches = open_arrow(self._storage, file, schema, self._verify, is_column=True)
        if len(batches) != 1:
            raise DamagedFile(file.path, f"has {len(batches)} record batches, allowed is 1")
        return batches[0].column(0)

    def _empty(self) -> Any:
        if self._type is None:
            return np.empty((0, *self.column.shape), np.dtype(self.column.dtype))
        return pa.array([], self._type)

    def _join(self, parts: list[Any]) -> Any:
        if not parts:
            return self._empty()
        if len(parts) == 1:
            return parts[0]
        return np.concatenate(parts) if self._type is None else pa.concat_arrays(parts)

    def read(self, start: int = 0, stop: int | None = None) -> Any:
        """Rows from `start` up to `stop`; a view where they lie in one shard, else a copy."""
        start, stop, _ = slice(start, stop).indices(self.num_rows)
        parts = []
        if start < stop:
            first = int(np.searchsorted(self.shard_offsets, start, side="right")) - 1
            for position in range(first, self.num_shards):
                low, high = int(self.shard_offsets[position]), int(self.shard_offsets[position + 1])
                if low >= stop:
                    break
                part = self.shard(position)[max(start - low, 0) : min(stop, high) - low]
                parts.append(part if self._type is None else dictionaries.decoded(part))
        return self._join(parts)

    def take(self, rows: npt.ArrayLike) -> Any:
        """Rows by number, in the given order, repeats allowed; a copy.

        Raises
        ------
        InvalidArgument
            A number is negative or not below `num_rows`.
        """
        wanted = np.asarray(rows)
        if wanted.size == 0:
            return self._empty()
        if wanted.ndim != 1 or wanted.dtype.kind not in "iu":
            raise InvalidArgument(f"column {self.column.name}: rows must be one list of integers")
        if int(wanted.min()) < 0 or int(wanted.max()) >= self.num_rows:
            raise InvalidArgument(
                f"column {self.column.name}: rows from {wanted.min()} to {wanted.max()}, allowed are 0 to "
                f"{self.num_rows - 1}"
            )
        wanted = wanted.astype(np.int64, copy=False)
        shard_of = np.searchsorted(self.shard_offsets, wanted, side="right") - 1
        used = np.unique(shard_of)
        if len(used) == 1:
            return self._take_one(int(used[0]), wanted)
        if self._type is None:
            out = np.empty((len(wanted), *self.column.shape), np.dtype(self.column.dtype))
            for position in used:
                here = shard_of == position
                out[here] = self._take_one(int(position), wanted[here])
            return out
        order = np.argsort(shard_of, kind="stable")
        joined = pa.concat_arrays([self._take_one(int(p), wanted[shard_of == p]) for p in used])
        back = np.empty(len(order), np.int64)
        back[order] = np.arange(len(order))
        return joined.take(pa.array(back))

    def _take_one(self, position: int, rows: npt.NDArray[np.int64]) -> Any:
        local = rows - self.shard_offsets[position]
        shard = self.shard(position)
        if self._type is None:
            return np.take(shard, local, axis=0)
        return dictionaries.decoded(shard.take(pa.array(local)))


class TableReader(_Reader):
    """Rows of one table, over all its files.

    Attributes
    ----------
    schema
        Columns and their types.
    """

    def __init__(
        self,
        storage: Storage,
        name: str,
        schema: pa.Schema,
        files: ShardFiles,
        *,
        verify: bool = False,
    ) -> None:
        super().__init__(storage, files, verify)
        self.name = name
        self.schema = schema

    def _shard(self, position: int) -> list[pa.RecordBatch]:
        mapped: list[pa.RecordBatch] | None = self._mapped[position]
        if mapped is None:
            mapped = open_arrow(self._storage, self._files[position], self.schema, self._verify)
            self._mapped[position] = mapped
        return mapped

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Every record batch in order, without a copy."""
        for position in range(self.num_shards):
            yield from self._shard(position)

    def read(self) -> pa.Table:
        """All rows, without a copy."""
        return pa.Table.from_batches(self.batches(), schema=self.schema)
