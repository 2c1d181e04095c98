"""A server that wants TLS and a login: SCRAM and X.509, with the rights of a reader."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote_plus

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from assets.mongo.build import build_documents
from assets.mongo.connect import connect
from assets.mongo.observe import source_versions
from assets.mongo.watch import touched_partitions
from demo.mongod import Mongod
from shards import ShardStore
from tests.integration.mongo.conftest import FIELDS, make_documents, make_spec

pytestmark = pytest.mark.xdist_group("security")

NOW = datetime.datetime.now(datetime.timezone.utc)


class Authority:
    """A certificate authority for one test."""

    def __init__(self, root: Path, names: Sequence[str] = ()) -> None:
        self.root = root
        self._names = names
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
        self.path = root / "ca.pem"
        certificate = self._builder(self.name, self.key.public_key())
        certificate = certificate.add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        signed = certificate.sign(self.key, hashes.SHA256())
        self.path.write_bytes(signed.public_bytes(serialization.Encoding.PEM))

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(self.name).public_key(key)
        builder = builder.serial_number(x509.random_serial_number())
        return builder.not_valid_before(NOW - datetime.timedelta(hours=1)).not_valid_after(
            NOW + datetime.timedelta(days=1)
        )

    def issue(self, name: str, unit: str) -> Path:
        """A certificate and its key, in one file."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit),
                x509.NameAttribute(NameOID.COMMON_NAME, name),
            ]
        )
        names = [
            *map(x509.DNSName, ("localhost", *self._names)),
            x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
        ]
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        signed = (
            self._builder(subject, key.public_key())
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        path = self.root / f"{name}.pem"
        private = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        path.write_bytes(private + signed.public_bytes(serialization.Encoding.PEM))
        return path


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Mongod, Authority]]:
    """A server that takes TLS connections alone, with a reader by password and one by certificate."""
    root = tmp_path_factory.mktemp("secured")
    authority = Authority(root)
    files = [
        "--tlsCertificateKeyFile",
        str(authority.issue("server", "servers")),
        "--tlsCAFile",
        str(authority.path),
    ]
    server = Mongod(
        root / "db",
        auth=("admin", "secret"),
        extra=["--tlsMode", "requireTLS", *files, "--tlsAllowConnectionsWithoutCertificates"],
        client_options={"tls": True, "tlsCAFile": str(authority.path)},
    )
    with server, server.client() as client:
        rights = {"roles": [{"role": "read", "db": "private"}]}
        client.admin.command("createUser", "reader", pwd="p@ss/word", **rights)
        client["$external"].command("createUser", "CN=robot,OU=readers", **rights)
        client["private"]["things"].insert_many(make_documents(500))
        yield server, authority


@pytest.mark.parametrize("way", ["scram", "x509"])
def test_a_reader_reads_observes_and_watches(
    secured: tuple[Mongod, Authority], store: ShardStore, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    server, authority = secured
    options = f"tls=true&tlsCAFile={quote_plus(str(authority.path))}&directConnection=true"
    if way == "scram":
        uri = f"mongodb://reader:{quote_plus('p@ss/word')}@{server.address}/?{options}&authSource=admin"
    else:
        key = quote_plus(str(authority.issue("robot", "readers")))
        uri = f"mongodb://{server.address}/?{options}&authMechanism=MONGODB-X509&tlsCertificateKeyFile={key}"
    monkeypatch.setenv("SECURED_URI", uri)
    spec = make_spec("private", uri_env="SECURED_URI")
    with connect(spec.source) as client:
        report = build_documents(spec, "all", FIELDS, client=client, store=store)
        assert report.rows == 495
        assert report.metadata["guarantee"] == "snapshot"
        assert source_versions(spec, ["all"], client)["all"].startswith("500-")
        assert touched_partitions(spec, client, store, None).token is not None
