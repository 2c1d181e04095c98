"""The cache of a host on disks that are full, read-only, or another user's."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
import traceback
from pathlib import Path

import pytest
import xxhash

from loaders.errors import CacheFull, InvalidOption
from loaders.remote_cache import HostCache
from tests.disks import small_disk
from tests.unit.remote.test_cache import Source, content, files, open_descriptors

ROOT = Path(__file__).resolve().parents[3]


def test_a_full_disk_evicts_and_then_says_so(tmp_path):
    source = Source(HostCache(tmp_path, 100_000))
    for number in range(3):
        source.read(number)
    room = [2]

    def fill(data: bytes, descriptor: int) -> None:
        if len(files(source.cache)) > room[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        os.pwrite(descriptor, data, 0)

    data = content(7)
    digest = xxhash.xxh3_128_hexdigest(data)
    os.close(source.cache.open("f7", len(data), digest, lambda d: fill(data, d)))
    assert 1 < len(files(source.cache)) <= 3
    room[0] = -1
    data = content(8)
    digest = xxhash.xxh3_128_hexdigest(data)
    with pytest.raises(CacheFull, match="make room"):
        source.cache.open("f8", len(data), digest, lambda d: fill(data, d))
    assert files(source.cache) == files(source.cache, "partial") == []
    assert source.read(9) == content(9)


def test_without_room_for_names_files_are_evicted(tmp_path):
    with small_disk(tmp_path / "disk", "size=8m,nr_inodes=20") as disk:
        source = Source(HostCache(disk / "cache", 1 << 20))
        for number in range(40):
            assert source.read(number) == content(number)
        assert 1 < len(files(source.cache)) < 20


def test_a_disk_that_is_full_from_the_start_is_told_as_such(tmp_path):
    with small_disk(tmp_path / "disk", "size=1m") as disk:
        HostCache(disk / "cache")
        with contextlib.suppress(OSError), (disk / "ballast").open("wb", buffering=0) as file:
            while file.write(bytes(4096)):
                pass
        with pytest.raises(CacheFull, match="0 of the disk's 1048576 bytes are free"):
            HostCache(disk / "cache")


def check_that_it_is_only_read(directory: Path) -> None:
    """Of files 1 to 3, which are there, serve the first two; the third is cut short."""
    source = Source(HostCache(directory))
    for _ in range(2):
        assert source.read(1) == content(1)
        assert source.read(2) == content(2)
    source.cache.touch([source.cache.path(xxhash.xxh3_128_hexdigest(content(1)), 1000)])
    before = len(open_descriptors())
    for number in (3, 4):
        with pytest.raises(InvalidOption, match=f"does not hold f{number}, and user"):
            source.read(number)
    assert len(open_descriptors()) == before
    assert source.fetched == []


def fill_for_reading(directory: Path) -> None:
    """Files 1 to 3: one of this boot, one that must be compared with its hash, one cut short."""
    source = Source(HostCache(directory, 1 << 20))
    for number in (1, 2, 3):
        source.read(number)
    second, third = (source.cache.path(xxhash.xxh3_128_hexdigest(content(n)), 1000) for n in (2, 3))
    os.utime(second, (1, 1))
    os.truncate(third, 10)


def test_a_cache_on_a_read_only_disk_serves_what_it_holds(tmp_path):
    with small_disk(tmp_path / "disk", "size=1m") as disk:
        fill_for_reading(disk / "cache")
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        check_that_it_is_only_read(disk / "cache")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_cache_of_another_user_is_only_read():
    directory = Path(tempfile.mkdtemp())  # those of pytest are closed to others
    try:
        directory.chmod(0o755)
        fill_for_reading(directory / "cache")
        child = os.fork()
        if not child:
            try:
                os.setuid(65534)
                check_that_it_is_only_read(directory / "cache")
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert len(list((directory / "cache" / "files").iterdir())) == 3
    finally:
        shutil.rmtree(directory)


def test_a_really_full_disk(tmp_path):
    """On a small file system of its own, where the system lets a user mount one; else a full cache alone."""
    small = tmp_path / "small"
    small.mkdir()
    code = textwrap.dedent(f"""
        import os, sys
        sys.path.insert(0, {str(ROOT)!r})
        from tests.unit.remote.test_cache import HostCache, Source, CacheFull, content, files
        cache = HostCache({str(small)!r}, 1 << 30)
        source = Source(cache)
        for number in range(30):
            assert source.read(number, 400_000) == content(number, 400_000)
        assert files(cache, "partial") == []
        assert 1 < len(files(cache)) < 11, files(cache)
        with open({str(small)!r} + "/ballast", "wb") as file:
            try:
                while True:
                    file.write(bytes(1 << 16)); file.flush()
            except OSError:
                pass
        assert source.read(100, 400_000) == content(100, 400_000)
        try:
            source.read(101, 8_000_000)
        except CacheFull:
            pass
        else:
            raise SystemExit("no error")
        assert files(cache, "partial") == []
    """)
    mount = f"mount -t tmpfs -o size=4m none {small}"
    unshare = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
    if shutil.which("unshare") and not subprocess.run([*unshare, mount], capture_output=True).returncode:
        (tmp_path / "full.py").write_text(code)
        subprocess.run([*unshare, f"{mount} && exec {sys.executable} {tmp_path}/full.py"], check=True)
    else:
        test_a_full_disk_evicts_and_then_says_so(tmp_path / "other")
