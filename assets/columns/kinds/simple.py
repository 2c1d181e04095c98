"""Encoders of `bool`, `id`, `binary`, `record` and `embedding` columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from assets.columns.fields import fields_of_column
from assets.columns.hashing import binary_parts
from assets.columns.kinds.base import (
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
from assets.mongo.fields import FieldType, ListOf, Struct
from assets.mongo.schema import SCALARS
from assets.spec.columns import BoolColumn, EmbeddingColumn, IdColumn
from shards.arrow_types import spell


class BoolEncoder(Encoder):
    """One truth value a row."""

    def __init__(self, name: str, spec: BoolColumn) -> None:
        super().__init__(name, spec)
        self.columns = (self.column("|b1"), *self.mask_columns())

    def encode(self, batch: pa.RecordBatch) -> Encoded:
        """Unpack the bits."""
        array = array_of(batch, self.name)
        present = presence(array)
        if present is not None:
            array = array.fill_null(bool(self.spec.default))
            present = present if self.spec.default is None else None
        values = np.asarray(array.to_numpy(zero_copy_only=False), np.bool_)
        return Encoded(self.stored(values, present), present=present, seen=values)

    def summarise(self, encoded: Encoded, rows: BoolArray) -> Summary:
        """Count true and false."""
        picked = select(encoded.seen, rows, encoded.present)
        num_true = int(np.count_nonzero(picked))
        counts = Counts()
        pairs = [("true", num_true), ("false", len(picked) - num_true)]
        counts.add([name for name, count in pairs if count], [count for _, count in pairs if count])
        missing = count_missing(encoded.present, rows)
        return Summary(int(np.count_nonzero(rows)), missing, counts=counts)


class IdEncoder(Encoder):
    """An identifier: 12 or 16 bytes, an integer, or a string."""

    def __init__(self, name: str, spec: IdColumn) -> None:
        super().__init__(name, spec)
        width = {"objectid": 12, "uuid": 16}.get(spec.type)
        if spec.type == "string":
            first = self.arrow_column("large_string", type=spec.type)
        elif width is None:
            first = self.column("<i8", type=spec.type)
        else:
            first = self.column("|u1", (width,), type=spec.type)
        self.columns = (first, *self.mask_columns())

    def encode(self, batch: pa.RecordBatch) -> Encoded:
        """Give the identifiers' bytes, zeros where there is none."""
        array = array_of(batch, self.name)
        present = presence(array)
        if self.spec.type == "string":
            values: Any = array if present is None else array.fill_null("")
        elif self.spec.type == "int64":
            values = (array if present is None else array.fill_null(0)).to_numpy(zero_copy_only=False)
        else:
            width = array.type.byte_width
            octets = np.frombuffer(array.buffers()[1], np.uint8) if len(array) else np.zeros(0, np.uint8)
            values = octets[array.offset * width : (array.offset + len(array)) * width].reshape(-1, width)
            if present is not None:
                values = np.where(present[:, None], values, np.uint8(0))
        return Encoded(self.stored(values, present), present=present)

    def summarise(self, encoded: Encoded, rows: BoolArray) -> Summary:
        """Count rows."""
        return Summary(int(np.count_nonzero(rows)), count_missing(encoded.present, rows))


class ArrowEncoder(Encoder):
    """A value kept as Arrow has it: `binary` and `record`."""

    def __init__(self, name: str, spec: Any) -> None:
        super().__init__(name, spec)
        self.type = stored_type(fields_of_column(name, spec)[0].type)
        self.columns = (self.arrow_column(spell(self.type)), *self.mask_columns())

    def encode(self, batch: pa.RecordBatch) -> Encoded:
        """Give the values, empty ones where there is none."""
        array = array_of(batch, self.name)
        present = presence(array)
        if array.type != self.type:
            array = array.cast(self.type)
        lengths = None
        if pa.types.is_large_binary(self.type):
            lengths = binary_parts(array)[2]
            if present is not None:
                array = array.fill_null(b"")
        return Encoded(self.stored(array, present), present=present, seen=lengths)

    def summarise(self, encoded: Encoded, rows: BoolArray) -> Summary:
        """Count rows and measure bytes."""
        lengths = None
        if encoded.seen is not None:
            lengths = NumberSummary.of(select(encoded.seen, rows, encoded.present), quantiles=True)
        missing = count_missing(encoded.present, rows)
        return Summary(int(np.count_nonzero(rows)), missing, lengths=lengths)


def stored_type(kind: FieldType) -> pa.DataType:
    """Arrow type in which shards keep a field's values: that of the documents, everything nullable."""
    if isinstance(kind, ListOf):
        return pa.large_list(stored_type(kind.element))
    if isinstance(kind, Struct):
        return pa.struct([pa.field(member.name, stored_type(member.type)) for member in kind.members])
    if isinstance(kind, str):
        return SCALARS[kind]
    raise TypeError(f"{kind} has no stored type")


VECTOR_SUBTYPE = 9
BINARY_TYPE = 0x05
PACKED_BIT = 0x10
VECTOR_DTYPES = {0x03: "int8", 0x27: "float32"}


