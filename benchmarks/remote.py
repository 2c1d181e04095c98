"""A loader over shards on an S3 server of this machine, cold and warm, beside a plain parallel download.

The server is moto in a process of its own; it is slow and shares the processors, which is the same for all.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import Suite
from shards import Column, ShardStore
from shards.remote import ObjectStorage

BUCKET = "shards-bench"
ROW_BYTES = 128 * 128 * 3
SHARD_BYTES = 8_000_000  # one request each: this server reads the whole object for every range


@contextmanager
def server() -> Iterator[None]:
    """An S3 server with one bucket, named by the environment while it runs."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 60
        request = urllib.request.Request(f"http://127.0.0.1:{port}/{BUCKET}", method="PUT")
        while True:
            try:
                urllib.request.urlopen(request, timeout=10).close()
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
        os.environ.update(
            AWS_ENDPOINT_URL=f"http://127.0.0.1:{port}",
            AWS_ACCESS_KEY_ID="bench",
            AWS_SECRET_ACCESS_KEY="bench",
            AWS_REGION="us-east-1",
        )
        yield
    finally:
        process.kill()
        process.wait()


def write(root: str, rows: np.ndarray[Any, Any]) -> None:
    """Write a dataset of one column and one split."""
    store = ShardStore(root)
    with store.begin("data", "records", shard_bytes=SHARD_BYTES) as attempt:
        attempt.column(Column("image", "npy", "|u1", (ROW_BYTES,))).append(rows)
        version = attempt.commit().version
    with store.begin_snapshot("data") as snapshot:
        snapshot.pin(version)
        snapshot.index("train", np.arange(len(rows), dtype="<u4"))
        snapshot.commit()


def main() -> int:
    """Run the benchmark."""
    from loaders import ShardDataset

    suite = Suite.from_command_line("remote", __doc__)
    num_rows = (96 << 20 if suite.quick else 512 << 20) // ROW_BYTES
    rows = np.random.default_rng(0).integers(0, 256, (num_rows, ROW_BYTES), dtype=np.uint8)
    cache, plain = suite.directory / "cache", suite.directory / "plain"
    local = suite.directory / f"local-{num_rows}-{SHARD_BYTES}"
    if not (local / "data" / "snapshot").exists():
        write(str(local), rows)
    with server():
        url = f"s3://{BUCKET}/{num_rows}"
        write(url, rows)
        del rows

        def read(path: str | Path, **options: Any) -> None:
            dataset = ShardDataset(path, lease_seconds=None, **options)
            seen = sum(len(batch["image"]) for batch in dataset.loader(256, shuffle="block", num_threads=1))
            assert seen == num_rows

        def cold() -> None:
            shutil.rmtree(cache, ignore_errors=True)
            read(f"{url}/data", cache=cache, cache_bytes=8 << 30)

        def download() -> None:
            shutil.rmtree(plain, ignore_errors=True)
            plain.mkdir()
            storage = ObjectStorage(url)
            files = ShardStore(url, storage=storage).snapshot("data").column("image")

            def fetch(number: int) -> None:
                file = files.file(number)
                with (plain / str(number)).open("wb") as target:
                    for part in storage.client.store.get(file.path).stream(min_chunk_size=1 << 20):
                        target.write(part)

            with ThreadPoolExecutor(8) as pool:
                list(pool.map(fetch, range(files.num_shards)))

        suite.leg(
            "one epoch in blocks, cold cache",
            unit="samples/s",
            amount=num_rows,
            ours=cold,
            limit=download,
            goals={"vs_limit": ">= 0.9"},
        )
        suite.leg(
            "one epoch in blocks, warm cache; the limit reads a local store",
            unit="samples/s",
            amount=num_rows,
            ours=lambda: read(f"{url}/data", cache=cache, cache_bytes=8 << 30),
            limit=lambda: read(local / "data"),
            goals={"vs_limit": ">= 0.9"},
        )
    return suite.finish()


if __name__ == "__main__":
    sys.exit(main())
