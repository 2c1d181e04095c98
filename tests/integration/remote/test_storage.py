"""The operations of the format on a real S3 server, with faults in between."""

from __future__ import annotations

import contextlib
import errno
import multiprocessing
import os
import pickle
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest
import xxhash

from shards.errors import DamagedFile, NotFound, StorageError
from shards.remote.client import Limits
from shards.remote.spool import PART_BYTES
from shards.remote.storage import ObjectStorage
from shards.remote.transfer import FEW, RANGE_BYTES
from tests.integration.remote.conftest import LIMITS
from tests.integration.remote.proxy import Rule

BIG = os.urandom(2 * RANGE_BYTES + 4321)


def write(storage: ObjectStorage, path: str, data: bytes, head: bytes = b"") -> None:
    with contextlib.closing(storage.create(path)) as file:
        file.write(bytes(len(head)) + data)
        file.write_at(0, head)
        file.sync()


@pytest.mark.parametrize("data", [b"x", b"small" * 100, BIG], ids=["byte", "small", "big"])
def test_bytes_come_back(storage, data):
    write(storage, "a/b/f", data, head=b"head")
    whole = b"head" + data
    assert storage.map("a/b/f", len(whole)) == whole
    assert b"".join(storage.pieces("a/b/f", len(whole))) == whole
    assert storage.read("a/b/f", len(whole)) == whole


def test_of_many_downloads_some_come_in_order_and_are_hashed_as_they_come(storage, faults, tmp_path):
    write(storage, "f", BIG)
    rule = Rule("GET .*/f$", ["cut_body"] * 4)
    faults.rules.append(rule)

    def download(number: int) -> str | None:
        with (tmp_path / str(number)).open("wb") as file:
            return storage.transfer.download("f", len(BIG), file.fileno())

    with ThreadPoolExecutor(3 * FEW) as pool:
        hashes = list(pool.map(download, range(3 * FEW)))
    assert rule.hits == 4
    assert all((tmp_path / str(number)).read_bytes() == BIG for number in range(3 * FEW))
    assert set(hashes) <= {None, xxhash.xxh3_128_hexdigest(BIG)}
    assert hashes.count(None) >= FEW
    assert len(set(hashes)) == 2
    assert download(0) is None


def test_a_file_without_sync_is_not_there(storage):
    file = storage.create("a/f")
    file.write(b"data")
    file.close()
    assert storage.names("a") == []


def test_names_are_files_and_prefixes(storage):
    for path in ("d/one", "d/with%3acolon/x", "d/e/f/deep", "dx/other"):
        write(storage, path, b"1")
    assert sorted(storage.names("d")) == ["e", "one", "with%3acolon"]
    assert storage.names("d/with%3acolon") == ["x"]
    assert storage.read("d/with%3acolon/x", 1) == b"1"
    assert storage.sizes("d") == {"one": 1}
    assert sorted(storage.names("")) == ["d", "dx"]
    assert storage.names("nothing") == []


def test_what_is_absent_or_of_another_size_is_told(storage):
    write(storage, "f", b"12345")
    with pytest.raises(NotFound):
        storage.read("g", 10)
    with pytest.raises(DamagedFile, match="5 bytes, allowed are 4"):
        storage.read("f", 4)
    with pytest.raises(DamagedFile, match="missing"):
        storage.map("g", 10)
    for wrong in (4, 6, RANGE_BYTES + 1):
        with pytest.raises(DamagedFile, match="has 5 bytes"):
            storage.map("f", wrong)
    storage.remove("f")
    storage.remove("f")
    with pytest.raises(FileNotFoundError):
        storage.age_seconds("f")


def test_age_is_that_of_the_newest(storage):
    write(storage, "d/f", b"1")
    assert -5 < storage.age_seconds("d/f") < 60
    assert -5 < storage.age_seconds("d") < 60


