"""Fuzz the BSON walker: mutated documents, `bson.decode` as the oracle of what is valid.

    python -m fuzz.documents [--num 1000000] [--seed 0]

A document that `bson.decode` refuses must be rejected; one that it accepts must give exactly what
`fuzz.reference` says, a row or a reject. Documents are walked alone and in groups, one behind the other or as
elements of an array, and every group ends at an unreadable page, so that a read behind its end kills the
process.
"""

from __future__ import annotations

import argparse
import ctypes
import datetime
import math
import mmap
import random
import struct
import sys
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from typing import Any

import bson
import pyarrow as pa
from bson import Binary, Code, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.codec_options import CodecOptions, DatetimeConversion

from assets.mongo.columns import Columns
from assets.mongo.fields import AnyOf, Field, ListOf, Struct
from assets.mongo.schema import ID
from fuzz.reference import Unfit, extract

FIELDS = [
    ID,
    Field("whole", "whole", "int64"),
    Field("bounded", "whole", "int64", minimum=-10, maximum=1 << 40),
    Field("unsigned", "unsigned", "uint64", required=False),
    Field("real", "real", "float64"),
    Field("flag", "flag", "bool", required=False),
    Field("when", "when", "timestamp", required=False),
    Field("text", "text", "string", required=False),
    Field("data", "data", "binary", required=False),
    Field("owner", "owner", "objectid", required=False),
    Field("key", "key", "uuid", required=False),
    Field("amount", "amount", "decimal128", required=False),
    Field("anything", "anything", "raw", required=False),
    Field("city", "place.city", "string", required=False),
    Field("latitude", "place.position.latitude", "float64", required=False, minimum=-90, maximum=90),
    Field("vector", "vector", ListOf("float64", 3), required=False),
    Field("first", "vector.0", "float64", required=False),
    Field("numbers", "numbers", ListOf("int64"), required=False),
    Field("words", "words.*", ListOf("string"), required=False),
    Field("boxes", "objects.*.box", ListOf(ListOf("float64", 2)), required=False),
    Field("mixed", "mixed", ListOf("raw"), required=False),
    Field("a name of 15 ch", "a name of 15 ch", "int64", required=False),
    Field("one of 16 chars.", "one of 16 charsX", "string", required=False),
    Field("long", "a name that is longer than two words of memory", "timestamp", required=False),
    Field("moments", "moments", ListOf("timestamp"), required=False),
    Field("small", "small", ListOf("int64"), required=False, minimum=-3, maximum=90),
    Field("either", "either", AnyOf(("string", "float64", "binary", "objectid")), required=False),
    Field(
        "nested",
        "nested",
        Struct(
            (
                Field("a", "a", "int64"),
                Field("b", "b", ListOf(Struct((Field("c", "c", "string", required=False),)))),
                Field("pair", "pair", ListOf(AnyOf(("int64", "string")), 2), required=False),
            )
        ),
        required=False,
    ),
]
ORACLE: CodecOptions[dict[str, Any]] = CodecOptions(datetime_conversion=DatetimeConversion.DATETIME_MS)
MOMENT = datetime.datetime(2024, 2, 29)
MOMENTS = {"when": pa.int64(), "long": pa.int64(), "moments": pa.large_list(pa.int64())}
PROT_NONE = 0
NUM_TOGETHER = 500
GROUPS = [1, 1, 1, 2, 7, 20]
"""Documents that are walked by one call."""

INTERESTING = [0, 1, -1, 2, 4, 5, 12, 16, 127, 128, 255, 256, 1 << 16, (1 << 31) - 1, -(1 << 31), 1 << 30]


def arrow_value(value: Any) -> Any:
    """A value of `to_pylist` made comparable: moments as milliseconds, NaN as a text, structs as dicts."""
    if isinstance(value, datetime.datetime):
        raise TypeError("timestamps are cast before")
    if isinstance(value, float):
        return "nan" if math.isnan(value) else struct.pack("<d", value)
    if isinstance(value, list):
        return [arrow_value(one) for one in value]
    if isinstance(value, dict):
        return {key: arrow_value(one) for key, one in value.items()}
    return value


