"""A loader over shards of an object store, cold and warm, beside plain parallel downloads of the same bytes.

The store is a directory of shards behind nginx: it answers the GET requests of S3 by `sendfile`, takes little
from the processors that it shares with what is measured, and can give every connection a bound as object
stores have one.

The goal is measured against the fastest plain download that ends with the files on the same disk, because a
job has to have them somewhere: whole objects in eight threads, ranges, sixteen at once, or boto3's transfer
manager, whichever has the best median in this run. None of them compares a hash or gives a batch. Where
processors are the limit, a download of whole objects that keeps nothing stands beside them.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness import Suite, requires
from loaders import ShardDataset
from loaders.loader import ShardLoader
from shards import Column, ShardStore
from shards.readers import ShardFile
from shards.remote import ObjectStorage
from shards.remote.transfer import NUM_THREADS

BUCKET = "shards-bench"
ROW_BYTES = 128 * 128 * 3
SHARD_BYTES = 16 << 20
BATCH = 256
NUM_OBJECTS = 8  # whole objects that are downloaded at once
CONNECTION_MB = 40  # a second of one connection, where they are bound; object stores give 40 to 90
NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
SETTINGS = """
daemon off; pid {place}/pid; error_log {place}/errors; worker_processes 2; {user}
events {{ worker_connections 256; }}
http {{
    access_log off; sendfile on; tcp_nopush on; default_type application/octet-stream;
    client_body_temp_path {place}/b; proxy_temp_path {place}/p; fastcgi_temp_path {place}/f;
    uwsgi_temp_path {place}/u; scgi_temp_path {place}/s;
    server {{ listen 127.0.0.1:{ports[0]}; root {root}; }}
    server {{ listen 127.0.0.1:{ports[1]}; root {root}; limit_rate {rate}m; }}
}}
"""


@contextmanager
def servers(root: Path) -> Iterator[tuple[int, int]]:
    """Two ports that serve the buckets below `root`: one as fast as it goes, one bound a connection."""
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    ports = (probes[0].getsockname()[1], probes[1].getsockname()[1])
    for probe in probes:
        probe.close()
    with tempfile.TemporaryDirectory() as place:
        settings = Path(place, "nginx.conf")
        user = "user root;" if os.geteuid() == 0 else ""
        settings.write_text(
            SETTINGS.format(place=place, ports=ports, root=root, rate=CONNECTION_MB, user=user)
        )
        process = subprocess.Popen([str(NGINX), "-e", f"{place}/errors", "-c", str(settings)])
        try:
            deadline = time.monotonic() + 30
            while any(not _answers(port) for port in ports):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"nginx did not start: {Path(place, 'errors').read_text()}")
                time.sleep(0.05)
            yield ports
        finally:
            process.terminate()
            process.wait()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def use(port: int) -> None:
    """Let clients that are opened from now on talk to this port."""
    os.environ.update(
        AWS_ENDPOINT_URL=f"http://127.0.0.1:{port}",
        AWS_ACCESS_KEY_ID="bench",
        AWS_SECRET_ACCESS_KEY="bench",
        AWS_REGION="us-east-1",
    )


def write(root: Path, dataset: str, num_rows: int) -> None:
    """Write a dataset of one column and one split, unless it stands."""
    if (root / dataset / "snapshot" / "manifests" / "all").exists():
        return
    random = np.random.default_rng(0)
    store = ShardStore(root)
    with store.begin(dataset, "records", shard_bytes=SHARD_BYTES) as attempt:
        column = attempt.column(Column("image", "npy", "|u1", (ROW_BYTES,)))
        for start in range(0, num_rows, 4096):
            rows = min(4096, num_rows - start)
            column.append(random.integers(0, 256, (rows, ROW_BYTES), dtype=np.uint8))
        version = attempt.commit().version
    with store.begin_snapshot(dataset) as snapshot:
        snapshot.pin(version)
        snapshot.index("train", np.arange(num_rows, dtype="<u4"))
        snapshot.commit()


class Run:
    """What is measured, over one dataset; each answers with its samples a second."""

    def __init__(self, directory: Path, dataset: str, num_rows: int) -> None:
        self.url, self.dataset, self.num_rows = f"s3://{BUCKET}", dataset, num_rows
        self.store = directory / "store" / BUCKET
        self.cache, self.plain = directory / "cache", directory / "plain"

    def forget(self) -> None:
        """Empty the cache and the directory of the plain downloads."""
        shutil.rmtree(self.cache, ignore_errors=True)
        shutil.rmtree(self.plain, ignore_errors=True)
        self.plain.mkdir()

    def loader(self) -> ShardLoader:
        """Open the dataset through the cache."""
        path = f"{self.url}/{self.dataset}"
        dataset = ShardDataset(path, version=1, lease_seconds=None, cache=self.cache, cache_bytes=16 << 30)
        return dataset.loader(BATCH, shuffle="block")

    def warm(self) -> float:
        """One epoch from the address on."""
        start = time.perf_counter()
        return self._drain(self.loader(), start)

    def cold(self) -> float:
        """The same with an empty cache."""
        self.forget()
        return self.warm()

    def local(self) -> float:
        """One epoch in the same order over the store's own directory."""
        remote = self.loader()._feed.describe()
        start = time.perf_counter()
        dataset = ShardDataset(self.store / self.dataset, version=1, lease_seconds=None)
        return self._drain(
            dataset.loader(BATCH, shuffle="block", block_samples=remote["block_samples"]), start
        )

    def first_batch(self) -> float:
        """Seconds from the address to the first batch, with an empty cache."""
        self.forget()
        start = time.perf_counter()
        batches = iter(self.loader())
        next(batches)
        seconds = time.perf_counter() - start
        batches.close()
        return seconds

    def _drain(self, loader: ShardLoader, start: float) -> float:
        seen = sum(len(batch["image"]) for batch in loader)
        if seen != self.num_rows:
            raise RuntimeError(f"an epoch had {seen} samples, there are {self.num_rows}")
        return seen / (time.perf_counter() - start)

    def ranges(self) -> float:
        """Download as ranges, sixteen at once."""

        def fetch(storage: ObjectStorage, file: ShardFile, descriptor: int) -> None:
            storage.transfer.download(file.path, file.shard.bytes, descriptor)

        return self._download(fetch, NUM_THREADS)

    def objects(self) -> float:
        """Download whole objects in eight threads."""

        def fetch(storage: ObjectStorage, file: ShardFile, descriptor: int) -> None:
            for part in storage.client.store.get(file.path).stream(min_chunk_size=1 << 20):
                os.write(descriptor, part)

        return self._download(fetch, NUM_OBJECTS)

    def to_memory(self) -> float:
        """Download whole objects in eight threads, and keep nothing of them."""

        def fetch(storage: ObjectStorage, file: ShardFile, descriptor: int) -> None:
            for _ in storage.client.store.get(file.path).stream(min_chunk_size=1 << 20):
                pass

        return self._download(fetch, NUM_OBJECTS)

    def boto3(self) -> float:
        """Download by the transfer manager of boto3."""
        import boto3
        from boto3.s3.transfer import TransferConfig, create_transfer_manager

        self.forget()
        client = boto3.client("s3")
        start = time.perf_counter()
        files = ShardStore(self.url, storage=ObjectStorage(self.url)).snapshot(self.dataset, 1)
        shards = files.column("image")
        with create_transfer_manager(client, TransferConfig(max_concurrency=NUM_OBJECTS)) as manager:
            jobs = [
                manager.download(BUCKET, shards.file(number).path, str(self.plain / str(number)))
                for number in range(shards.num_shards)
            ]
            for job in jobs:
                job.result()
        return self.num_rows / (time.perf_counter() - start)

    def _download(self, fetch: Any, num_threads: int) -> float:
        self.forget()
        start = time.perf_counter()
        storage = ObjectStorage(self.url)
        files = ShardStore(self.url, storage=storage).snapshot(self.dataset, 1).column("image")

        def one(number: int) -> None:
            with (self.plain / str(number)).open("wb") as target:
                fetch(storage, files.file(number), target.fileno())

        with ThreadPoolExecutor(num_threads) as pool:
            list(pool.map(one, range(files.num_shards)))
        return self.num_rows / (time.perf_counter() - start)


