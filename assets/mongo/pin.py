"""Cursors live on one server: reads that may go to several members of a set are held to one of them."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pymongo import MongoClient
from pymongo.read_preferences import Nearest, Primary, Secondary, SecondaryPreferred
from pymongo.server_description import ServerDescription

Address = tuple[str, int | None]


class Pin:
    """A server selector that prefers one server for the thread that holds it.

    Given to a client as `server_selector`. Where the server is gone, the others are left: the read then
    misses its cursor and is resumed.
    """

    def __init__(self) -> None:
        self._held = threading.local()

    def __call__(self, servers: list[ServerDescription]) -> list[ServerDescription]:
        address = getattr(self._held, "address", None)
        return [server for server in servers if server.address == address] or servers

    @contextmanager
    def hold(self, address: Address | None) -> Iterator[None]:
        """Prefer a server in this thread for the length of a block."""
        self._held.address = address
        try:
            yield
        finally:
            self._held.address = None


@contextmanager
def held_to_one(client: MongoClient[Any], preference: Any) -> Iterator[None]:
    """Hold the reads of this thread to one member that the preference allows, for clients of `connect`."""
    pin = client.options.server_selector
    if not isinstance(pin, Pin):
        yield
        return
    with pin.hold(_choose(client, preference)):
        yield


def _choose(client: MongoClient[Any], preference: Any) -> Address | None:
    members: set[Address] = set()
    if isinstance(preference, Secondary | SecondaryPreferred):
        members = set(client.secondaries)
    elif isinstance(preference, Nearest):
        members = set(client.nodes)
    elif not isinstance(preference, Primary) and client.primary is None:
        members = set(client.secondaries)
    return random.choice(sorted(members, key=str)) if members else None