def make_document(rng: random.Random) -> bytes:
    """A document that mostly fits."""
    text = rng.choice(["", "a", "zürich", "日本語のテキスト", "x" * rng.randrange(40), "\U0001f600!"])
    document: dict[str, Any] = {
        "_id": rng.choice([ObjectId(), 7, "id", None, {"a": 1}, Int64(1 << 40), uuid_value(rng), 1.5]),
        "whole": rng.choice([1, -3, Int64(1 << 41), Int64(1 << 20)]),
        "real": rng.choice([*4 * [0.5, math.nan, math.inf, 3, Int64(1 << 53), -0.0], Int64((1 << 53) + 1)]),
        "unsigned": rng.choice([0, 5, Int64((1 << 63) - 1), None]),
        "flag": rng.random() < 0.5,
        "when": datetime.datetime(2024, 1, 1) + datetime.timedelta(milliseconds=rng.randrange(1 << 40)),
        "text": text,
        "data": rng.choice([b"", b"abc", Binary(b"xyz", 5), Binary(b"old", 2), Binary(b"v", 128)]),
        "owner": ObjectId(),
        "key": uuid_value(rng),
        "amount": Decimal128(str(rng.random())),
        "anything": rng.choice(
            [
                1,
                "a",
                [1, {"b": None}],
                {"deep": {"er": [[]]}},
                MinKey(),
                MaxKey(),
                Regex("a.*", "i"),
                Timestamp(1, 2),
                Code("f()"),
                Code("g()", {"x": 1}),
                Decimal128("NaN"),
                None,
            ]
        ),
        "place": rng.choice(
            [{"city": text, "position": {"latitude": 47.5, "z": 1}}, {"position": None}, None, {}]
        ),
        "vector": rng.choice([*5 * [[1.0, 2.0, 3], [0.5] * 3, None], []]),
        "numbers": [rng.randrange(-100, 100) for _ in range(rng.randrange(12))],
        "words": rng.choice([["a", text], [], None, [text[:size] for size in range(rng.randrange(14))]]),
        "objects": rng.choice([[{"box": [1.0, 2.0], "n": 1}, {"box": [3.0, 4]}], [], None]),
        "mixed": rng.choice([[1, "a", None, {"x": []}], []]),
        "a name of 15 ch": rng.choice([1, Int64(-1), None]),
        "one of 16 charsX": "é" * rng.randrange(3) + "x" * rng.randrange(20),
        "a name that is longer than two words of memory": MOMENT,
        "moments": [MOMENT] * rng.choice([0, 1, 9, 11, 12, 105]),
        "small": [rng.choice([rng.randrange(-3, 91), Int64(7)]) for _ in range(rng.choice([0, 1, 3, 12]))],
        "either": rng.choice(["s", 1.5, 3, b"bytes", ObjectId(), None]),
        "nested": rng.choice([{"a": 1, "b": [{"c": text}, {}], "pair": [1, "x"]}, {"a": 2, "b": []}, None]),
        "other": rng.choice([{"k" * rng.randrange(20): [1, 2, {"q": text}]}, [[[[]]]], "other", 1]),
    }
    for name in rng.sample(sorted(document), rng.randrange(6)):
        if name not in ("_id", "whole", "real"):
            del document[name]
    if rng.random() < 0.3:
        names = list(document)
        rng.shuffle(names)
        document = {name: document[name] for name in names}
    return bson.encode(document)


def uuid_value(rng: random.Random) -> Binary:
    """A UUID of either subtype."""
    return Binary(uuid.UUID(int=rng.getrandbits(128)).bytes, rng.choice([3, 4]))