def main() -> int:
    """Run the benchmark."""
    suite = Suite.from_command_line("remote", __doc__)
    if NGINX is None:
        suite.skip("everything", "needs nginx (Debian: nginx-light) as the server, found none")
        return suite.finish()
    megabytes = 256 if suite.quick else 1024
    runs = []
    for name, size in (("small", megabytes), ("large", 4 * megabytes)):
        num_rows = (size << 20) // ROW_BYTES
        runs.append(Run(suite.directory, f"{name}_{num_rows}", num_rows))
        write(runs[-1].store, runs[-1].dataset, num_rows)
    small, large = runs
    with servers(suite.directory / "store") as ports:
        for port, how, limit in (
            (ports[0], "as fast as it goes; the limit keeps nothing", small.to_memory),
            (ports[1], f"{CONNECTION_MB} MB/s a connection", None),
        ):
            use(port)
            suite.leg(
                f"one epoch in blocks, cold cache, server {how}",
                unit="samples/s",
                ours=small.cold,
                limit=limit,
                peers={
                    "ranges": small.ranges,
                    "objects": small.objects,
                    "boto3": requires("boto3", small.boto3),
                },
                goals={"vs_best_peer": ">= 0.9"},
            )
        use(ports[0])
        suite.leg(
            "one epoch in blocks, warm cache; the limit reads a local store",
            unit="samples/s",
            ours=small.warm,
            limit=small.local,
            goals={"vs_limit": ">= 0.9"},
        )
        suite.leg(
            "first batch, cold cache, four times the data; the limit has once the data",
            unit="s",
            ours=large.first_batch,
            limit=small.first_batch,
            goals={"vs_limit": "<= 1.2"},
            better="lower",
        )
    small.forget()
    return suite.finish()


if __name__ == "__main__":
    sys.exit(main())
