"""An HTTP proxy between a client and an S3 server that does to chosen requests what networks do."""

from __future__ import annotations

import http.client
import re
import socket
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from typing import Any, Literal

Fault = Literal[
    "refuse", "cut_reply", "cut_body", "delay", "flip", "403", "500", "503", "meet", "unconditional"
]


@dataclass
class Rule:
    """Faults for requests whose `METHOD path?query` matches; one a request, in order, then none.

    `refuse` closes before the server has heard of it; `cut_reply` closes after the server has done it;
    `cut_body` sends half of the reply's body; `flip` changes the last byte of it; `delay` waits before the
    server hears of it; `meet` waits until as many are under way at once as the rule began with, and closes
    all of them if they do not come; `unconditional` takes the condition away, and for ever.
    """

    pattern: str
    faults: list[Fault]
    delay_seconds: float = 1.0
    hits: int = 0
    meeting: threading.Barrier = field(init=False)

    def __post_init__(self) -> None:
        self.meeting = threading.Barrier(max(len(self.faults), 1), timeout=20)


@dataclass
class Faults:
    """Rules that are looked at in turn, and every request that came by."""

    rules: list[Rule] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    moments: list[float] = field(default_factory=list)
    ranges: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def next(self, line: str, asked: str) -> tuple[Fault | None, float, threading.Barrier | None]:
        with self.lock:
            self.seen.append(line)
            self.ranges.append(asked)
            self.moments.append(time.monotonic())
            for rule in self.rules:
                if rule.faults and re.search(rule.pattern, line):
                    rule.hits += 1
                    if rule.faults == ["unconditional"]:
                        return "unconditional", 0.0, None
                    return rule.faults.pop(0), rule.delay_seconds, rule.meeting
        return None, 0.0, None

    def count(self, pattern: str) -> int:
        """Requests that matched so far."""
        with self.lock:
            return sum(bool(re.search(pattern, line)) for line in self.seen)

    def ranges_of(self, pattern: str) -> list[str]:
        """Value of the header Range of requests that matched so far."""
        with self.lock:
            found = zip(self.seen, self.ranges, strict=True)
            return [asked for line, asked in found if re.search(pattern, line)]

    def pauses(self, pattern: str) -> list[float]:
        """Seconds between requests that matched so far."""
        with self.lock:
            found = [at for line, at in zip(self.seen, self.moments, strict=True) if re.search(pattern, line)]
        return [after - before for before, after in pairwise(found)]


def speak_s3(path: str, headers: dict[str, str]) -> str:
    """Turn an unsigned request of Google's XML interface into one for an S3 server; its path there."""
    headers.pop("authorization", None)
    headers["Authorization"] = (
        "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
    )
    if headers.pop("x-goog-if-generation-match", None) == "0":
        headers["If-None-Match"] = "*"
    bucket, separator, rest = path[1:].partition("/")
    return f"/{bucket.replace('%2D', '-')}{separator}{rest}"


class Proxy:
    """A running proxy; `faults` may be changed while it runs."""

    def __init__(self, upstream_port: int) -> None:
        self.faults = Faults()
        faults = self.faults

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *arguments: Any) -> None:
                """Nothing is logged."""

            def handle_one_request(self) -> None:
                try:
                    super().handle_one_request()
                except (ConnectionError, TimeoutError):
                    self.close_connection = True

            def relay(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                fault, delay_seconds, meeting = faults.next(
                    f"{self.command} {self.path}", self.headers.get("Range", "")
                )
                if fault == "refuse":
                    return self.cut()
                if fault == "meet" and meeting is not None:
                    try:
                        meeting.wait()
                    except threading.BrokenBarrierError:
                        return self.cut()
                if fault == "delay":
                    time.sleep(delay_seconds)
                if fault is not None and fault.isdigit():
                    return self.answer(int(fault), {}, b"<Error><Code>InternalError</Code></Error>")
                headers = dict(self.headers.items())
                if fault == "unconditional":
                    headers.pop("if-none-match", None)
                    headers.pop("If-None-Match", None)
                path = self.path
                if not self.headers.get("Authorization", "").startswith("AWS4"):
                    path = speak_s3(path, headers)
                upstream = http.client.HTTPConnection("127.0.0.1", upstream_port, timeout=60)
                upstream.request(self.command, path, body, headers)
                reply = upstream.getresponse()
                data = reply.read()
                upstream.close()
                if fault == "cut_reply":
                    return self.cut()
                if fault == "flip":
                    data = data[:-1] + bytes([data[-1] ^ 1])
                return self.answer(reply.status, dict(reply.getheaders()), data, cut=fault == "cut_body")

            def answer(self, status: int, headers: dict[str, str], data: bytes, cut: bool = False) -> None:
                self.send_response_only(status)
                for name, value in headers.items():
                    if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                        self.send_header(name, value)
                length = headers.get("Content-Length", "0") if self.command == "HEAD" else str(len(data))
                self.send_header("Content-Length", length)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(data[: len(data) // 2] if cut else data)
                if cut:
                    self.cut()

            def cut(self) -> None:
                self.close_connection = True
                self.wfile.flush()
                self.connection.shutdown(socket.SHUT_RDWR)

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = relay  # noqa: N815 - named by the base class

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Close the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
