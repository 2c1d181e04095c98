"""A loader over shards of an object store, cold and warm, beside plain parallel downloads of the same bytes.

The store is a directory of shards behind nginx: it answers the GET requests of S3 by `sendfile`, takes little
from the processors that it shares with what is measured, and can give every connection a bound as object
stores have one. For a link of 10 Gbit/s it runs in a network namespace behind a token bucket (needs root).

The goal is measured against the fastest plain download that ends with the files on the same disk, because a
job has to have them somewhere: whole objects in eight threads, ranges, sixteen at once, or boto3's transfer
manager, whichever has the best median in this run. None of them compares a hash or gives a batch. A server
that no network stands before shows what everybody costs the processors that all of them share; there is no
goal there, and a download of whole objects that keeps nothing stands beside them.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
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
LINK_GBIT = 10
CONNECTION_MB = 40  # a second of one connection, where they are bound; object stores give 40 to 90
NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
SETTINGS = """
daemon off; pid {place}/pid; error_log {place}/errors; worker_processes 2; {user}
events {{ worker_connections 256; }}
http {{
    access_log off; sendfile on; tcp_nopush on; default_type application/octet-stream;
    client_body_temp_path {place}/b; proxy_temp_path {place}/p; fastcgi_temp_path {place}/f;
    uwsgi_temp_path {place}/u; scgi_temp_path {place}/s;
    server {{ listen {host}:{ports[0]}; root {root}; }}
    server {{ listen {host}:{ports[1]}; root {root}; limit_rate {rate}m; }}
}}
"""
NEAR, FAR = "198.18.0.1", "198.18.0.2"  # of the range for benchmarks, RFC 2544
LINK = """
ip netns add {space}
ip link add {near} type veth peer name {far} netns {space}
ip addr add {NEAR}/30 dev {near}
ip link set {near} up
ip -n {space} addr add {FAR}/30 dev {far}
ip -n {space} link set {far} up
tc -n {space} qdisc add dev {far} root tbf rate {gbit}gbit burst 4m latency 50ms
"""


@contextmanager
def link() -> Iterator[list[str]]:
    """Yield a command that runs others at the far end of a link, whose address is `FAR`."""
    space = f"shards-{os.getpid()}"
    names = {"space": space, "near": f"sn{os.getpid()}", "far": f"sf{os.getpid()}", "NEAR": NEAR, "FAR": FAR}
    try:
        for line in LINK.format(**names, gbit=LINK_GBIT).strip().splitlines():
            subprocess.run(line.split(), check=True)
        yield ["ip", "netns", "exec", space]
    finally:
        subprocess.run(["ip", "netns", "delete", space], check=False)


def no_link() -> str | None:
    """Say why there can be no link."""
    if os.geteuid() != 0:
        return "needs root, to make a network namespace"
    if not (shutil.which("ip") and shutil.which("tc")):
        return "needs the commands ip and tc (Debian: iproute2)"
    return None


@contextmanager
def servers(root: Path, host: str = "127.0.0.1", prefix: Sequence[str] = ()) -> Iterator[tuple[str, str]]:
    """Yield two addresses that serve the buckets below `root`: as fast as it goes, and bound a connection."""
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    ports = (probes[0].getsockname()[1], probes[1].getsockname()[1])
    for probe in probes:
        probe.close()
    with tempfile.TemporaryDirectory() as place:
        settings = Path(place, "nginx.conf")
        user = "user root;" if os.geteuid() == 0 else ""
        settings.write_text(
            SETTINGS.format(
                place=place, host=host, ports=ports, root=root.absolute(), rate=CONNECTION_MB, user=user
            )
        )
        process = subprocess.Popen([*prefix, str(NGINX), "-e", f"{place}/errors", "-c", str(settings)])
        try:
            deadline = time.monotonic() + 30
            while any(not _answers(host, port) for port in ports):
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"nginx did not start: {Path(place, 'errors').read_text()}")
                time.sleep(0.05)
            yield f"http://{host}:{ports[0]}", f"http://{host}:{ports[1]}"
        finally:
            process.terminate()
            process.wait()


def _answers(host: str, port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((host, port)) == 0


def use(address: str) -> None:
    """Let clients that are opened from now on talk to this server."""
    os.environ.update(
        AWS_ENDPOINT_URL=address,
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
    store = suite.directory / "store"

    def cold(how: str, **more: Any) -> None:
        suite.leg(
            f"one epoch in blocks, cold cache, server {how}",
            unit="samples/s",
            ours=small.cold,
            peers={
                "ranges": small.ranges,
                "objects": small.objects,
                "boto3": requires("boto3", small.boto3),
            },
            **more,
        )

    goals = {"vs_best_peer": ">= 0.9"}
    reason = no_link()
    if reason is not None:
        suite.skip(f"one epoch in blocks, cold cache, server behind {LINK_GBIT} Gbit/s", reason)
    else:
        with link() as prefix, servers(store, FAR, prefix) as (fast, _):
            use(fast)
            cold(f"behind {LINK_GBIT} Gbit/s", goals=goals)
    with servers(store) as (fast, bound):
        use(bound)
        cold(f"{CONNECTION_MB} MB/s a connection", goals=goals)
        use(fast)
        cold("on the same processors, unbound; the limit keeps nothing", limit=small.to_memory)
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