def test_replace_overwrites_and_link_does_not(storage):
    write(storage, "a", b"one")
    write(storage, "b", b"two")
    storage.link("a", "target")
    with pytest.raises(FileExistsError):
        storage.link("b", "target")
    assert storage.read("target", 3) == b"one"
    storage.replace("b", "target")
    assert storage.read("target", 3) == b"two"


@pytest.mark.parametrize("fault", ["refuse", "cut_reply", "500", "503"])
@pytest.mark.parametrize("times", [1, 3])
def test_a_link_is_made_once_whatever_happens_to_the_reply(storage, faults, fault, times):
    write(storage, "a", b"mine")
    storage.make_directory("")
    rule = Rule("PUT .*/target", [fault] * times)
    faults.rules.append(rule)
    storage.link("a", "target")
    assert rule.hits == times
    assert storage.read("target", 9) == b"mine"


def test_a_link_whose_reply_comes_after_the_client_gave_up_is_made_once(url, faults):
    storage = ObjectStorage(url, Limits(1.0, 6.0, 2, 0.01))
    write(storage, "a", b"mine")
    storage.make_directory("")
    rule = Rule("PUT .*/target", ["delay"], delay_seconds=1.5)
    faults.rules.append(rule)
    storage.link("a", "target")
    assert rule.hits == 1
    assert storage.read("target", 9) == b"mine"
    assert faults.count("PUT .*/target") > 1


@pytest.mark.parametrize("fault", ["refuse", "cut_reply", "500", "503"])
def test_a_link_that_lost_its_reply_to_another_writer_says_so(storage, faults, fault):
    write(storage, "a", b"mine")
    write(storage, "b", b"theirs")
    storage.make_directory("")
    storage.link("b", "target")
    faults.rules.append(Rule("PUT .*/target", [fault]))
    with pytest.raises(FileExistsError):
        storage.link("a", "target")
    assert storage.read("target", 9) == b"theirs"


def test_a_store_that_answers_no_more_is_an_error(storage, faults):
    write(storage, "a", b"mine")
    storage.make_directory("")
    faults.rules.append(Rule("PUT .*/target", ["500"] * 1000))
    impatient = ObjectStorage(storage.client.url, Limits(30.0, 0.2, 1, 0.01))
    with pytest.raises(StorageError, match="conditional write"):
        impatient.link("a", "target")


@pytest.mark.parametrize(("method", "least"), [("GET", 0.5), ("PUT", 1.0)])
def test_pauses_between_tries_double(url, faults, method, least):
    """Those of this project; the library, which makes pauses at random, is told to try once."""
    storage = ObjectStorage(url, Limits(30.0, 0.0, tries=6 if method == "GET" else 1, backoff_seconds=0.1))
    write(storage, "f", b"mine")
    storage.make_directory("")
    faults.rules.append(Rule(f"{method} .*/(f|target)$", ["503"] * 4))
    if method == "GET":
        assert storage.read("f", 9) == b"mine"
    else:
        storage.link("f", "target")
        assert storage.read("target", 9) == b"mine"
    pauses = faults.pauses(f"{method} .*/{'f' if method == 'GET' else 'target'}$")[:4]
    assert all(pause >= least * 0.1 * 2**number for number, pause in enumerate(pauses)), pauses
    assert len(pauses) == 4


def test_one_of_many_writers_wins(url):
    stores = [ObjectStorage(url, LIMITS) for _ in range(8)]
    for number, storage in enumerate(stores):
        write(storage, f"draft{number}", b"%d" % number)

    def link(number: int) -> bool:
        try:
            stores[number].link(f"draft{number}", "target")
        except FileExistsError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = [number for number, mine in enumerate(pool.map(link, range(8))) if mine]
    assert len(won) == 1
    assert stores[0].read("target", 9) == b"%d" % won[0]


