"""How a partition was read, and whether as many documents came as the server counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from assets.mongo.errors import CountDiffers
from assets.mongo.extract import Query
from assets.mongo.rejects import Reject
from assets.mongo.server import Guarantee
from assets.mongo.sinks import Sink


@dataclass(slots=True)
class Outcome:
    """How a partition was read.

    Parameters
    ----------
    num_documents
        Rows and rejects; `num_read` of them came from the server now, `num_kept` were put down by an earlier
        run that did not end.
    """

    guarantee: Guarantee
    num_documents: int = 0
    num_read: int = 0
    num_kept: int = 0
    num_ranges: int = 1
    server_count: int | None = None
    num_resumed: int = 0
    mode: str = "full"
    num_changed: int = 0
    warnings: list[str] = field(default_factory=list)


def check_count(
    query: Query, at: Guarantee, expected: int | None, num_documents: int, outcome: Outcome
) -> None:
    """Compare what was read with what the server counts, and note it.

    Raises
    ------
    CountDiffers
        They differ, though both were of one point in time.
    """
    if expected is None:
        return
    outcome.server_count = (outcome.server_count or 0) + expected
    if at.cluster_time is not None and expected != num_documents:
        raise CountDiffers(
            f"{query.database}.{query.collection}: {num_documents} documents were read, the server counts "
            f"{expected} at the same cluster time; nothing was published"
        )


class Counting:
    """Passes everything on and counts it."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self.num_documents = 0

    def rows(self, batch: pa.RecordBatch) -> None:
        """Take rows."""
        self.num_documents += batch.num_rows
        self._sink.rows(batch)

    def rejects(self, rejects: Sequence[Reject]) -> None:
        """Take rejects."""
        self.num_documents += len(rejects)
        self._sink.rejects(rejects)
