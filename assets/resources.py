"""What assets use while they run: the store of shards and connections to MongoDB."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import dagster as dg
from pymongo import MongoClient

from assets.mongo.connect import connect
from assets.spec import DatasetSpec
from shards import ShardStore

STORE = "store"


class Shards(dg.ConfigurableResource[Any]):
    """The directory tree that holds every version of every asset."""

    root: str = ""
    """Directory; when empty, the environment variable SHARDS_ROOT, else `data/shards`."""

    def open(self) -> ShardStore:
        """Return the store."""
        return ShardStore(self.root or os.environ.get("SHARDS_ROOT") or "data/shards")


class MongoServer(dg.ConfigurableResource[Any]):
    """A MongoDB server, known by the environment variable that holds its connection string.

    The connection string itself never becomes part of Dagster's configuration, which is stored and shown.
    """

    uri_env: str

    def connect(self, spec: DatasetSpec) -> MongoClient[Any]:
        """Return a client with the options of a dataset; the caller closes it."""
        return connect(spec.source)


def server_key(spec: DatasetSpec) -> str:
    """Return the key of the resource that a dataset reads from."""
    return f"mongo_{spec.source.uri_env.lower()}"


@cache
def server(uri_env: str) -> MongoServer:
    """Return the server of one environment variable; one object however many datasets ask."""
    return MongoServer(uri_env=uri_env)


@cache
def shards() -> Shards:
    """Return the store that every dataset writes to."""
    return Shards()


def resources(spec: DatasetSpec) -> dict[str, Any]:
    """Return the resources of one dataset by key."""
    found: dict[str, Any] = {STORE: shards()}
    if spec.source.dump is None:
        found[server_key(spec)] = server(spec.source.uri_env)
    return found


def resource_keys(spec: DatasetSpec) -> set[str]:
    """Return the keys of the resources of one dataset."""
    return set(resources(spec))


def store_of(context: Any) -> ShardStore:
    """Return the store of a run."""
    store: ShardStore = getattr(context.resources, STORE).open()
    return store


@contextmanager
def client_of(spec: DatasetSpec, context: Any) -> Iterator[MongoClient[Any] | None]:
    """Give a connected client for the length of a block; None when the source is a dump."""
    if spec.source.dump is not None:
        yield None
        return
    with getattr(context.resources, server_key(spec)).connect(spec) as client:
        yield client
