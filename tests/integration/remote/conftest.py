"""An S3 server for the session, a faulty proxy and a store of its own for each test."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from shards.remote.client import Limits
from shards.remote.storage import ObjectStorage
from tests.integration.remote.proxy import Faults, Proxy
from tests.integration.remote.server import BUCKET, Server

LIMITS = Limits(request_seconds=30.0, retry_seconds=60.0, tries=5, backoff_seconds=0.01)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[Server]:
    server = Server()
    yield server
    server.stop()


@pytest.fixture
def proxy(s3_server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    proxy = Proxy(s3_server.port)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{proxy.port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test-secret")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    yield proxy
    proxy.stop()


@pytest.fixture
def faults(proxy: Proxy) -> Faults:
    return proxy.faults


@pytest.fixture
def url(proxy: Proxy) -> str:
    """Address of an empty prefix."""
    return f"s3://{BUCKET}/{uuid.uuid4().hex}"


@pytest.fixture
def storage(url: str) -> ObjectStorage:
    return ObjectStorage(url, LIMITS)
