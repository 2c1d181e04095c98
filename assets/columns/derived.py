"""Columns that only a snapshot can make: codes of open vocabularies and baked transforms.

They are versions of their own, asset `derived`, one a partition, aligned with its documents. A partition
whose rows would come out the same as last time keeps its version, so a snapshot writes again only where a
fit or a value's code has changed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from assets.columns.build import DOCUMENTS, PENDING, RECORDS
from assets.columns.encoders import encoders_of
from assets.columns.kinds.base import Encoder
from assets.columns.kinds.category import OpenEncoder
from assets.columns.kinds.number import BAKED_DTYPE
from assets.columns.pins import Pinned
from assets.columns.steps import apply_fitted
from assets.columns.vocabulary import codes_of_partition
from assets.provenance import provenance_of
from assets.spec import DatasetSpec
from shards import Column, ShardStore, Version

DERIVED = "derived"
Fits = Mapping[str, Sequence[dict[str, Any]]]


def derive(
    spec: DatasetSpec,
    pinned: Pinned,
    *,
    store: ShardStore,
    vocabularies: Mapping[str, pa.Array],
    baked: Fits,
    run_id: str,
) -> Version | None:
    """Make a partition's derived columns, or give back those it has; None when there are none to make."""
    records = pinned.records
    if records is None or PENDING not in records.tables:
        return None
    encoders = [one for one in encoders_of(spec) if one.pending]
    codes = {name: codes_of_partition(name, vocabulary, records) for name, vocabulary in vocabularies.items()}
    inputs = {DOCUMENTS: pinned.documents.number, RECORDS: records.number}
    fingerprint = _fingerprint(codes, baked)
    latest = store.latest(spec.name, DERIVED, pinned.partition)
    if (
        latest is not None
        and dict(latest.inputs) == inputs
        and latest.metadata.get("fingerprint") == fingerprint
    ):
        return latest
    with store.begin(
        spec.name, DERIVED, pinned.partition, shard_bytes=spec.storage.shard_mb << 20
    ) as attempt:
        columns = [column for one in encoders for column in _columns(one)]
        writers = {column.name: attempt.column(column) for column in columns}
        for batch in records.table(PENDING).batches():
            valid = np.ones(batch.num_rows, np.bool_)
            for encoder in encoders:
                if isinstance(encoder, OpenEncoder):
                    rows, usable = _coded(encoder, batch, codes[encoder.name])
                    valid &= usable
                else:
                    rows = _baked(encoder, batch, baked[encoder.name])
                for name, values in rows.items():
                    writers[name].append(values)
            attempt.validity(valid)
        commit = attempt.commit(
            provenance=provenance_of(spec, "snapshot", pinned.documents, run_id),
            inputs=inputs,
            metadata={"fingerprint": fingerprint},
        )
    return commit.version


def _fingerprint(codes: Mapping[str, npt.NDArray[np.int32]], baked: Fits) -> str:
    hashes = {name: xxhash.xxh3_128_hexdigest(table.tobytes()) for name, table in codes.items()}
    text = json.dumps(
        {"codes": hashes, "baked": {name: list(steps) for name, steps in baked.items()}}, sort_keys=True
    )
    return xxhash.xxh3_128_hexdigest(text.encode())


def _columns(encoder: Encoder) -> tuple[Column, ...]:
    if isinstance(encoder, OpenEncoder):
        return encoder.column("<i4", open=True, unknown_code=0), *encoder.mask_columns()
    width = getattr(encoder, "width", None)
    elements = getattr(encoder, "elements", None)
    shape = () if width is None else (width,)
    first = encoder.column(BAKED_DTYPE, shape, baked=True, element_mask=elements)
    masks = encoder.mask_columns()
    if elements is not None:
        masks += (
            Column(elements, "npy", dtype="|b1", shape=shape, kind="mask", attributes={"of": encoder.name}),
        )
    return (first, *masks)


def _coded(
    encoder: OpenEncoder, batch: pa.RecordBatch, table: npt.NDArray[np.int32]
) -> tuple[dict[str, Any], npt.NDArray[np.bool_]]:
    local = batch.column(encoder.name)
    codes = table[local.fill_null(len(table) - 1).to_numpy(zero_copy_only=False)]
    present = np.ones(len(local), np.bool_)
    if local.null_count:
        present = local.is_valid().to_numpy(zero_copy_only=False)
    usable = (codes != 0) | ~present if encoder.spec.rejects_unknown else np.ones(len(local), np.bool_)
    return encoder.stored(codes, present), usable


def _baked(encoder: Encoder, batch: pa.RecordBatch, fitted: Sequence[dict[str, Any]]) -> dict[str, Any]:
    rows: dict[str, Any] = {}
    for field in encoder.pending:
        array = batch.column(field.name)
        values = array.to_numpy(zero_copy_only=False)
        if pa.types.is_fixed_size_list(array.type):
            values = array.flatten().to_numpy(zero_copy_only=False).reshape(len(array), -1)
        rows[field.name] = values
    transformed = apply_fitted(fitted, rows[encoder.name])
    mask = rows.get(getattr(encoder, "elements", None) or encoder.mask or "")
    if mask is not None:
        gone = ~mask if mask.ndim == transformed.ndim else ~mask[:, None]
        transformed = np.where(gone & np.isnan(transformed), 0.0, transformed)
    with np.errstate(over="ignore"):
        rows[encoder.name] = transformed.astype(BAKED_DTYPE)
    return rows