def mutate(rng: random.Random, document: bytes) -> bytes:
    """Break a document a little, or not at all."""
    data = bytearray(document)
    for _ in range(rng.choice([0, 0, 1, 1, 1, 1, 2, 4])):
        place = rng.randrange(4, len(data))
        kind = rng.randrange(9)
        if kind == 0:
            data[place] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[place] = rng.randrange(256)
        elif kind == 2:
            data[place : place + 4] = struct.pack("<i", rng.choice(INTERESTING))
        elif kind == 3:
            old = int.from_bytes(data[place : place + 4], "little", signed=True)
            data[place : place + 4] = struct.pack(
                "<i", max(-(1 << 31), min((1 << 31) - 1, old + rng.choice([-1, 1, 4, -4])))
            )
        elif kind == 4:
            data[place : place + rng.randrange(1, 9)] = b""
        elif kind == 5:
            data[place:place] = rng.randbytes(rng.randrange(1, 9))
        elif kind == 6:
            data[place] = rng.choice(
                [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 127, 255]
            )
        elif kind == 7:
            start = rng.randrange(4, len(data))
            data[place:place] = data[start : start + rng.randrange(1, 40)]
        else:
            data[place : place + 1] = rng.choice(
                [b"\xc3\xa9", b"\xff", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\0", b"\xc0\x80"]
            )
        if len(data) < 5:
            data = bytearray(document)
    data[:4] = struct.pack("<i", len(data))
    if rng.random() < 0.9:
        data[-1] = 0
    return bytes(data)


class Guarded:
    """Memory whose end is followed by a page that cannot be read."""

    def __init__(self, num_bytes: int = 1 << 17) -> None:
        self.size = num_bytes
        self._map = mmap.mmap(-1, num_bytes + mmap.PAGESIZE)
        address = ctypes.addressof(ctypes.c_char.from_buffer(self._map))
        protect = ctypes.CDLL(None, use_errno=True).mprotect
        if protect(ctypes.c_void_p(address + num_bytes), ctypes.c_size_t(mmap.PAGESIZE), PROT_NONE):
            raise OSError(ctypes.get_errno(), "mprotect")
        self.view = memoryview(self._map)[:num_bytes]

    def put(self, data: bytes) -> int:
        """Lay the bytes at the very end; where they begin."""
        start = self.size - len(data)
        self.view[start:] = data
        return start


def oracle_accepts(data: bytes) -> bool:
    """Whether `bson.decode` takes the document."""
    try:
        bson.decode(data, ORACLE)
    except bson.errors.InvalidBSON:
        return False
    return True


def expect(data: bytes) -> tuple[str, dict[str, Any] | None]:
    """What becomes of a document: `invalid`, `rejected` or `rows`, and its row."""
    if not oracle_accepts(data):
        return "invalid", None
    try:
        return "rows", extract(data, FIELDS)
    except Unfit:
        return "rejected", None


def frame(group: Sequence[bytes], is_array: bool) -> bytes:
    """Documents end to end, or as the elements of an array."""
    if not is_array:
        return b"".join(group)
    return b"".join(b"\x03%d\0%b" % pair for pair in enumerate(group))


def rows_of(batches: list[pa.RecordBatch]) -> list[dict[str, Any]]:
    """Rows with timestamps as integers."""
    rows: list[dict[str, Any]] = []
    for batch in batches:
        batch.validate(full=True)
        for name, type_ in (
            ("when", pa.int64()),
            ("long", pa.int64()),
            ("moments", pa.large_list(pa.int64())),
        ):
            place = batch.schema.get_field_index(name)
            batch = batch.set_column(place, name, batch.column(name).cast(type_))
        rows += batch.to_pylist()
    return rows


class Walk:
    """The walker under test, and the memory that it reads."""

    def __init__(self) -> None:
        self._guarded = Guarded()
        self._batches: list[pa.RecordBatch] = []
        self._columns = Columns(FIELDS, self._batches.append)

    def rejects(self, group: Sequence[bytes], is_array: bool) -> int:
        """Walk documents that lie at the very end of the memory; how many are rejected."""
        before = self._columns.num_rejects
        start = self._guarded.put(frame(group, is_array))
        self._columns.feed(self._guarded.view, start, self._guarded.size, array=is_array)
        return self._columns.num_rejects - before

    def rows(self) -> list[dict[str, Any]]:
        """Rows since the last call."""
        self._columns.take_rejects()
        self._columns.flush()
        rows = rows_of(self._batches)
        self._batches.clear()
        return rows


def compare(walk: Walk, rng: random.Random, documents: Sequence[bytes]) -> Counter[str]:
    """Walk documents and compare what becomes of them; counts of it."""
    expected = [expect(document) for document in documents]
    place = 0
    while place < len(documents):
        size, is_array = rng.choice(GROUPS), rng.random() < 0.3
        group = documents[place : place + size]
        wanted = sum(row is None for _, row in expected[place : place + size])
        got = walk.rejects(group, is_array)
        if got != wanted:
            told = ", ".join(outcome for outcome, _ in expected[place : place + size])
            text = "\n".join(document.hex() for document in group)
            raise AssertionError(f"{got} rejected, {wanted} expected ({told})\n{text}")
        place += size
    pairs = [
        pair for pair in zip(documents, (row for _, row in expected), strict=True) if pair[1] is not None
    ]
    for got_row, (document, wanted_row) in zip(walk.rows(), pairs, strict=True):
        if arrow_value(got_row) != arrow_value(wanted_row):
            raise AssertionError(f"got {got_row}\nwanted {wanted_row}\n{document.hex()}")
    return Counter(outcome for outcome, _ in expected)


def run(num_documents: int, seed: int) -> dict[str, int]:
    """Try documents; counts of what became of them.

    Raises
    ------
    AssertionError
        With the documents in hexadecimal, when the walker and the oracle disagree.
    """
    rng = random.Random(seed)
    walk = Walk()
    counts: Counter[str] = Counter()
    seeds = [make_document(rng) for _ in range(200)]
    for start in range(0, num_documents, NUM_TOGETHER):
        size = min(NUM_TOGETHER, num_documents - start)
        counts += compare(walk, rng, [mutate(rng, rng.choice(seeds)) for _ in range(size)])
        seeds[rng.randrange(len(seeds))] = make_document(rng)
    return {"documents": counts.total(), **counts}


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Fuzz the BSON walker against bson.decode.")
    parser.add_argument("--num", type=int, default=1_000_000, help="documents to try (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    began = time.monotonic()
    counts = run(arguments.num, arguments.seed)
    text = ", ".join(f"{number:,} {name}" for name, number in counts.items())
    print(f"{text}; no disagreement, no read out of bounds, {time.monotonic() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