class EmbeddingEncoder(Encoder):
    """A vector inside one BSON binary value.

    Subtype 9 is the BSON vector (MongoDB specification "BSON Binary Subtype 9 - Vector"): a byte that names
    the dtype, a byte of padding, the numbers in little-endian order. Other subtypes are raw little-endian
    numbers of the declared dtype.
    """

    def __init__(self, name: str, spec: EmbeddingColumn) -> None:
        super().__init__(name, spec)
        self.cast = Cast(
            spec.dtype, keep_non_finite=spec.non_finite == "keep", keep_nan=spec.missing == "nan"
        )
        self.length = spec.length
        self.columns = (self.column(self.cast.stored, (spec.length,)), *self.mask_columns())

    def encode(self, batch: pa.RecordBatch) -> Encoded:
        """Unpack the vectors."""
        array = array_of(batch, self.name)
        present = presence(array)
        num_rows = len(array)
        values = np.zeros((num_rows, self.length), self.spec.dtype)
        octets, starts, lengths = binary_parts(array)
        bad: dict[int, str] = {}
        for rows, source, dtype in self._groups(octets, starts, lengths, bad):
            values[rows], more = self._unpack(octets, starts[rows] + source, dtype)
            for _, text, mask in more:
                for row in rows[mask.any(axis=1)].tolist():
                    bad.setdefault(row, f"numbers that are not {text}")
        if present is not None and self.spec.missing == "nan":
            values[~present] = np.nan
        faults = []
        if bad:
            places = np.array(sorted(bad), np.int64)
            values[places] = 0
            expected = f"binary of {self.length} {self.spec.dtype} (raw, or BSON vector)"
            got = [bad[row] for row in places.tolist()]
            faults.append(Fault(self.name, self.path, places, "wrong type", expected, got))
        return Encoded(self.stored(values, present), present=present, faults=faults, seen=values)

    def _groups(
        self, octets: Any, starts: IntArray, lengths: IntArray, bad: dict[int, str]
    ) -> list[tuple[IntArray, int, str]]:
        """Sort rows by how they are packed: rows, offset of the numbers in the raw value, dtype by name."""
        item_bytes = np.dtype(self.spec.dtype).itemsize
        groups: dict[tuple[int, str], list[int]] = {}
        keys, where = np.unique(self._heads(octets, starts, lengths), axis=0, return_inverse=True)
        where = where.reshape(-1)
        for index, (size, kind, subtype, code, padding) in enumerate(keys.tolist()):
            rows = np.flatnonzero(where == index)
            payload = size - 6
            if size == 0:
                continue
            if kind != BINARY_TYPE:
                bad.update(dict.fromkeys(rows.tolist(), f"BSON type 0x{kind:02x}"))
            elif subtype != VECTOR_SUBTYPE and payload == self.length * item_bytes:
                groups.setdefault((6, self.spec.dtype), []).extend(rows.tolist())
            elif subtype != VECTOR_SUBTYPE:
                bad.update(dict.fromkeys(rows.tolist(), f"{payload} bytes"))
            else:
                dtype, wanted = self._vector(code)
                if dtype is None or payload != wanted or padding != self._padding(code):
                    found = VECTOR_DTYPES.get(code, "packed bit" if code == PACKED_BIT else f"0x{code:02x}")
                    text = f"BSON vector of {found}, {payload - 2} bytes, padding {padding}"
                    bad.update(dict.fromkeys(rows.tolist(), text))
                else:
                    groups.setdefault((8, dtype), []).extend(rows.tolist())
        return [(np.array(rows, np.int64), offset, dtype) for (offset, dtype), rows in groups.items()]

    def _padding(self, code: int) -> int:
        return -self.length % 8 if code == PACKED_BIT else 0

    def _vector(self, code: int) -> tuple[str | None, int]:
        if code == PACKED_BIT:
            return "bits", 2 + -(-self.length // 8)
        dtype = VECTOR_DTYPES.get(code)
        return dtype, 2 + self.length * (np.dtype(dtype).itemsize if dtype else 0)

    @staticmethod
    def _heads(octets: Any, starts: IntArray, lengths: IntArray) -> IntArray:
        """Length, BSON type, subtype and the two bytes of a vector's header, row by row."""
        heads = np.zeros((len(starts), 5), np.int64)
        heads[:, 0] = lengths
        for column, offset in ((1, 0), (2, 5), (3, 6), (4, 7)):
            rows = np.flatnonzero(lengths > offset)
            heads[rows, column] = octets[starts[rows] + offset]
        plain = heads[:, 2] != VECTOR_SUBTYPE
        heads[plain, 3:] = 0
        return heads

    def _unpack(
        self, octets: Any, starts: IntArray, dtype: str
    ) -> tuple[Any, list[tuple[str, str, BoolArray]]]:
        num_bytes = -(-self.length // 8) if dtype == "bits" else self.length * np.dtype(dtype).itemsize
        block = octets[starts[:, None] + np.arange(num_bytes)]
        if dtype == "bits":
            return np.unpackbits(block, axis=1)[:, : self.length].astype(self.spec.dtype), []
        numbers = np.ascontiguousarray(block).view(np.dtype(dtype).newbyteorder("<"))
        if dtype == self.spec.dtype and dtype.startswith(("int", "uint")):
            return numbers, []
        if dtype.startswith("float"):
            return self.cast.apply(numbers.astype(np.float64))
        return self.cast.apply(numbers.astype(np.int64))

    def summarise(self, encoded: Encoded, rows: BoolArray) -> Summary:
        """Summarise the numbers, element by element."""
        picked = select(encoded.seen, rows, encoded.present)
        values = NumberSummary.of(picked, quantiles=False)
        return Summary(int(np.count_nonzero(rows)), count_missing(encoded.present, rows), values=values)
