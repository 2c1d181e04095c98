"""The same calls on the other clouds.

Azure: Microsoft's emulator, when npm has brought it. Google: its XML interface is that of S3 but for the
condition of a write, which the proxy translates for the S3 server; no emulator of it comes in a package (that
of PyPI speaks the JSON interface alone).
"""

from __future__ import annotations

import contextlib
import json
import os
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from loaders import ShardDataset
from shards import Column, CommitConflict, DamagedFile, ShardStore
from shards.remote.spool import PART_BYTES
from shards.remote.storage import ObjectStorage
from tests.integration.remote import azurite, server
from tests.integration.remote.conftest import LIMITS

pytestmark = pytest.mark.xdist_group("clouds")
BIG = os.urandom(PART_BYTES + 4321)
ROWS = np.arange(20_000, dtype="<i8")


@pytest.fixture(scope="module")
def emulator() -> Iterator[azurite.Azurite]:
    path = azurite.program()
    if path is None:
        pytest.skip(f"needs the emulator of Azure Blob Storage: {azurite.INSTALL}")
    emulator = azurite.Azurite(path)
    yield emulator
    emulator.stop()


@pytest.fixture
def azure(emulator: azurite.Azurite, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("AZURE_STORAGE_ENDPOINT", emulator.endpoint)
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", azurite.ACCOUNT)
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", azurite.KEY)
    return f"az://{azurite.CONTAINER}/{uuid.uuid4().hex}"


@pytest.fixture
def google(proxy, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("GOOGLE_BASE_URL", f"http://127.0.0.1:{proxy.port}")
    unsigned = {"disable_oauth": True, "client_email": "", "private_key": "", "private_key_id": ""}
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT_KEY", json.dumps(unsigned))
    return f"gs://{server.BUCKET}/{uuid.uuid4().hex}"


@pytest.fixture(params=["azure", "google"])
def cloud_url(request: pytest.FixtureRequest) -> str:
    url: str = request.getfixturevalue(request.param)
    return url


def test_the_operations_of_the_format(cloud_url):
    storage = ObjectStorage(cloud_url, LIMITS)
    storage.make_directory("")  # asks whether conditional writes are honoured
    for path, data in (("a/b", b"small"), ("a/big", BIG)):
        with contextlib.closing(storage.create(path)) as file:
            file.write(data)
            file.sync()
        assert storage.map(path, len(data)) == data
        assert b"".join(storage.pieces(path, len(data))) == data
    assert sorted(storage.names("a")) == ["b", "big"]
    assert storage.names("") == ["a"]
    assert storage.sizes("a") == {"b": 5, "big": len(BIG)}
    assert -5 < storage.age_seconds("a/b") < 60
    with pytest.raises(DamagedFile, match="has 5 bytes"):
        storage.map("a/b", 6)
    with pytest.raises(DamagedFile, match="missing"):
        storage.map("a/c", 6)
    storage.remove("a/b")
    storage.remove("a/b")
    assert storage.names("a") == ["big"]


def test_one_of_many_writers_wins(cloud_url):
    storage = ObjectStorage(cloud_url, LIMITS)
    for number in range(8):
        storage._put(f"draft{number}", b"%d" % number)

    def link(number: int) -> bool:
        try:
            storage.link(f"draft{number}", "target")
        except FileExistsError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = [number for number, mine in enumerate(pool.map(link, range(8))) if mine]
    assert len(won) == 1
    assert storage.read("target", 9) == b"%d" % won[0]
    storage.link(f"draft{won[0]}", "target")  # its own bytes: the reply was lost
    storage.replace("draft7", "target")
    assert storage.read("target", 9) == b"7"


def test_versions_snapshots_tags_leases_gc_and_a_loader(cloud_url, tmp_path):
    store = ShardStore(cloud_url)
    for rows in (ROWS, ROWS[::-1]):
        with store.begin("data", "records", shard_bytes=40_000) as attempt:
            attempt.column(Column("value", "npy", "<i8")).append(rows)
            attempt.commit()
        with store.begin_snapshot("data") as snapshot:
            snapshot.pin(store.latest("data", "records"))
            snapshot.index("train", np.arange(len(rows), dtype="<u4"))
            snapshot.commit()
    with store.begin("data", "records") as late, store.begin("data", "records") as first:
        for attempt in (late, first):
            attempt.column(Column("value", "npy", "<i8")).append(ROWS[: 10 if attempt is late else 20])
        first.commit()
        with pytest.raises(CommitConflict):
            late.commit()
    store.tag("data", "first", 1)
    dataset = ShardDataset(f"{cloud_url}/data", version="first", cache=tmp_path, lease_seconds=None)
    seen = np.concatenate([np.asarray(batch["value"]) for batch in dataset.loader(512, shuffle="block")])
    assert np.array_equal(np.sort(seen), ROWS)
    assert not np.array_equal(seen, ROWS)
    with store.lease("data", 2):
        assert not store.gc("data", keep=1, grace_seconds=0, dry_run=False).versions
    store.untag("data", "first")
    assert set(store.gc("data", keep=1, grace_seconds=0, dry_run=False).versions) == {
        ("snapshot", "all", 1),
        ("records", "all", 1),
    }
    assert not store.verify(full=True).damages
