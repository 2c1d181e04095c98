"""Documents of a dump that a query selects, told apart before they are walked for their fields."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise

import pyarrow as pa

from assets.mongo.columns import Bytes, Columns
from assets.mongo.conditions import Test
from assets.mongo.fields import Field
from assets.mongo.paths import Members
from assets.mongo.rejects import Reject

REMEMBERED = 65_536
"""So many values of a single member are decided once and not again."""

SIZE = struct.Struct("<i")
LEAST = 5
"""Bytes of the smallest document."""


class Chosen:
    """Passes on the documents that satisfy a test; of the others nothing but the members it asks for is read.

    Parameters
    ----------
    names
        Members at the top that the test looks at.
    test
        Whether a document is wanted.
    take
        Receives wanted documents that lie end to end: the bytes, where they begin and where they end.
    take_broken
        Told why a document cannot be decided: it is no valid one, or has such a member twice. Says whether
        the document counts as wanted.
    """

    def __init__(
        self,
        names: list[str],
        test: Test,
        take: Callable[[Bytes, int, int], None],
        take_broken: Callable[[Reject], bool],
    ) -> None:
        self._names, self._test = names, test
        self._take, self._take_broken = take, take_broken
        fields = [Field(name, name, "raw", required=False, keep_null=True) for name in names]
        self._found: list[pa.RecordBatch] = []
        self._columns = Columns(fields, self._found.append, flush_bytes=1 << 62)
        self._known: dict[bytes | None, bool] = {}
        self.num_documents = 0

    def feed(self, data: Bytes, start: int) -> tuple[int, int]:
        """Look at the whole documents in the bytes; how many are wanted, and where the last one ends."""
        places = list(_places(data, start))
        before = self.num_documents
        self._columns.feed(data, start, places[-1])
        if self._columns.rejects:
            self._columns.take_rejects()
            self._one_by_one(data, places)
        else:
            self._pass_on(data, places, self._wanted())
        return self.num_documents - before, places[-1]

    def _wanted(self) -> Iterator[bool]:
        """Whether each document that was fed is wanted."""
        self._columns.flush()
        batches, self._found[:] = self._found[:], []
        for batch in batches:
            columns = [column.to_pylist() for column in batch.columns]
            yield from map(self._remembered if len(columns) == 1 else self._asked, *columns)

    def _remembered(self, value: bytes | None) -> bool:
        found = self._known.get(value)
        if found is None:
            found = self._asked(value)
            if len(self._known) < REMEMBERED:
                self._known[value] = found
        return found

    def _asked(self, *values: bytes | None) -> bool:
        members: Members = {
            name: value for name, value in zip(self._names, values, strict=True) if value is not None
        }
        return self._test(members)

    def _pass_on(self, data: Bytes, places: list[int], wanted: Iterator[bool]) -> None:
        """Hand over wanted documents, those that are neighbours together."""
        begin = None
        for (start, _), is_wanted in zip(pairwise(places), wanted, strict=True):
            self.num_documents += is_wanted
            if is_wanted and begin is None:
                begin = start
            elif not is_wanted and begin is not None:
                self._take(data, begin, start)
                begin = None
        if begin is not None:
            self._take(data, begin, places[-1])

    def _one_by_one(self, data: Bytes, places: list[int]) -> None:
        """The same where some documents cannot be decided, and rows do not tell which."""
        self._columns.flush()
        self._found.clear()
        for start, end in pairwise(places):
            self._columns.feed(data, start, end)
            broken = self._columns.take_rejects()
            if broken:
                self.num_documents += self._take_broken(replace(broken[0], field=""))
            else:
                self._pass_on(data, [start, end], self._wanted())


def _places(data: Bytes, start: int) -> Iterator[int]:
    """Where each whole document begins, and where the last one ends."""
    length = len(data)
    yield start
    while length - start >= LEAST:
        size = SIZE.unpack_from(data, start)[0]
        if not LEAST <= size <= length - start:
            return
        start += size
        yield start
