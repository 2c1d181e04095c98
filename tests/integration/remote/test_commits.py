"""Versions on object storage: whole, once, and by one writer, whatever the network does."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shards import Column, CommitConflict, CommitFailed, CommitStateUnknown, ShardStore
from shards.__main__ import main
from shards.remote.client import Limits
from shards.remote.storage import ObjectStorage
from tests.integration.remote.conftest import LIMITS
from tests.integration.remote.proxy import Rule

ROOT = Path(__file__).resolve().parents[3]
ROWS = np.arange(1000, dtype="<i8")


@pytest.fixture
def remote(url: str) -> ShardStore:
    return ShardStore(url, storage=ObjectStorage(url, LIMITS))


def begin(store: ShardStore, rows: np.ndarray, asset: str = "documents"):
    attempt = store.begin("data", asset, shard_bytes=4096)
    attempt.column(Column("value", "npy", "<i8")).append(rows)
    attempt.column(Column("text", "arrow", arrow_type="large_string", kind="text")).append(
        pa.array([str(row) for row in rows], pa.large_string())
    )
    return attempt


def publish(store: ShardStore, rows: np.ndarray, asset: str = "documents"):
    with begin(store, rows, asset) as attempt:
        return attempt.commit(inputs={} if asset == "documents" else {"documents": 1})


def test_a_url_is_all_that_is_set(url):
    store = ShardStore(url)
    assert publish(store, ROWS).created
    assert not publish(store, ROWS).created
    assert publish(store, ROWS[:10]).version.number == 2
    again = pickle.loads(pickle.dumps(ShardStore(url, verify="full")))
    assert again.datasets() == ["data"]
    assert again.assets("data") == ["documents"]
    assert again.partitions("data", "documents") == ["all"]
    assert again.versions("data", "documents") == [1, 2]
    version = again.version("data", "documents", "all", 1)
    assert np.array_equal(version.column("value").read(), ROWS)
    assert version.column("text").take([999, 0]).to_pylist() == ["999", "0"]
    assert not again.verify(full=True).damages


def test_an_address_without_datasets_is_an_error(url, capsys):
    assert main(["verify", url]) == 2
    assert "no dataset" in capsys.readouterr().err
    publish(ShardStore(url), ROWS)
    assert main(["verify", url]) == 0


def test_pieces_are_put_down_found_and_removed(remote, url):
    pieces = remote.pieces("data", "documents", "all", "asked")
    assert pieces.get("plan") is None
    pieces.put("plan", [b"one", b"two"])
    again = ShardStore(url).pieces("data", "documents", "all", "asked")
    assert again.get("plan") == b"onetwo"
    assert again.get("other") is None
    assert remote.pieces("data", "documents", "all", "asked otherwise").get("plan") is None
    assert remote.partitions("data", "documents") == []
    again.remove()
    assert remote.storage.names(pieces.directory) == []
    assert remote.pieces("data", "documents", "all", "asked").get("plan") is None


def test_snapshots_tags_leases_and_gc(remote):
    for rows in (ROWS, ROWS[:10], ROWS[:20]):
        publish(remote, rows)
        with remote.begin_snapshot("data") as attempt:
            attempt.pin(remote.latest("data", "documents"))
            attempt.index("train", np.arange(len(rows), dtype="<u4"))
            attempt.commit()
    remote.tag("data", "first", 1)
    assert remote.tags("data") == {"first": 1}
    snapshot = remote.snapshot("data", "first")
    assert np.array_equal(snapshot.index("train"), np.arange(1000))
    with remote.lease("data", 2) as lease:
        lease.check()
        assert not remote.gc("data", keep=1, grace_seconds=0, dry_run=False).versions
    report = remote.gc("data", keep=1, grace_seconds=0, dry_run=False)
    assert set(report.versions) == {("snapshot", "all", 2), ("documents", "all", 2)}
    assert np.array_equal(remote.snapshot("data", 1).column("value").read(), ROWS)
    assert not remote.verify(full=True).damages


def test_the_commands_work_on_an_address(url, remote, tmp_path, capsys):
    for rows in (ROWS, ROWS[:10], ROWS[:20]):
        publish(remote, rows, "records")
        with remote.begin_snapshot("data") as attempt:
            attempt.pin(remote.latest("data", "records"))
            attempt.index("train", np.arange(len(rows), dtype="<u4"))
            attempt.commit()

    def run(command: str, *arguments: str) -> str:
        assert main([command, url, *arguments]) == 0
        return capsys.readouterr().out

    assert "data" in run("ls")
    assert "1000" in run("show", "data", "--version", "1")
    assert "999" in run("head", "data", "-n", "1000", "--version", "1")
    assert run("stats", "data/records")
    assert main(["diff", url, "data/records", "1", "2"]) == 1
    run("verify", "--full")
    run("tag", "data", "first", "1")
    assert "first" in run("tag", "data")
    run("gc", "data", "--keep", "1", "--grace-hours", "0")
    assert remote.versions("data", "records") == [1, 2, 3]
    run("gc", "data", "--keep", "1", "--grace-hours", "0", "--delete")
    assert remote.versions("data", "records") == [1, 3]
    run("tag", "data", "first", "--remove")
    run("export", "data", "parquet", str(tmp_path / "out"))
    assert sum(pq.read_table(path).num_rows for path in (tmp_path / "out").rglob("*.parquet")) == 20
    capsys.readouterr()
    assert main(["ls", "ftp://host/x"]) == 2
    assert "s3://BUCKET/PREFIX" in capsys.readouterr().err


def test_opening_a_numbered_snapshot_and_reading_it_lists_nothing(remote, faults):
    publish(remote, ROWS)
    with remote.begin_snapshot("data") as attempt:
        attempt.pin(remote.latest("data", "documents"))
        attempt.index("train", np.arange(len(ROWS), dtype="<u4"))
        attempt.commit()
    before = faults.count("list-type")
    snapshot = remote.snapshot("data", 1)
    snapshot.index("train")
    assert np.array_equal(snapshot.column("value").read(), ROWS)
    assert faults.count("list-type") == before


def test_a_snapshot_of_many_partitions_opens_in_their_order(remote, faults):
    for number in range(12):
        with remote.begin("data", "documents", f"p{number:02d}") as attempt:
            attempt.column(Column("value", "npy", "<i8")).append(np.full(3, number, "<i8"))
            attempt.commit()
    with remote.begin_snapshot("data") as attempt:
        for number in reversed(range(12)):
            attempt.pin(remote.latest("data", "documents", f"p{number:02d}"))
        attempt.index("train", np.arange(36, dtype="<u4"))
        attempt.commit()
    faults.rules.append(Rule("GET .*/manifests/", ["503", "refuse", "cut_body"]))
    snapshot = remote.snapshot("data", 1)
    assert np.array_equal(snapshot.column("value").read(), np.repeat(np.arange(12), 3))


@pytest.mark.parametrize("fault", ["refuse", "cut_reply", "500", "503"])
def test_commits_survive_faults_at_every_request(remote, faults, fault):
    """One fault for each distinct request of a commit: the version stands once and whole."""
    faults.rules.append(Rule("PUT .*/manifests/", [fault]))
    faults.rules.append(Rule("PUT .*manifest.json", [fault]))
    for kind in ("value.000000", "value.000001", "text.000000"):
        faults.rules += [Rule(f"PUT .*{kind}", [fault]), Rule(f"GET .*{kind}", [fault])]
    faults.rules.append(Rule("GET .*list-type", [fault]))
    assert publish(remote, ROWS).created
    assert all(rule.hits == 1 for rule in faults.rules)
    assert remote.versions("data", "documents") == [1]
    assert np.array_equal(remote.latest("data", "documents").column("value").read(), ROWS)
    assert not remote.verify(full=True).damages


def test_a_commit_of_unknown_fate_says_so_and_deletes_nothing(url, remote, faults):
    with begin(remote, ROWS) as attempt:
        attempt._catalog.storage.client.limits = Limits(30.0, 0.1, 1, 0.01)
        attempt._catalog.storage.client._opened = None
        faults.rules.append(Rule("PUT .*/manifests/", ["500"] * 1000))
        with pytest.raises(CommitStateUnknown):
            attempt.commit()
    faults.rules.clear()
    assert remote.storage.names(attempt.directory)
    assert remote.versions("data", "documents") == []


def test_a_store_that_cannot_be_written_fails_the_attempt(url, faults):
    store = ShardStore(url, storage=ObjectStorage(url, Limits(30.0, 0.1, 1, 0.01)))
    faults.rules.append(Rule("PUT", ["503"] * 1000))
    with pytest.raises(CommitFailed), store.begin("data", "documents"):
        pass


def test_the_second_of_two_attempts_conflicts(remote):
    with begin(remote, ROWS) as first, begin(remote, ROWS[:5]) as second:
        first.commit()
        with pytest.raises(CommitConflict):
            second.commit()
    assert remote.versions("data", "documents") == [1]
    assert not remote.verify(full=True).damages


WRITER = """
    import sys, numpy as np
    from shards import Column, CommitConflict, ShardStore
    url, writer = sys.argv[1], int(sys.argv[2])
    store = ShardStore(url)
    done = 0
    while done < 4:
        try:
            with store.begin("data", "documents") as attempt:
                attempt.column(Column("value", "npy", "<i8")).append(np.full(100 + done, writer, "<i8"))
                attempt.commit(metadata={"writer": writer})
            done += 1
        except CommitConflict:
            continue
