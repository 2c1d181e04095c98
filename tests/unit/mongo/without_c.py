"""Walk documents in a process of its own, with or without PyMongo's compiled code; print what comes of it."""

from __future__ import annotations

import datetime
import sys
from typing import Any


def main(is_compiled: bool) -> None:
    """Print whether the compiled code is there, the rows and the rejects."""
    if not is_compiled:
        sys.modules["bson._cbson"] = None  # type: ignore[assignment]
        sys.modules["pymongo._cmessage"] = None  # type: ignore[assignment]
    import bson
    import pyarrow as pa
    from bson import Binary, Decimal128, Int64, ObjectId, Regex, Timestamp

    from assets.mongo.columns import Columns
    from assets.mongo.fields import Field, ListOf, Struct
    from assets.mongo.schema import ID

    fields = [
        ID,
        Field("number", "number", "int64", coerce=True),
        Field("when", "when", "timestamp", required=False, coerce=True),
        Field("text", "text", "string", required=False, coerce=True),
        Field("any", "any", "raw", required=False),
        Field("box", "box", Struct((Field("a", "a", ListOf("float64", 2)),)), required=False),
    ]
    values: list[Any] = [
        1, Int64(-5), "17", "0x17", 2.0, 2.5, Decimal128("3.00"), True, None, ObjectId("0" * 24),
        datetime.datetime(2024, 2, 29), "2024-02-29T12:00:00Z", Timestamp(5, 0), Binary(bytes(16), 4),
        Regex("a", "i"), {"a": [1, 2.5]}, {"a": [1]}, {"a": [1, "x"]}, "zürich", b"bytes",
    ]  # fmt: skip
    documents = [
        {"_id": value, name: value} for value in values for name in ("number", "when", "text", "any")
    ]
    documents += [{"_id": number, "number": 1, "box": value} for number, value in enumerate(values)]
    data = [bson.encode({"number": 7, **document}) for document in documents]
    data += [one[:-3] + b"\xff\xff\0" for one in data]
    batches: list[Any] = []
    columns = Columns(fields, batches.append)
    for one in data:
        columns.feed(one)
    columns.flush()
    print(bson.has_c())
    for batch in batches:
        numbers = batch.set_column(2, "when", batch.column(2).cast(pa.int64()))
        print(*numbers.to_pylist(), sep="\n")
    print(*columns.take_rejects(), sep="\n")


if __name__ == "__main__":
    main(sys.argv[1] == "compiled")
