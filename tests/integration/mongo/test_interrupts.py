"""A read that is told to end does not go on to the end of its piece, however slowly it reads."""

from __future__ import annotations

import signal
import threading
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.database import Database

from assets.mongo.build import build_documents
from shards import ShardStore
from tests.integration.mongo.conftest import FIELDS, make_documents, make_spec


class Told(Exception):
    """What the handler of a signal raises, as Dagster's does when a run is cancelled."""


@pytest.mark.parametrize("rate", [40, 0.01])
def test_a_slow_read_is_interrupted(
    database: Database[Any], mongo_client: MongoClient[Any], store: ShardStore, rate: float
) -> None:
    """One that takes a minute for its piece, and one that takes a hundred seconds for a document."""
    database["things"].insert_many(make_documents(2_400))
    seen: list[int] = []

    def tell(done: int, total: int | None, unit: str) -> None:
        if not seen:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
        seen.append(done)

    def handle(number: int, frame: Any) -> None:
        raise Told

    before = signal.signal(signal.SIGUSR1, handle)
    try:
        spec = make_spec(database.name, max_documents_per_second=rate)
        with pytest.raises(Told):
            build_documents(spec, "all", FIELDS, client=mongo_client, store=store, progress=tell)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert max(seen) <= 20
    assert store.versions("things", "documents") == []
