"""A new object: written to a local file, whose head may still change, and sent whole when it is synced."""

from __future__ import annotations

import os
import tempfile
from typing import Any

from shards.remote.client import Client
from shards.storage import Buffer, LocalFile

PART_BYTES = 16 << 20
"""Part of a multipart upload; larger objects are sent in such parts, several at once."""
PARALLEL_PARTS = 8


class SpooledFile:
    """A new object. Nothing of it is in the store before `sync`, everything is after it.

    Needs as much room below `TMPDIR` as the object has bytes; the local file has no name, so that nothing is
    left of it when the process dies.
    """

    def __init__(self, client: Client, path: str) -> None:
        self._client = client
        self._path = path
        self._spool = tempfile.TemporaryFile(prefix="shards-")  # noqa: SIM115 - closed by close
        self._file = LocalFile(os.dup(self._spool.fileno()))

    def write(self, data: Buffer) -> int:
        """Append all bytes."""
        return self._file.write(data)

    def write_at(self, offset: int, data: bytes) -> None:
        """Overwrite bytes at an offset."""
        self._file.write_at(offset, data)

    def sync(self) -> None:
        """Send the object; repeated as a whole when a part of it or the last reply is lost."""
        size_bytes = os.fstat(self._spool.fileno()).st_size

        def send(library: Any, store: Any) -> None:
            self._spool.seek(0)
            if size_bytes <= PART_BYTES:
                library.put(store, self._path, self._spool.read(), use_multipart=False)
            else:
                library.put(
                    store,
                    self._path,
                    self._spool,
                    use_multipart=True,
                    chunk_size=PART_BYTES,
                    max_concurrency=PARALLEL_PARTS,
                )

        self._client.call(self._path, send)

    def close(self) -> None:
        """Drop the local file; harmless when closed."""
        self._file.close()
        self._spool.close()
