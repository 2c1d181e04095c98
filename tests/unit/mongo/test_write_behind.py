"""Writing behind the walker: order, and errors that reach whoever walks."""

from __future__ import annotations

import threading
from functools import partial as bind

import bson
import pyarrow as pa
import pytest

from assets.mongo.columns import Columns
from assets.mongo.fields import Field
from assets.mongo.write_behind import write_behind

FIELDS = [Field("n", "n", "int64")]


def test_calls_are_made_in_order_by_one_other_thread() -> None:
    made: list[tuple[int, int]] = []

    def note(number: int) -> None:
        made.append((number, threading.get_ident()))

    with write_behind() as later:
        for number in range(100):
            later(bind(note, number))
    assert [number for number, _ in made] == list(range(100))
    assert {thread for _, thread in made}.isdisjoint({threading.get_ident()})
    assert len({thread for _, thread in made}) == 1


def test_all_calls_are_made_when_the_block_fails() -> None:
    made: list[int] = []

    def block() -> None:
        with write_behind(depth=5) as later:
            for number in range(5):
                later(bind(made.append, number))
            raise KeyError("the server went away")

    with pytest.raises(KeyError):
        block()
    assert made == list(range(5))


def test_an_error_is_raised_and_nothing_is_called_after_it() -> None:
    made: list[int] = []

    def fail() -> None:
        raise OSError("disk full")

    def block() -> None:
        with write_behind() as later:
            later(fail)
            for number in range(1_000):
                later(bind(made.append, number))

    with pytest.raises(OSError, match="disk full"):
        block()
    assert made == []


def test_the_sink_of_columns_has_everything_behind_the_block() -> None:
    batches: list[pa.RecordBatch] = []
    columns = Columns(FIELDS, batches.append, max_rows=10)
    with columns.written_behind():
        for number in range(95):
            columns.feed(bson.encode({"n": number}))
    columns.flush()
    assert [value for batch in batches for value in batch.column(0).to_pylist()] == list(range(95))


def test_an_error_of_the_sink_ends_the_walk() -> None:
    def refuse(batch: pa.RecordBatch) -> None:
        raise OSError("disk full")

    columns = Columns(FIELDS, refuse, max_rows=1)

    def block() -> None:
        with columns.written_behind():
            for number in range(1_000):
                columns.feed(bson.encode({"n": number}))

    with pytest.raises(OSError, match="disk full"):
        block()
