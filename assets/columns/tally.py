"""Columns encoded and summarised batch by batch, in a pool: shared by builds of records and by recounts."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pyarrow as pa

from assets.columns.kinds.base import BoolArray, Encoded, Encoder
from assets.columns.kinds.category import OpenEncoder
from assets.columns.stats.summary import Summary

MAX_THREADS = 4


def pool_of_threads() -> ThreadPoolExecutor:
    """Make the pool that a build encodes and summarises in."""
    return ThreadPoolExecutor(max(1, min(MAX_THREADS, os.cpu_count() or 1)))


def encoded_ahead(
    encoders: Sequence[Encoder], batches: Iterator[pa.RecordBatch], pool: ThreadPoolExecutor
) -> Iterator[tuple[pa.RecordBatch, list[Encoded]]]:
    """Give every batch with its columns; while one is used, the pool encodes the next."""

    def begin(batch: pa.RecordBatch | None) -> list[Future[Encoded]]:
        return [] if batch is None else [pool.submit(one.encode, batch) for one in encoders]

    batch = next(batches, None)
    encoding = begin(batch)
    while batch is not None:
        encoded = [one.result() for one in encoding]
        following = next(batches, None)
        encoding = begin(following)
        yield batch, encoded
        batch = following


class Tally:
    """Summaries of every column over the batches noted so far: of train rows, and of the rest."""

    def __init__(self, encoders: Sequence[Encoder], pool: ThreadPoolExecutor) -> None:
        self._encoders, self._pool = encoders, pool
        self._summaries = {one.name: (Summary(), Summary()) for one in encoders}
        self._noted: dict[str, Future[tuple[Summary, Summary]]] = {}

    def note(self, encoded: Sequence[Encoded], train: BoolArray, rest: BoolArray) -> None:
        """Begin to summarise a batch, once the one before is done."""

        def summarise(encoder: Encoder, one: Encoded) -> tuple[Summary, Summary]:
            encoder.observe(one, train, rest)
            return encoder.summarise(one, train), encoder.summarise(one, rest)

        self._merge()
        pairs = zip(self._encoders, encoded, strict=True)
        self._noted = {encoder.name: self._pool.submit(summarise, encoder, one) for encoder, one in pairs}

    def _merge(self) -> None:
        for name, noted in self._noted.items():
            before, (train, rest) = self._summaries[name], noted.result()
            self._summaries[name] = (before[0].merge(train), before[1].merge(rest))
        self._noted = {}

    def statistics(self) -> dict[str, Any]:
        """Give the summaries of every column as manifests hold them."""
        self._merge()
        written = {}
        for encoder in self._encoders:
            train, rest = self._summaries[encoder.name]
            if isinstance(encoder, OpenEncoder):
                train.counts, rest.counts = encoder.counts(train=True), encoder.counts(train=False)
            written[encoder.name] = {
                "kind": encoder.spec.kind,
                "train": train.to_json(),
                "rest": rest.to_json(),
            }
        return written
