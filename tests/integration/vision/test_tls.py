"""Fetching over TLS: the certificate must be trusted and be that of the host, whatever address is asked."""

from __future__ import annotations

import datetime
import http.server
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from assets.spec.images import UrlPolicy
from assets.vision.errors import FetchError
from assets.vision.sources.http import UrlFetcher


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"whole")


def certificate(directory: Path, host: str) -> Path:
    """Write a key and its self-signed certificate into one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    path = directory / f"{host}.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, *form) + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


@pytest.fixture(params=["localhost", "elsewhere.example.com"])
def served(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Path, str]]:
    """A server with a certificate for a host: its address, the certificate, the host."""
    path = certificate(tmp_path, request.param)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"https://localhost:{server.server_port}/x", path, request.param
        server.shutdown()
        thread.join()


def test_the_certificate_must_be_trusted_and_of_the_host(served: tuple[str, Path, str]) -> None:
    url, trusted, host = served
    policy = UrlPolicy(hosts=["localhost"], networks=["127.0.0.0/8"], retries=0)
    with pytest.raises(FetchError, match="a certificate that is trusted"):
        UrlFetcher(policy).read(url, 100)
    fetcher = UrlFetcher(policy, tls=ssl.create_default_context(cafile=trusted))
    if host == "localhost":
        assert fetcher.read(url, 100) == b"whole"
    else:
        with pytest.raises(FetchError, match="a certificate that is trusted"):
            fetcher.read(url, 100)
