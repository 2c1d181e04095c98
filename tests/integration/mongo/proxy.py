"""A way to a server that tests can cut."""

from __future__ import annotations

import socket
import threading
from typing import Any

from pymongo import MongoClient


class Proxy:
    """Forwards TCP connections to a server; `cut` breaks all of them at once.

    Parameters
    ----------
    port
        Of the server.

    Notes
    -----
    `num_bytes` counts what the server has sent. When `cut_at` is reached, all connections are cut there, in
    the middle of a reply or between two, once.
    """

    def __init__(self, port: int) -> None:
        self.num_bytes = 0
        self.cut_at: int | None = None
        self._target = port
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._refuse = False
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._refuse:
                client.close()
                continue
            server = socket.create_connection(("127.0.0.1", self._target))
            self._sockets += [client, server]
            for source, target in ((client, server), (server, client)):
                threading.Thread(target=self._forward, args=(source, target, server), daemon=True).start()

    def _forward(self, source: socket.socket, target: socket.socket, server: socket.socket) -> None:
        try:
            while data := source.recv(1 << 14):
                if source is server:
                    data = self._until_cut(data)
                target.sendall(data)
        except OSError:
            pass
        for one in (source, target):
            one.close()

    def _until_cut(self, data: bytes) -> bytes:
        """What is forwarded of what the server sends."""
        place, self.num_bytes = self.cut_at, self.num_bytes + len(data)
        if place is None or self.num_bytes < place:
            return data
        self.cut_at = None
        self.cut()
        return b""

    def cut(self, *, for_good: bool = False) -> None:
        self._refuse = for_good
        sockets, self._sockets = self._sockets, []
        for one in sockets:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue

    def client(self, **options: Any) -> MongoClient[Any]:
        """A client that knows the server by this way alone."""
        chosen = {"directConnection": True, "tz_aware": True, "serverSelectionTimeoutMS": 2_000, **options}
        return MongoClient("127.0.0.1", self.port, **chosen)

    def close(self) -> None:
        self._listener.close()
        self.cut(for_good=True)
