"""A piece of a read: rows and rejects of some documents in a row, in memory or put down in the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import bson
import pyarrow as pa

from assets.mongo.extract import Resume
from assets.mongo.ids import EXACT
from assets.mongo.rejects import Reject, read_rejects_table, rejects_batch
from assets.mongo.schema import REJECTS

FACTS = b"piece"


@dataclass(frozen=True, slots=True)
class Piece:
    """What became of some documents of one range of `_id`.

    Parameters
    ----------
    rows, rejects
        In `_id` order.
    resume
        Last document of the piece; the next piece of the range goes on behind it.
    num_documents
        Documents of the piece.
    is_last
        Whether the range ends here.
    is_exact
        Whether all were read as of the time that the plan says, none later.
    """

    rows: Sequence[pa.RecordBatch]
    rejects: Sequence[Reject]
    resume: Resume | None
    num_documents: int
    is_last: bool
    is_exact: bool


def encode(piece: Piece, schema: pa.Schema) -> pa.Buffer:
    """A piece as two Arrow streams, one after the other: rows, and rejects."""
    resume = piece.resume
    facts: dict[str, Any] = {
        "resume": None if resume is None else {"id": resume.id, "num_documents": resume.num_documents},
        "num_documents": piece.num_documents,
        "is_last": piece.is_last,
        "is_exact": piece.is_exact,
    }
    out = pa.BufferOutputStream()
    with pa.ipc.new_stream(out, schema.with_metadata({FACTS: bson.encode(facts)})) as writer:
        for batch in piece.rows:
            writer.write_batch(batch)
    with pa.ipc.new_stream(out, REJECTS) as writer:
        writer.write_batch(rejects_batch(piece.rejects))
    return out.getvalue()


def decode(data: memoryview, schema: pa.Schema) -> Piece:
    """A piece out of its two streams; rows stay where they are."""
    source = pa.BufferReader(pa.py_buffer(data))
    with pa.ipc.open_stream(source) as reader:
        facts = bson.decode(reader.schema.metadata[FACTS], EXACT)
        rows = [pa.RecordBatch.from_arrays(batch.columns, schema=schema) for batch in reader]
    with pa.ipc.open_stream(source) as reader:
        rejects = read_rejects_table(reader.read_all())
    resume = facts["resume"]
    return Piece(
        rows,
        rejects,
        None if resume is None else Resume(resume["id"], resume["num_documents"]),
        facts["num_documents"],
        facts["is_last"],
        facts["is_exact"],
    )
