"""Fetching from http(s) hosts that a dataset declares: names are resolved once, and that address is asked."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
import time
from typing import Final

from assets.spec.images import UrlPolicy
from assets.vision.errors import FetchError
from assets.vision.sources.addresses import Gate
from assets.vision.sources.cache import ContentCache
from assets.vision.sources.retry import FIRST_SECONDS, Passing, with_retries
from assets.vision.sources.urls import Url, read_url, redirected

MAX_REDIRECTS: Final = 5
_PIECE_BYTES: Final = 1 << 16
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_GONE: Final = frozenset({404, 410})
_PASSING: Final = frozenset({408, 425, 429, 500, 502, 503, 504})


class UrlFetcher:
    """Fetch pictures by address; thread-safe.

    Parameters
    ----------
    policy
        Declared hosts, private networks, limits.
    cache
        Keeps what was fetched; None keeps nothing.
    tls
        Trust other than the system's certificates.
    """

    def __init__(
        self,
        policy: UrlPolicy,
        cache: ContentCache | None = None,
        tls: ssl.SSLContext | None = None,
        first_pause_seconds: float = FIRST_SECONDS,
    ) -> None:
        self._policy = policy
        self._hosts = frozenset(policy.hosts)
        self._gate = Gate.of(policy.networks)
        self._cache = cache
        self._tls = tls or ssl.create_default_context()
        self._first_pause_seconds = first_pause_seconds
        self._slots = {host: threading.BoundedSemaphore(policy.per_host) for host in self._hosts}
        self._stopped = threading.Event()

    def read(self, text: str, max_bytes: int) -> bytes:
        """Give the bytes at an address.

        Raises
        ------
        FetchError
            `refused`, `not_found`, `too_many_bytes`, or `fetch_failed` after all tries.
        """
        url = read_url(text, self._hosts)
        return with_retries(
            lambda: self._follow(url, max_bytes),
            self._policy.retries,
            self._stopped,
            self._first_pause_seconds,
        )

    def stop(self) -> None:
        """Let waiting tries end."""
        self._stopped.set()

    def _follow(self, url: Url, max_bytes: int) -> bytes:
        for _ in range(MAX_REDIRECTS + 1):
            with self._slots[url.host]:
                answer = self._ask(url, max_bytes)
            if isinstance(answer, bytes):
                return answer
            url = answer
        raise FetchError("fetch_failed", expected=f"at most {MAX_REDIRECTS} redirects", got="more")

    def _ask(self, url: Url, max_bytes: int) -> bytes | Url:
        """Make one request; gives the content, or the address that a redirect names."""
        known = self._cache.get(url.text) if self._cache else None
        if known is not None and known.is_fresh and len(known.data) <= max_bytes:
            return known.data
        headers = {
            "Host": url.authority,
            "User-Agent": "shardmill",
            "Accept": "image/*",
            "Accept-Encoding": "identity",
        }
        if known is not None and known.etag:
            headers["If-None-Match"] = known.etag
        elif known is not None and known.last_modified:
            headers["If-Modified-Since"] = known.last_modified
        seconds = float(self._policy.timeout_seconds)
        deadline = time.monotonic() + seconds
        connection = self._connect(url)
        # a server that sends a byte now and then never runs into the socket's own time limit
        alarm = threading.Timer(seconds, _abort, [connection.sock])
        alarm.daemon = True
        alarm.start()
        try:
            connection.request("GET", url.target, headers=headers)
            with connection.getresponse() as response:
                if response.status == 304 and known is not None:
                    data = known.data
                elif response.status in _REDIRECTS and response.headers["Location"]:
                    return redirected(url, response.headers["Location"], self._hosts)
                else:
                    _check_status(response)
                    data = _body(response, max_bytes, deadline)
                tag, modified = response.headers["ETag"] or "", response.headers["Last-Modified"] or ""
        except (OSError, http.client.HTTPException) as error:
            raise Passing(type(error).__name__) from None
        finally:
            alarm.cancel()
            connection.close()
        if self._cache:
            self._cache.put(url.text, data, tag, modified)
        return data

    def _connect(self, url: Url) -> http.client.HTTPConnection:
        """Resolve the name once and connect to an address that was checked, not to the name again."""
        failure: OSError | None = None
        seconds = float(self._policy.timeout_seconds)
        for address in self._gate.resolve(url.host, url.port):
            try:
                plain = socket.create_connection((address, url.port), timeout=seconds)
            except OSError as error:
                failure = error
                continue
            connection = http.client.HTTPConnection(url.host, url.port, timeout=seconds)
            try:
                if url.scheme == "https":
                    connection.sock = self._tls.wrap_socket(plain, server_hostname=url.host)
                else:
                    connection.sock = plain
            except ssl.SSLCertVerificationError:
                plain.close()
                raise FetchError("refused", expected="a certificate that is trusted", got="another") from None
            except OSError as error:
                plain.close()
                failure = error
                continue
            return connection
        raise Passing(type(failure).__name__)


def _abort(open_socket: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it may have ended by itself
        open_socket.shutdown(socket.SHUT_RDWR)


def _check_status(response: http.client.HTTPResponse) -> None:
    status = response.status
    if status in _GONE:
        raise FetchError("not_found", expected="status 200", got=f"status {status}")
    if status in _PASSING:
        asked = response.headers["Retry-After"] or ""
        raise Passing(f"status {status}", float(asked) if asked.isdecimal() else 0.0)
    if status != 200:
        raise FetchError("fetch_failed", expected="status 200", got=f"status {status}")


def _body(response: http.client.HTTPResponse, max_bytes: int, deadline: float) -> bytes:
    declared = response.length
    if declared is not None and declared > max_bytes:
        raise FetchError("too_many_bytes", expected=f"at most {max_bytes} bytes", got=f"{declared} bytes")
    parts = bytearray()
    while part := response.read1(_PIECE_BYTES):
        parts += part
        if len(parts) > max_bytes:
            raise FetchError("too_many_bytes", expected=f"at most {max_bytes} bytes", got="more")
    if time.monotonic() > deadline:
        raise Passing("TimeoutError")
    if declared is not None and len(parts) < declared:
        raise Passing("a short answer")
    return bytes(parts)