"""


def test_processes_that_race_lose_no_version_and_share_none(url, remote, faults):
    faults.rules.append(Rule("PUT .*/manifests/", ["cut_reply", "503", "cut_reply"]))
    writers = [
        subprocess.Popen([sys.executable, "-c", textwrap.dedent(WRITER), url, str(number)], cwd=ROOT)
        for number in range(3)
    ]
    assert [writer.wait(600) for writer in writers] == [0, 0, 0]
    assert remote.versions("data", "documents") == list(range(1, 13))
    seen = set()
    for number in range(1, 13):
        version = remote.version("data", "documents", "all", number)
        values = version.column("value").read()
        assert set(values.tolist()) == {version.metadata["writer"]}
        seen.add((version.metadata["writer"], len(values)))
    assert seen == {(writer, 100 + done) for writer in range(3) for done in range(4)}


def test_a_killed_writer_leaves_no_version_and_gc_removes_the_rest(url, remote):
    code = WRITER.replace(
        "attempt.commit(metadata", "import os, signal; os.kill(os.getpid(), 9)  # (metadata"
    )
    code = code.replace("import os, signal", "attempt._read_back(attempt._writers[0]); import os, signal")
    killed = subprocess.run([sys.executable, "-c", textwrap.dedent(code), url, "0"], cwd=ROOT, check=False)
    assert killed.returncode == -9
    assert remote.versions("data", "documents") == []
    assert publish(remote, ROWS).created
    report = remote.gc("data", grace_seconds=0, dry_run=False)
    assert len(report.attempts) == 1
    assert re.fullmatch("data/documents/data/all/[^/]+", report.attempts[0])
    assert not remote.verify(full=True).damages
