"""Fetching over real sockets: redirects, retries, limits, cache, TLS; files below a root; object stores."""

from __future__ import annotations

import http.server
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from assets.spec.images import UrlPolicy
from assets.vision.errors import BuildError, FetchError
from assets.vision.sources.cache import ContentCache, cache_directory
from assets.vision.sources.files import RootedFiles
from assets.vision.sources.http import UrlFetcher
from assets.vision.sources.objects import ObjectFetcher


class PictureServer(http.server.ThreadingHTTPServer):
    """Answers by path and counts."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: Counter[str] = Counter()
        self.under_way = self.most_under_way = 0
        self.lock = threading.Lock()

    def url(self, path: str) -> str:
        return f"http://localhost:{self.server_port}{path}"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: PictureServer

    def log_message(self, format: str, *args: object) -> None:
        pass

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        with self.server.lock:
            self.server.asked[self.path] += 1
            count = self.server.asked[self.path]
        self.respond(self.path, count)

    def respond(self, path: str, count: int) -> None:
        if path == "/flaky" and count < 3:
            self.answer(503, Retry_After="0")
        elif path == "/short" and count < 2:
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"only this")
            self.close_connection = True
        elif path == "/gone":
            self.answer(404)
        elif path == "/forbidden":
            self.answer(403)
        elif path == "/down":
            self.answer(500)
        elif path == "/large":
            self.answer(200, bytes(100_000))
        elif path == "/endless":
            self.send_response(200)
            self.end_headers()
            self.close_connection = True
            for _ in range(200):
                self.wfile.write(bytes(1000))
        elif path == "/drip":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.close_connection = True
            for _ in range(100):
                self.wfile.write(b"x")
                self.wfile.flush()
                time.sleep(0.1)
        elif path == "/moved":
            self.answer(302, Location="/whole")
        elif path == "/moved-inside":
            self.answer(302, Location="http://127.0.0.1/secret")
        elif path == "/moved-to-metadata":
            self.answer(301, Location="http://169.254.169.254/latest/meta-data/")
        elif path == "/loop":
            self.answer(302, Location="/loop")
        elif path == "/slow":
            with self.server.lock:
                self.server.under_way += 1
                self.server.most_under_way = max(self.server.most_under_way, self.server.under_way)
            time.sleep(0.05)
            with self.server.lock:  # before the answer, at which the next request may come
                self.server.under_way -= 1
            self.answer(200, b"slow")
        elif self.headers.get("If-None-Match") == '"tag"':
            self.answer(304, ETag='"tag"')
        else:
            self.answer(200, b"whole picture", ETag='"tag"')


@pytest.fixture
def server() -> Iterator[PictureServer]:
    with PictureServer() as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def fetcher(cache: ContentCache | None = None, **policy: object) -> UrlFetcher:
    settings = {"hosts": ["localhost"], "networks": ["127.0.0.0/8", "::1/128"], "retries": 3, **policy}
    return UrlFetcher(UrlPolicy.model_validate(settings), cache, first_pause_seconds=0.01)


def refused(read: object, *arguments: object) -> str:
    with pytest.raises(FetchError) as caught:
        read(*arguments)  # type: ignore[operator]
    return caught.value.reason


def test_passing_errors_are_retried(server: PictureServer) -> None:
    assert fetcher().read(server.url("/flaky"), 1000) == b"whole picture"
    assert fetcher().read(server.url("/short"), 1000) == b"whole picture"
    assert server.asked == {"/flaky": 3, "/short": 2}


def test_lasting_errors_are_not(server: PictureServer) -> None:
    assert refused(fetcher().read, server.url("/gone"), 1000) == "not_found"
    assert refused(fetcher().read, server.url("/forbidden"), 1000) == "fetch_failed"
    assert refused(fetcher().read, server.url("/down"), 1000) == "fetch_failed"
    assert server.asked == {"/gone": 1, "/forbidden": 1, "/down": 4}


def test_sizes_are_capped_with_and_without_a_declared_length(server: PictureServer) -> None:
    assert refused(fetcher().read, server.url("/large"), 5000) == "too_many_bytes"
    assert refused(fetcher().read, server.url("/endless"), 5000) == "too_many_bytes"


def test_a_server_that_drips_is_left(server: PictureServer) -> None:
    assert refused(fetcher(timeout_seconds=0.3, retries=0).read, server.url("/drip"), 5000) == "fetch_failed"


def test_redirects_are_followed_and_checked(server: PictureServer) -> None:
    assert fetcher().read(server.url("/moved"), 1000) == b"whole picture"
    assert refused(fetcher().read, server.url("/moved-inside"), 1000) == "refused"
    assert refused(fetcher().read, server.url("/moved-to-metadata"), 1000) == "refused"
    assert refused(fetcher().read, server.url("/loop"), 1000) == "fetch_failed"


def test_a_host_is_not_asked_more_at_once_than_declared(server: PictureServer) -> None:
    polite = fetcher(per_host=3)
    with ThreadPoolExecutor(12) as pool:
        list(pool.map(lambda n: polite.read(server.url("/slow"), 1000), range(24)))
    assert server.most_under_way <= 3


def test_the_cache_asks_only_whether_it_changed(server: PictureServer, tmp_path: Path) -> None:
    url = server.url("/picture")
    assert fetcher(ContentCache(tmp_path)).read(url, 1000) == b"whole picture"
    assert fetcher(ContentCache(tmp_path)).read(url, 1000) == b"whole picture"
    assert server.asked["/picture"] == 1, "a fresh entry needs no request"
    stale = ContentCache(tmp_path, fresh_seconds=0)
    assert fetcher(stale).read(url, 1000) == b"whole picture"
    assert server.asked["/picture"] == 2


def test_a_damaged_cache_is_fetched_again(server: PictureServer, tmp_path: Path) -> None:
    url = server.url("/picture")
    fetcher(ContentCache(tmp_path)).read(url, 1000)
    for path in (tmp_path / "contents").iterdir():
        path.write_bytes(b"something else")
    assert fetcher(ContentCache(tmp_path)).read(url, 1000) == b"whole picture"


def test_the_cache_is_bounded(tmp_path: Path) -> None:
    cache = ContentCache(tmp_path)
    for number in range(10):
        cache.put(f"http://a/{number}", os.urandom(1000), "", "")
    ContentCache(tmp_path, max_bytes=3500)
    assert len(list((tmp_path / "contents").iterdir())) == 3


@pytest.fixture
def root(tmp_path: Path) -> Path:
    inside = tmp_path / "root"
    (inside / "deep").mkdir(parents=True)
    (inside / "deep" / "a.png").write_bytes(b"inside")
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "root-beside").mkdir()
    (tmp_path / "root-beside" / "x").write_bytes(b"secret")
    (inside / "out").symlink_to(tmp_path / "secret")
    (inside / "out-directory").symlink_to(tmp_path)
    (inside / "link").symlink_to("deep/a.png")
    (inside / "loop").symlink_to("loop")
    os.mkfifo(inside / "pipe")
    return inside


def test_the_cache_is_beside_a_root_that_can_be_written_else_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SHARDS_PICTURE_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    of_user = tmp_path / "home/.cache/shardmill/picture-cache"
    assert cache_directory("data/shards") == of_user, "there is no directory `data`"
    (tmp_path / "data").mkdir()
    assert cache_directory("data/shards") == tmp_path / "data/picture-cache"
    assert cache_directory("s3://bucket/shards") == of_user
    with unprivileged():
        assert cache_directory("/shards") == of_user
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/cache/me")
    assert cache_directory("gs://bucket/shards") == Path("/var/cache/me/shardmill/picture-cache")
    monkeypatch.setenv("SHARDS_PICTURE_CACHE", "/pictures")
    assert cache_directory("data/shards") == cache_directory("s3://bucket/shards") == Path("/pictures")
    monkeypatch.setenv("SHARDS_PICTURE_CACHE", "s3://bucket/pictures")
    with pytest.raises(BuildError, match="SHARDS_PICTURE_CACHE: expected a directory"):
        cache_directory("data/shards")


@contextmanager
def unprivileged() -> Iterator[None]:
    """Be a user who is not root for the length of a block."""
    user = os.geteuid()
    os.seteuid(user or 65_534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_files_below_the_root_are_read(root: Path) -> None:
    files = RootedFiles(str(root))
    for path in ("deep/a.png", "./deep//a.png", "link"):
        assert files.read(path, 100) == b"inside"


@pytest.mark.parametrize(
    "path",
    [
        "../secret", "deep/../../secret", "/etc/passwd", "out", "out-directory/secret", "deep/..", "loop",
        "pipe", "deep", ".", "", "../root-beside/x", "a\x00b", "//etc/passwd", "deep/../../root-beside/x",
        "out-directory/root-beside/x", "x" * 5000,
    ],
)  # fmt: skip
def test_paths_that_lead_out_are_refused(root: Path, path: str) -> None:
    assert refused(RootedFiles(str(root)).read, path, 100) == "refused"


def test_files_that_are_not_there_or_too_large(root: Path) -> None:
    files = RootedFiles(str(root))
    assert refused(files.read, "deep/b.png", 100) == "not_found"
    assert refused(files.read, "deep/a.png/b", 100) == "not_found"
    assert refused(files.read, "deep/a.png", 3) == "too_many_bytes"
    with pytest.raises(BuildError, match="expected a directory"):
        RootedFiles(str(root / "nowhere"))


def test_objects_are_read_below_their_root(server: PictureServer) -> None:
    """Over the S3 protocol, from a server that speaks the part of it that reading an object takes."""
    options = {
        "endpoint": f"http://127.0.0.1:{server.server_port}",
        "access_key_id": "key",
        "secret_access_key": "canary-secret",
        "region": "here",
        "virtual_hosted_style_request": False,
        "client_options": {"allow_http": True},
        "retry_config": {"max_retries": 0},
    }
    objects = ObjectFetcher("s3://bucket/pictures", options)
    assert objects.read("s3://bucket/pictures/a.png", 1000) == b"whole picture"
    assert server.asked == {"/bucket/pictures/a.png": 1}
    for address in (
        "s3://bucket/other/a.png",
        "s3://bucket/pictures-beside/a.png",
        "s3://elsewhere/pictures/a.png",
        "s3://bucket/pictures/../other/a.png",
        "s3://bucket/pictures/%2e%2e/other/a.png",
        "s3://bucket/",
        "http://bucket/pictures/a.png",
    ):
        assert refused(objects.read, address, 1000) == "refused"
    assert refused(objects.read, "s3://bucket/pictures/a.png", 3) == "too_many_bytes"
    with pytest.raises(FetchError) as caught:
        ObjectFetcher(None, options).read("s3://gone/../gone", 1000)
    assert "canary" not in str(caught.value)
