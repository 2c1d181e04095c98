"""`mongodb+srv` names, looked up at a DNS server of our own, of a mongod that wants TLS and a password."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import dns.flags
import dns.message
import dns.resolver
import dns.rrset
import pytest

from assets.mongo.build import build_documents
from assets.mongo.connect import connect
from assets.mongo.errors import SourceError
from demo.mongod import Mongod
from shards import ShardStore
from tests.integration.mongo.conftest import FIELDS, make_spec
from tests.integration.mongo.test_security import Authority

pytestmark = pytest.mark.xdist_group("security")

CLUSTER = "cluster.shop.test"
Records = dict[tuple[str, str], list[str]]


class NameServer:
    """Answers questions over UDP, as far as it knows."""

    def __init__(self, records: Records) -> None:
        self.records = records
        self.asked: list[tuple[str, str]] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            data, sender = self._socket.recvfrom(4096)
            if not data:
                return
            query = dns.message.from_wire(data)
            reply = dns.message.make_response(query)
            question = query.question[0]
            name, kind = question.name.to_text(), dns.rdatatype.to_text(question.rdtype)
            self.asked.append((name, kind))
            found = self.records.get((name, kind))
            if found is not None:
                reply.answer.append(dns.rrset.from_text(question.name, 60, "IN", kind, *found))
            self._socket.sendto(reply.to_wire(), sender)

    def close(self) -> None:
        self._socket.sendto(b"", self._socket.getsockname())
        self._thread.join()
        self._socket.close()


@pytest.fixture
def name_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[NameServer]:
    """A name server that this process asks, and no other."""
    server = NameServer({})
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers, resolver.port = ["127.0.0.1"], server.port
    monkeypatch.setattr(dns.resolver, "default_resolver", resolver)
    # The host behind a service must lie in its domain; addresses are the system's business.
    real = socket.getaddrinfo

    def look_up(host: Any, *others: Any, **named: Any) -> Any:
        return real("127.0.0.1" if str(host).endswith(".shop.test") else host, *others, **named)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    yield server
    server.close()


def test_a_cluster_is_found_by_its_service(
    name_server: NameServer, store: ShardStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path, names=["m1.shop.test"])
    certificate = str(authority.issue("server", "servers"))
    files = ["--tlsCertificateKeyFile", certificate, "--tlsCAFile", str(authority.path)]
    server = Mongod(
        tmp_path / "db",
        replica_set=None,
        auth=("reader", "secret"),
        extra=["--tlsMode", "requireTLS", *files, "--tlsAllowConnectionsWithoutCertificates"],
        client_options={"tls": True, "tlsCAFile": str(authority.path)},
    )
    with server, server.client() as admin:
        admin["private"]["things"].insert_many([{"_id": number, "value": number} for number in range(100)])
        name_server.records = {
            (f"_mongodb._tcp.{CLUSTER}.", "SRV"): [f"0 0 {server.port} m1.shop.test."],
            (f"{CLUSTER}.", "TXT"): ['"authSource=admin"'],
        }
        # TLS is on by itself with such a name, as every service of this kind has it.
        authority_file = quote_plus(str(authority.path))
        monkeypatch.setenv("SRV_URI", f"mongodb+srv://reader:secret@{CLUSTER}/?tlsCAFile={authority_file}")
        spec = make_spec("private", uri_env="SRV_URI")
        with connect(spec.source) as client:
            report = build_documents(spec, "all", FIELDS, client=client, store=store)
    assert report.rows == 100
    assert {kind for _, kind in name_server.asked} == {"SRV", "TXT"}


@pytest.mark.parametrize(
    ("host", "records"),
    [
        (CLUSTER, {}),
        (CLUSTER, {(f"_mongodb._tcp.{CLUSTER}.", "SRV"): ["0 0 27017 m1.elsewhere.test."]}),
        ("canary", {}),
    ],
    ids=["unknown", "another domain", "too short"],
)
def test_names_that_lead_nowhere_are_refused(
    name_server: NameServer, monkeypatch: pytest.MonkeyPatch, host: str, records: Records
) -> None:
    name_server.records = records
    monkeypatch.setenv("SRV_URI", f"mongodb+srv://reader:canary@{host}/")
    with pytest.raises(SourceError, match="SRV_URI") as caught:
        connect(make_spec("private", uri_env="SRV_URI").source)
    assert "canary" not in str(caught.value)
