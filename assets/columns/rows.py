"""What is kept of every row beside its columns: its split, its place in samples, and hashes of its content.

The table `rows` is aligned with the columns:

- `split` int8: code of the split, -1 for none
- `sample` uint64: hash of `_id`; the smallest ones are the sample of a given size, stable as data are added
- `content` uint64: hash of the row's stored values, identifiers left out; null for none
- `key_low`, `key_high` uint64: 128-bit hash of what makes duplicates, where deduplication is declared
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from assets.columns.fields import DEDUP_FIELD
from assets.columns.hashing import Hashes, combine, hash_array, hash_raw, hash_rows, seed_of
from assets.columns.kinds.base import AnyArray, Encoded, Encoder
from assets.columns.splits import assign_splits, one_array
from assets.spec import DatasetSpec

ROWS = "rows"
_SAMPLE, _CONTENT, _LOW, _HIGH = (seed_of(text) for text in ("sample", "content", "low", "high"))


def rows_schema(spec: DatasetSpec) -> pa.Schema:
    """Schema of the table `rows`."""
    fields = [pa.field("split", pa.int8()), pa.field("sample", pa.uint64()), pa.field("content", pa.uint64())]
    if has_key(spec):
        fields += [pa.field("key_low", pa.uint64()), pa.field("key_high", pa.uint64())]
    return pa.schema(fields)


def has_key(spec: DatasetSpec) -> bool:
    """Whether rows get a key for deduplication from the records."""
    if spec.dedup is None:
        return False
    return spec.dedup.fields is not None or any(
        name in spec.record_columns for name in spec.dedup.content or ()
    )


def rows_of(
    spec: DatasetSpec,
    batch: pa.RecordBatch,
    encoders: Sequence[Encoder] = (),
    encoded: Sequence[Encoded] = (),
) -> pa.RecordBatch:
    """Give the table's rows of a batch of documents and of the columns encoded from it."""
    contents = {
        encoder.name: [one.content]
        if one.content is not None
        else [*one.stored.values(), *one.pending.values()]
        for encoder, one in zip(encoders, encoded, strict=True)
    }
    counted = [name for name in contents if spec.columns[name].kind != "id"]
    arrays = [
        pa.array(assign_splits(spec, batch)),
        pa.array(hash_raw(one_array(batch, "_id"), _SAMPLE)),
        pa.array(_of_columns(contents, counted, _CONTENT, batch.num_rows))
        if counted
        else pa.nulls(batch.num_rows, pa.uint64()),
    ]
    if has_key(spec):
        assert spec.dedup is not None
        for seed in (_LOW, _HIGH):
            if spec.dedup.fields is not None:
                names = [DEDUP_FIELD.format(index=index) for index in range(len(spec.dedup.fields))]
                keys = np.full(batch.num_rows, seed, np.uint64)
                for name in names:
                    keys = combine(keys, hash_raw(one_array(batch, name), seed))
            else:
                wanted = [name for name in spec.dedup.content or () if name in contents]
                keys = _of_columns(contents, wanted, seed, batch.num_rows)
            arrays.append(pa.array(keys))
    return pa.record_batch(arrays, schema=rows_schema(spec))


def _of_columns(
    contents: Mapping[str, Sequence[AnyArray | pa.Array]],
    names: Sequence[str],
    seed: np.uint64,
    num_rows: int,
) -> Hashes:
    out = np.full(num_rows, seed, np.uint64)
    for name in names:
        for values in contents[name]:
            hashed = hash_rows(values, seed) if isinstance(values, np.ndarray) else hash_array(values, seed)
            out = combine(out, hashed)
    return out