def test_a_server_that_ignores_conditions_is_refused(storage, faults):
    faults.rules.append(Rule("PUT .*/_probes/", ["unconditional"]))
    with pytest.raises(StorageError, match="ignores conditional writes"):
        storage.make_directory("")


def test_parts_and_ranges_go_side_by_side(url, faults):
    """Each of three waits until all three are under way; one after the other they would never be."""
    storage = ObjectStorage(url, Limits(30.0, 60.0, 3, 0.01))
    put, get = Rule("PUT .*/f\\?.*partNumber", ["meet"] * 3), Rule("GET .*/g$", ["meet"] * 3)
    faults.rules += [put, get]
    write(storage, "f", os.urandom(2 * PART_BYTES + 1))
    write(storage, "g", BIG)
    assert storage.map("g", len(BIG)) == BIG
    assert not put.meeting.broken
    assert not get.meeting.broken
    assert (put.hits, get.hits) == (3, 3)
    assert faults.count("GET .*/g$") == faults.count("PUT .*/f\\?") == 3


@pytest.mark.parametrize("fault", ["refuse", "cut_reply", "cut_body", "500", "503", "delay"])
def test_transfers_survive_faults(storage, faults, fault):
    put, get = Rule("PUT .*/f(\\?|$)", [fault] * 3, 0.2), Rule("GET .*/f$", [fault] * 3, 0.2)
    post = Rule("POST .*/f\\?", [fault] * 2, 0.2)
    faults.rules += [put, get, post]
    write(storage, "f", BIG)
    assert storage.map("f", len(BIG)) == BIG
    assert b"".join(storage.pieces("f", len(BIG))) == BIG
    assert put.hits >= 2
    assert get.hits >= 3
    assert post.hits >= 1


def test_wrong_credentials_are_told_at_once(storage, faults):
    faults.rules.append(Rule("", ["403"] * 1000))
    for act in (
        lambda: storage.names("d"),
        lambda: storage.read("f", 1),
        lambda: storage.map("f", 1),
        lambda: storage.remove("f"),
        lambda: write(storage, "f", b"1"),
        lambda: storage.make_directory("d"),
    ):
        before = len(faults.seen)
        with pytest.raises(StorageError, match="credentials") as caught:
            act()
        assert caught.value.errno == errno.EACCES
        assert len(faults.seen) - before <= 2  # a probe that was not written is removed, too


def test_absent_buckets_are_told_at_once(proxy, faults):
    absent = ObjectStorage("s3://no-such-bucket-here/prefix", LIMITS)
    for act in (lambda: write(absent, "f", b"1"), lambda: absent.names("d"), lambda: absent.sizes("")):
        before = len(faults.seen)
        with pytest.raises(FileNotFoundError, match=r"no-such-bucket-here.*bucket"):
            act()
        assert len(faults.seen) == before + 1


def test_pickles_and_crosses_to_spawned_processes(storage):
    write(storage, "f", b"12345")
    assert pickle.loads(pickle.dumps(storage)).read("f", 5) == b"12345"
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(storage.read, ("f", 5)) == b"12345"
        pool.close()  # a process that ignores SIGTERM, as it may inherit, would not be ended by leaving
        pool.join()


@pytest.mark.parametrize(
    "act",
    [
        lambda storage: storage.read("f", 5),
        lambda storage: storage.map("big", len(BIG)),
        lambda storage: list(storage.pieces("big", len(BIG))),
    ],
    ids=["read", "map", "pieces"],
)
def test_a_forked_process_says_what_to_do_instead_of_waiting_for_its_parent_s_threads(storage, act):
    write(storage, "f", b"12345")
    write(storage, "big", BIG)
    assert storage.map("big", len(BIG)) == BIG
    read, written = os.pipe()
    child = os.fork()
    if not child:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(60)  # ends it where it waits for ever
        try:
            act(storage)
        except StorageError as error:
            os.write(written, str(error).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(written)
    assert b"forkserver" in os.read(read, 1000)
    os.close(read)
