"""Requests to anything but declared, public hosts are refused, however they are spelled."""

from __future__ import annotations

import http.server
import ipaddress
import socket
import threading
from collections.abc import Iterator

import pytest

from assets.spec.images import UrlPolicy
from assets.vision.errors import FetchError
from assets.vision.sources.addresses import Gate
from assets.vision.sources.http import UrlFetcher
from assets.vision.sources.urls import read_url

HOSTS = frozenset({"images.example.com"})

SPELLINGS = [
    "http://127.0.0.1/",
    "http://127.1/",
    "http://127.0.1/",
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0x7f.0.0.1/",
    "http://0177.0.0.1/",
    "http://017700000001/",
    "http://0/",
    "http://0.0.0.0/",
    "http://[::1]/",
    "http://[::]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:7f00:1]/",
    "http://[0:0:0:0:0:0:0:1]/",
    "http://[64:ff9b::7f00:1]/",
    "http://[2002:7f00:1::]/",
    "http://[fe80::1%25eth0]/",
    "http://[fd00:ec2::254]/latest/meta-data/",
    "http://169.254.169.254/latest/meta-data/",
    "http://169.254.169.254.nip.io/",
    "http://0xa9fea9fe/",
    "http://2852039166/",
    "http://metadata.google.internal/",
    "http://10.0.0.1/",
    "http://192.168.1.1/",
    "http://172.16.0.1/",
    "http://100.100.100.200/",
    "http://localhost/",
    "http://localhost./",
    "http://LOCALHOST/",
    "http://images.example.com@127.0.0.1/",
    "http://user:password@images.example.com/",
    "http://127.0.0.1#@images.example.com/",
    "http://127.0.0.1?@images.example.com/",
    "http://127.0.0.1\\@images.example.com/",
    "http://images.example.com\\@127.0.0.1/",
    "http://images.example.com:80@127.0.0.1/",
    "http://images.example.com.evil.org/",
    "http://evil.org/images.example.com",
    "http://images.example.com%00.evil.org/",
    "http://images.example.com%2eevil.org/",
    "http://127。0。0。1/",
    "http://①②⑦.0.0.1/",
    "http://ⓛocalhost/",
    "http://images.exa\u00admple.com/",
    "http://images.example.com:0/",
    "http://images.example.com:99999/",
    "http://images.example.com:80:80/",
    "http://images.example.com:/x y",
    "http://images.example.com/\r\nHost: evil",
    "http://images.example.com/\tx",
    "http:/images.example.com/",
    "http:images.example.com/",
    "http:///images.example.com/",
    "//images.example.com/",
    "https://",
    "http://.images.example.com/",
    "http://images..example.com/",
    "http://-images.example.com/",
    " http://images.example.com/",
    "http://images.example.com /",
    "ftp://images.example.com/x",
    "file:///etc/passwd",
    "gopher://images.example.com/_x",
    "dict://images.example.com:11211/",
    "jar:http://images.example.com!/",
    "javascript:alert(1)",
    "http://images.example.com/" + "x" * 5000,
]


@pytest.mark.parametrize("text", SPELLINGS)
def test_a_spelling_is_refused(text: str) -> None:
    with pytest.raises(FetchError) as caught:
        read_url(text, HOSTS)
    assert caught.value.reason == "refused"
    assert "password" not in str(caught.value)


def test_enough_spellings_are_tried() -> None:
    assert len(set(SPELLINGS)) >= 40


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://images.example.com", "http://images.example.com/"),
        ("HTTPS://Images.Example.COM:443/a/b.png?x=1#part", "https://images.example.com/a/b.png?x=1"),
        ("https://images.example.com./a%20b.png", "https://images.example.com/a%20b.png"),
        ("http://images.example.com:8080?x", "http://images.example.com:8080/?x"),
    ],
)
def test_a_plain_address_is_read(text: str, expected: str) -> None:
    assert read_url(text, HOSTS).text == expected


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "127.255.255.254", "169.254.169.254", "172.31.0.1",
        "192.0.0.8", "192.0.2.1", "192.88.99.1", "192.168.0.1", "198.18.0.1", "198.51.100.1", "203.0.113.9",
        "224.0.0.1", "240.0.0.1", "255.255.255.255", "::", "::1", "::127.0.0.1", "::ffff:10.0.0.1",
        "::ffff:169.254.169.254", "64:ff9b::a00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::a00:1", "100::1",
        "2001::1", "2001:db8::1", "2002:a00:1::", "2002:7f00:1::1", "3fff::1", "5f00::1", "fc00::1",
        "fd00:ec2::254",
        "fe80::1", "fec0::1", "ff02::1",
    ],
)  # fmt: skip
def test_an_address_is_not_asked(address: str) -> None:
    assert not Gate().allows(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "64:ff9b::101:101"])
def test_a_public_address_is_asked(address: str) -> None:
    assert Gate().allows(ipaddress.ip_address(address))


def test_a_declared_network_opens_itself_alone_and_never_link_local() -> None:
    gate = Gate.of(["10.20.0.0/16"])
    assert gate.allows(ipaddress.ip_address("10.20.3.4"))
    assert gate.allows(ipaddress.ip_address("::ffff:10.20.3.4"))
    assert not gate.allows(ipaddress.ip_address("10.21.0.1"))
    assert not Gate.of(["169.254.0.0/16"]).allows(ipaddress.ip_address("169.254.169.254"))


@pytest.fixture
def secret_server() -> Iterator[tuple[int, list[str]]]:
    """A server on loopback that nobody may reach, and what it was asked."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port, asked
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_declared_name_that_points_inside_is_not_asked(secret_server: tuple[int, list[str]]) -> None:
    port, asked = secret_server
    fetcher = UrlFetcher(UrlPolicy(hosts=["localhost"], retries=0))
    with pytest.raises(FetchError) as caught:
        fetcher.read(f"http://localhost:{port}/secret", 1000)
    assert caught.value.reason == "refused"
    assert asked == []


def test_a_name_with_one_private_address_among_public_ones_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What a resolver controlled by somebody else may answer."""

    def answers(*_: object, **__: object) -> list[tuple[object, ...]]:
        kind = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
        return [(*kind, ("93.184.216.34", 80)), (*kind, ("127.0.0.1", 80))]

    monkeypatch.setattr(socket, "getaddrinfo", answers)
    with pytest.raises(FetchError, match="public address"):
        Gate().resolve("images.example.com", 80)


def test_the_address_that_was_checked_is_the_one_that_is_asked(
    monkeypatch: pytest.MonkeyPatch, secret_server: tuple[int, list[str]]
) -> None:
    """A name that answers differently the second time (rebinding) is never asked a second time."""
    port, asked = secret_server
    calls = []
    kind = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
    real = socket.getaddrinfo

    def answers(host: str, *arguments: object, **options: object) -> object:
        if host != "rebind.example.com":
            return real(host, *arguments, **options)  # type: ignore[arg-type]
        calls.append(host)
        return [(*kind, ("127.0.0.1", port))] if len(calls) == 1 else [(*kind, ("10.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", answers)
    policy = UrlPolicy(hosts=["rebind.example.com"], networks=["127.0.0.0/8"], retries=0)
    UrlFetcher(policy).read(f"http://rebind.example.com:{port}/once", 1000)
    assert calls == ["rebind.example.com"]
    assert asked == ["/once"]
