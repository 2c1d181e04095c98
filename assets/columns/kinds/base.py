"""What every encoder does, and the parts they share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from assets.columns.hashing import valid_mask
from assets.columns.rejects import Fault
from assets.columns.stats.summary import Summary
from shards import Column

BoolArray: TypeAlias = npt.NDArray[np.bool_]
IntArray: TypeAlias = npt.NDArray[np.int64]
AnyArray: TypeAlias = npt.NDArray[Any]


@dataclass(slots=True)
class Encoded:
    """One batch of one column.

    Parameters
    ----------
    stored
        Rows of the stored columns, by name.
    pending
        Rows that wait for the snapshot's fit, by name.
    present
        Which rows have a value; None when all have.
    faults
        Rows that cannot be used.
    seen
        What summaries are made from; each encoder's own.
    """

    stored: dict[str, AnyArray | pa.Array]
    pending: dict[str, pa.Array] = field(default_factory=dict)
    present: BoolArray | None = None
    faults: list[Fault] = field(default_factory=list)
    seen: Any = None
    content: pa.Array | None = None
    """The values where the stored and pending rows do not say them alike in every partition."""


class Encoder(ABC):
    """Turns one declared column's values into stored rows.

    Batches come in order: each method is called by one thread at a time, and may be while another method
    is busy with the batch before.

    Parameters
    ----------
    name
        Name of the column.
    spec
        Its specification.
    """

    columns: tuple[Column, ...]
    """Stored columns, the mask as well."""
    pending: tuple[pa.Field, ...] = ()
    """Columns of the table `pending`."""

    def __init__(self, name: str, spec: Any) -> None:
        self.name = name
        self.spec = spec
        self.path: str = spec.path or ", ".join(spec.paths)
        self.mask = f"{name}__present" if spec.missing == "mask" else None

    @abstractmethod
    def encode(self, batch: pa.RecordBatch) -> Encoded:
        """Encode a batch of documents; every stored array has one row a document."""

    @abstractmethod
    def summarise(self, encoded: Encoded, rows: BoolArray) -> Summary:
        """Summarise the rows of a batch where `rows` is True."""

    def observe(self, encoded: Encoded, train: BoolArray, rest: BoolArray) -> None:
        """Take note of a batch's train rows and its other valid rows."""
        del encoded, train, rest  # nothing to note for most kinds

    def tables(self) -> Mapping[str, pa.Table]:
        """Give the tables that the column leaves beside its rows."""
        return {}

    def column(self, dtype: str, shape: tuple[int, ...] = (), **attributes: Any) -> Column:
        """Declare the stored column of rows of one shape."""
        return Column(
            self.name,
            "npy",
            dtype=dtype,
            shape=shape,
            kind=self.spec.kind,
            mask=self.mask,
            attributes=self.attributes(attributes),
        )

    def arrow_column(self, arrow_type: str, **attributes: Any) -> Column:
        """Declare the stored column of an Arrow type."""
        return Column(
            self.name,
            "arrow",
            arrow_type=arrow_type,
            kind=self.spec.kind,
            mask=self.mask,
            attributes=self.attributes(attributes),
        )

    def attributes(self, more: Mapping[str, Any]) -> dict[str, Any]:
        """Give what the manifest says about the column."""
        written = {"path": self.path, **more}
        if self.spec.description:
            written["description"] = self.spec.description
        return {key: value for key, value in written.items() if value is not None}

    def mask_columns(self, shape: tuple[int, ...] = ()) -> tuple[Column, ...]:
        """Declare the mask, when there is one."""
        if self.mask is None:
            return ()
        return (
            Column(self.mask, "npy", dtype="|b1", shape=shape, kind="mask", attributes={"of": self.name}),
        )

    def stored(
        self, values: AnyArray | pa.Array, present: BoolArray | None
    ) -> dict[str, AnyArray | pa.Array]:
        """Give the column's rows, with the mask when there is one."""
        rows: dict[str, AnyArray | pa.Array] = {self.name: values}
        if self.mask is not None:
            rows[self.mask] = np.ones(len(values), np.bool_) if present is None else present
        return rows


def array_of(batch: pa.RecordBatch, name: str) -> pa.Array:
    """Give a field of the documents.

    Raises
    ------
    KeyError
        The documents were extracted without this field.
    """
    index = batch.schema.get_field_index(name)
    if index < 0:
        raise KeyError(
            f"documents have no field {name!r}, only {', '.join(batch.schema.names)}; "
            "materialize the documents asset with this specification first"
        )
    return batch.column(index)


def presence(array: pa.Array) -> BoolArray | None:
    """Tell which values are present; None when all are."""
    return None if array.null_count == 0 else valid_mask(array)


def count_missing(present: BoolArray | None, rows: BoolArray) -> int:
    """Count the rows without a value among `rows`."""
    return 0 if present is None else int(np.count_nonzero(rows & ~present))


def select(values: AnyArray, rows: BoolArray, present: BoolArray | None = None) -> AnyArray:
    """Give the values of the rows that are asked for and present, without a copy when that is all of them."""
    wanted = rows if present is None else rows & present
    return values if wanted.all() else values[wanted]
