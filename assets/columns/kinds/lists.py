"""Encoders of `list` columns (ragged, nested once or more) and `text` columns (UTF-8 or token ids)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from assets.columns.errors import ColumnError
from assets.columns.hashing import binary_parts
from assets.columns.kinds.base import (
    AnyArray,
    BoolArray,
    Encoded,
    Encoder,
    IntArray,
    array_of,
    count_missing,
    presence,
    select,
)
from assets.columns.kinds.numeric import Cast
from assets.columns.rejects import Fault
from assets.columns.stats.counts import Counts
from assets.columns.stats.summary import NumberSummary, Summary
from assets.spec.columns import ListColumn, TextColumn
from shards.arrow_types import spell

PLAIN = {"string": pa.large_string(), "bool": pa.bool_()}
MAX_TOKENIZER_BYTES = 256 << 20


class ListEncoder(Encoder):
    """A list of any length."""

    def __init__(self, name: str, spec: ListColumn) -> None:
        super().__init__(name, spec)
        self.cast: Cast | None = None
        element = PLAIN.get(spec.element)
        if element is None:
            self.cast = Cast(
                spec.element,
                spec.minimum,
                spec.maximum,
                keep_non_finite=spec.non_finite == "keep",
                round=spec.round,
            )
            element = pa.from_numpy_dtype(np.dtype(spec.element))
        self.types = [element]
        for _ in range(spec.depth):
            self.types.append(pa.large_list(self.types[-1]))
        self.columns = (
            self.arrow_column(spell(self.types[-1]), element=spec.element, depth=spec.depth),
            *self.mask_columns(),
        )

    def encode(self, batch: pa.RecordBatch) -> Encoded:
        """Cast the innermost values and keep the lists around them; an absent list is empty."""
        array = array_of(batch, self.name)
        present = presence(array)
        offsets = [offsets_of(array, present)]
        inner = array.flatten()
        for _ in range(self.spec.depth - 1):
            offsets.append(offsets_of(inner, None))
            inner = inner.flatten()
        faults: list[Fault] = []
        seen: AnyArray | None = None
        if self.cast is not None:
            numbers = inner.to_numpy(zero_copy_only=False)
            seen, found = self.cast.apply(numbers)
            for reason, expected, mask in found:
                leaves = np.flatnonzero(mask)
                rows, first = np.unique(owners_of(offsets, leaves), return_index=True)
                got = numbers[leaves[first]].tolist()
                faults.append(Fault(self.name, self.path, rows, reason, expected, got))
            inner = pa.array(seen)
        elif inner.type != self.types[0]:
            inner = inner.cast(self.types[0])
        nested = inner
        for level, starts in enumerate(reversed(offsets)):
            nested = pa.LargeListArray.from_arrays(pa.array(starts), nested, type=self.types[level + 1])
        return Encoded(self.stored(nested, present), present=present, faults=faults, seen=(offsets, seen))

    def summarise(self, encoded: Encoded, rows: BoolArray) -> Summary:
        """Summarise the outer lengths, and the numbers inside."""
        offsets, numbers = encoded.seen
        lengths = np.diff(offsets[0])
        values = None
        if numbers is not None:
            if not rows.all():
                ends = offsets[0]
                for starts in offsets[1:]:
                    ends = starts[ends]
                numbers = numbers[np.repeat(rows, np.diff(ends))]
            values = NumberSummary.of(numbers, quantiles=True)
        return Summary(
            int(np.count_nonzero(rows)),
            count_missing(encoded.present, rows),
            values=values,
            lengths=NumberSummary.of(select(lengths, rows, encoded.present), quantiles=True),
        )


def offsets_of(array: pa.Array, present: BoolArray | None) -> IntArray:
    """Give the offsets of a list array into its flattened values, from zero."""
    if pa.types.is_fixed_size_list(array.type):
        return np.arange(len(array) + 1, dtype=np.int64) * int(array.type.list_size)
    offsets: IntArray = np.asarray(array.offsets.to_numpy(zero_copy_only=False), np.int64)
    if present is None:
        from_zero: IntArray = offsets - offsets[0]
        return from_zero
    lengths = np.where(present, np.diff(offsets), 0)
    packed: IntArray = np.concatenate((np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)))
    return packed


def owners_of(offsets: list[IntArray], leaves: IntArray) -> IntArray:
    """Give the row that holds each of the innermost values."""
    places = leaves
    for starts in reversed(offsets):
        places = np.searchsorted(starts, places, side="right") - 1
    return places


class TextEncoder(Encoder):
    """One string a row, kept as it is."""

    def __init__(self, name: str, spec: TextColumn) -> None:
        super().__init__(name, spec)
        self.columns = (self.arrow_column("large_string"), *self.mask_columns())

    def texts(self, batch: pa.RecordBatch) -> tuple[pa.Array, BoolArray | None]:
        """Give the strings, the default or an empty one where there is none."""
        array = array_of(batch, self.name)
        present = presence(array)
        if present is None:
            return array, None
        return array.fill_null(self.spec.default or ""), present if self.spec.default is None else None

    def encode(self, batch: pa.RecordBatch) -> Encoded:
        """Keep the strings."""
        texts, present = self.texts(batch)
        return Encoded(self.stored(texts, present), present=present, seen=(binary_parts(texts)[2], texts))

    def summarise(self, encoded: Encoded, rows: BoolArray) -> Summary:
        """Measure the strings in bytes, and count the short ones of a sample at the head of the batch."""
        lengths, texts = encoded.seen
        counts = None
        if texts is not None:
            counts = Counts()
            wanted = np.flatnonzero(rows if encoded.present is None else rows & encoded.present)
            head = texts.take(pa.array(wanted[:SAMPLED_TEXTS]))
            found = head.value_counts()
            counts.add(found.field(0).to_pylist(), found.field(1).to_pylist())
        return Summary(
            int(np.count_nonzero(rows)),
            count_missing(encoded.present, rows),
            lengths=NumberSummary.of(select(lengths, rows, encoded.present), quantiles=True),
            counts=counts,
        )


SAMPLED_TEXTS = 1_000


class TokenEncoder(TextEncoder):
    """One string a row as token ids, by a tokenizer of the library `tokenizers`.

    The file is JSON and read by that library's own parser; no code is loaded from it.
    """

    def __init__(self, name: str, spec: TextColumn) -> None:
        super().__init__(name, spec)
        self.type = pa.large_list(pa.int32())
        self.tokenizer = load_tokenizer(name, str(spec.tokenizer))
        self.columns = (
            self.arrow_column(
                spell(self.type),
                tokenizer=Path(str(spec.tokenizer)).name,
                num_tokens=self.tokenizer.get_vocab_size(),
                max_tokens=spec.max_tokens,
            ),
            *self.mask_columns(),
        )

    def encode(self, batch: pa.RecordBatch) -> Encoded:
        """Tokenize the strings, and cut what is longer than declared."""
        texts, present = self.texts(batch)
        encodings = self.tokenizer.encode_batch_fast(texts.to_pylist())
        limit = self.spec.max_tokens
        ids = [np.asarray(one.ids[:limit], np.int32) for one in encodings]
        if present is not None:
            for row in np.flatnonzero(~present).tolist():
                ids[row] = np.zeros(0, np.int32)
        lengths = np.array([len(one) for one in ids], np.int64)
        offsets = np.concatenate((np.zeros(1, np.int64), np.cumsum(lengths)))
        flat = np.concatenate(ids) if ids else np.zeros(0, np.int32)
        tokens = pa.LargeListArray.from_arrays(pa.array(offsets), pa.array(flat), type=self.type)
        return Encoded(self.stored(tokens, present), present=present, seen=(lengths, None))


def load_tokenizer(name: str, path: str) -> Any:
    """Read a tokenizer.

    Raises
    ------
    ColumnError
        The library is not installed, or the file is absent, too large or no tokenizer.
    """
    try:
        from tokenizers import Tokenizer  # type: ignore[import-not-found,unused-ignore]
    except ImportError as error:
        raise ColumnError(
            f"column {name}: tokenizer {path} needs a library; pip install 'shardmill[tokenizers]'"
        ) from error
    file = Path(path)
    if not file.is_file():
        raise ColumnError(f"column {name}: tokenizer {path} is no file; save one with Tokenizer.save(path)")
    if file.stat().st_size > MAX_TOKENIZER_BYTES:
        raise ColumnError(f"column {name}: tokenizer {path} is larger than {MAX_TOKENIZER_BYTES >> 20} MiB")
    try:
        return Tokenizer.from_str(file.read_text(encoding="utf-8"))
    except Exception as error:  # the library raises bare Exception for every malformed file
        raise ColumnError(f"column {name}: tokenizer {path} is no tokenizers JSON file: {error}") from error


def text_encoder(name: str, spec: TextColumn) -> Encoder:
    """Choose the encoder of a text."""
    return TextEncoder(name, spec) if spec.tokenizer is None else TokenEncoder(name, spec)
