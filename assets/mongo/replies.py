"""Raw replies of find, aggregate and getMore: batches of BSON without one Python object a document.

PyMongo's cursors make an object of every document, or of every batch after copying it; `Database.command`
with `RawBSONDocument` gives the whole reply as one buffer. In return the cursor's life is managed here: every
getMore, the size of batches, and the kill when the reader stops early.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from pymongo.client_session import ClientSession
from pymongo.database import Database
from pymongo.errors import PyMongoError
from pymongo.read_preferences import Primary

from assets.mongo.errors import BrokenBatch

RAW: CodecOptions[RawBSONDocument] = CodecOptions(document_class=RawBSONDocument)
FIRST_BATCH = 8
"""So few that also of large documents they are no more than a batch should have."""

MAX_BATCH = 50_000
DOUBLE, DOCUMENT, ARRAY, INT64 = 1, 3, 4, 18


@dataclass(frozen=True, slots=True)
class Batch:
    """The documents of one reply: elements of a BSON array, at `data[start:stop]`."""

    data: memoryview
    start: int
    stop: int

    @property
    def size_bytes(self) -> int:
        """Bytes of the documents."""
        return self.stop - self.start


def read_replies(
    database: Database[Any],
    command: Mapping[str, Any],
    *,
    session: ClientSession,
    batch_bytes: int,
    max_documents: int = MAX_BATCH,
    read_preference: Any = None,
) -> Iterator[Batch]:
    """Run a `find` or `aggregate` command and give every batch of its cursor.

    Parameters
    ----------
    command
        The command without its batch size; the first key names the collection.
    batch_bytes
        What a batch should have; the server's own limit is 16 MB.
    max_documents
        Most documents of one batch, however small they are.

    Notes
    -----
    The cursor is killed when the iterator is closed before its end. Errors of PyMongo pass through.
    """
    options: dict[str, Any] = {
        "codec_options": RAW,
        "session": session,
        "read_preference": read_preference or Primary(),
    }
    collection = next(iter(command.values()))
    batch_documents = min(FIRST_BATCH, max_documents)
    first = dict(command)
    if "aggregate" in command:
        first["cursor"] = {"batchSize": batch_documents}
    else:
        first["batchSize"] = batch_documents
    reply = database.command(first, **options)
    cursor, batch = read_cursor(_raw(reply))
    try:
        while True:
            if batch.size_bytes:
                yield batch
            if cursor == 0:
                return
            batch_documents = _next_size(batch, batch_documents, batch_bytes, max_documents)
            more = {"getMore": cursor, "collection": collection, "batchSize": batch_documents}
            if "comment" in command:
                more["comment"] = command["comment"]
            reply = database.command(more, **options)
            cursor, batch = read_cursor(_raw(reply))
    finally:
        if cursor:
            # The reader stops early; the server forgets the cursor by itself if this cannot reach it.
            with contextlib.suppress(PyMongoError):
                database.command(
                    {"killCursors": collection, "cursors": [cursor]},
                    session=session,
                    read_preference=options["read_preference"],
                )


def _raw(reply: Any) -> memoryview:
    return memoryview(reply.raw)


def _next_size(batch: Batch, asked: int, batch_bytes: int, max_documents: int) -> int:
    """Documents of the next batch, from the bytes that the last one had."""
    if batch.size_bytes == 0:
        return asked
    per_document = max(1, batch.size_bytes // asked)
    return max(1, min(max_documents, batch_bytes // per_document, asked * 16))


def read_cursor(reply: memoryview) -> tuple[int, Batch]:
    """Cursor id and batch of a reply.

    Raises
    ------
    BrokenBatch
        When the reply has neither.
    """
    cursor, start, stop = 0, 0, 0
    for bson_type, name, place, end in elements(reply, 0):
        if name != b"cursor" or bson_type != DOCUMENT:
            continue
        for inner_type, inner_name, inner_place, inner_end in elements(reply, place):
            if inner_name == b"id" and inner_type == INT64:
                cursor = int.from_bytes(reply[inner_place:inner_end], "little", signed=True)
            elif inner_name in (b"firstBatch", b"nextBatch") and inner_type == ARRAY:
                start, stop = inner_place + 4, inner_end - 1
        if start:
            return cursor, Batch(reply, start, stop)
        del end
    raise BrokenBatch("the server's reply holds no cursor")


SIZES = {DOUBLE: 8, 8: 1, 9: 8, 7: 12, 10: 0, 16: 4, 17: 8, INT64: 8, 19: 16, 6: 0, 255: 0, 127: 0}


def elements(reply: memoryview, start: int) -> Iterator[tuple[int, bytes, int, int]]:
    """Type, name, begin and end of the value of every element of the document at `start`."""
    stop = start + int.from_bytes(reply[start : start + 4], "little") - 1
    place = start + 4
    while place < stop:
        bson_type = reply[place]
        name_start = place = place + 1
        while reply[place]:
            place += 1
        name = bytes(reply[name_start:place])
        place += 1
        length = int.from_bytes(reply[place : place + 4], "little")
        if bson_type in SIZES:
            size = SIZES[bson_type]
        elif bson_type in (DOCUMENT, ARRAY):
            size = length
        elif bson_type == 5:
            size = 5 + length
        elif bson_type in (2, 13, 14):
            size = 4 + length
        elif bson_type == 11:
            size = reply.tobytes().index(0, reply.tobytes().index(0, place) + 1) + 1 - place
        elif bson_type == 12:
            size = 16 + length
        elif bson_type == 15:
            size = length
        else:
            raise BrokenBatch(f"the server's reply holds a value of type 0x{bson_type:02x} in {name!r}")
        yield bson_type, name, place, place + size
        place += size
