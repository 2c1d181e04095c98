"""In which pieces files are written: whole blocks from the start of the file on, whatever is appended."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from shards import Column, ShardStore
from shards.storage import HUGE_PAGE_BYTES, LocalFile, LocalStorage
from shards.writers import BLOCK_BYTES


class Recording(LocalStorage):
    """A directory that remembers how long each write to each file was."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.writes: dict[str, list[int]] = {}

    def create(self, path: str) -> LocalFile:
        """Create a file."""
        writes = self.writes.setdefault(Path(path).name, [])

        class File(LocalFile):
            def write(self, data: Any) -> int:
                writes.append(memoryview(data).nbytes)
                return super().write(data)

        created = super().create(path)
        file = File(created._descriptor)
        created._descriptor = -1
        return file


@pytest.mark.parametrize(
    ("column", "block_bytes"),
    [
        (Column("wide", "npy", "|u1", (1000,)), HUGE_PAGE_BYTES),
        (Column("narrow", "npy", "<f8"), BLOCK_BYTES),
        (Column("text", "arrow", arrow_type="large_string", kind="text"), HUGE_PAGE_BYTES),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_every_write_but_the_last_is_of_whole_blocks(
    tmp_path: Path, column: Column, block_bytes: int
) -> None:
    random = np.random.default_rng(0)
    size = 9000
    if column.encoding == "arrow":
        rows: Any = pa.array([random.bytes(500).hex() for _ in range(size)], pa.large_string())
    elif column.shape:
        rows = random.integers(0, 256, (size, 1000), dtype="|u1")
    else:
        rows = np.repeat(random.random(size), 20)
    storage = Recording(tmp_path)
    store = ShardStore(tmp_path, storage=storage)
    with store.begin("demo", "records", shard_bytes=5 << 20) as attempt:
        writer, start = attempt.column(column), 0
        while start < len(rows):
            stop = start + int(random.choice([1, 7, 300, 4000]))
            writer.append(rows[start:stop])
            start = stop
        version = attempt.commit().version
    found = version.column(column.name).read()
    assert found.equals(rows) if column.encoding == "arrow" else np.array_equal(found, rows)
    assert not store.verify(full=True).damages
    columns = {name: writes for name, writes in storage.writes.items() if column.name in name}
    assert len(columns) == version.column(column.name).num_shards
    assert any(len(writes) > 1 for writes in columns.values())
    for writes in columns.values():
        assert all(length % block_bytes == 0 for length in writes[:-1]), writes
