"""What a column is and where it came from: the values that writers declare and manifests keep."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
import pyarrow as pa

from shards import arrow_types
from shards.errors import InvalidArgument
from shards.limits import DTYPES, MAX_DIMENSIONS, MAX_TEXT
from shards.names import KIND, NAME, check_name

JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"


@dataclass(frozen=True, slots=True)
class Column:
    """One row-aligned column as it is stored.

    Parameters
    ----------
    name
        Lower-case letters, digits and underscores, at most 64; companions use a double underscore
        (`age__present`).
    encoding
        `npy`: rows of one shape and dtype in `.npy` files. `arrow`: one Arrow array a shard in IPC files.
    dtype
        For `npy`, one of `shards.limits.DTYPES` (little endian); empty for `arrow`.
    shape
        For `npy`, the shape of one row; dimensions from 1 to 2**31 - 1.
    arrow_type
        For `arrow`, the text of the type, see `shards.arrow_types`; empty for `npy`.
    kind
        What the specification declared: image, number, vector, category, text, ...
    mask
        Name of the `|b1` column of the same version that is True where the value is present.
    attributes
        Small facts about the values: layout, mode, units, vocabulary, description.

    Raises
    ------
    InvalidArgument
        A value is outside what is said above.
    """

    name: str
    encoding: Literal["npy", "arrow"]
    dtype: str = ""
    shape: tuple[int, ...] = ()
    arrow_type: str = ""
    kind: str = "number"
    mask: str | None = None
    attributes: Mapping[str, JSON] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse what cannot be stored."""
        check_name(self.name, "column")
        if not KIND.fullmatch(self.kind):
            raise InvalidArgument(f"column {self.name}: kind {self.kind!r} is no lower-case word")
        if self.mask is not None and not NAME.fullmatch(self.mask):
            raise InvalidArgument(f"column {self.name}: mask {self.mask!r} is no column name")
        if self.encoding == "npy":
            self._check_npy()
        elif self.encoding == "arrow":
            if self.dtype or self.shape:
                raise InvalidArgument(f"column {self.name}: arrow takes neither dtype nor shape")
            arrow_types.parse(self.arrow_type)
        else:
            raise InvalidArgument(f"column {self.name}: encoding {self.encoding!r}, allowed npy, arrow")

    def _check_npy(self) -> None:
        if self.arrow_type:
            raise InvalidArgument(f"column {self.name}: npy takes no arrow_type")
        if self.dtype not in DTYPES:
            raise InvalidArgument(f"column {self.name}: dtype {self.dtype!r}, allowed {', '.join(DTYPES)}")
        if len(self.shape) > MAX_DIMENSIONS or not all(
            type(size) is int and 1 <= size < 1 << 31 for size in self.shape
        ):
            raise InvalidArgument(
                f"column {self.name}: shape {self.shape!r}, allowed at most {MAX_DIMENSIONS} integers from 1"
            )

    @property
    def row_bytes(self) -> int:
        """Bytes of one row of an `npy` column."""
        return int(np.dtype(self.dtype).itemsize) * math.prod(self.shape)

    @property
    def pyarrow_type(self) -> pa.DataType:
        """Type of an `arrow` column's arrays."""
        return arrow_types.parse(self.arrow_type)

    @property
    def stored_as(self) -> str:
        """Type of a row in one text: dtype and shape, or the Arrow type."""
        return self.arrow_type or f"{self.dtype} {list(self.shape) if self.shape else ''}".rstrip()

    def stored_like(self, other: Column) -> bool:
        """Whether rows of both columns can stand in one dataset: all but the attributes is equal."""
        return (self.name, self.encoding, self.dtype, self.shape, self.arrow_type, self.kind, self.mask) == (
            other.name, other.encoding, other.dtype, other.shape, other.arrow_type, other.kind, other.mask
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a version came from; never a connection string or a secret.

    Parameters
    ----------
    source_alias
        Declared name of the server, not its address.
    collection
        Database and collection, or the dump's name.
    query_fingerprint
        Hash of filter, pipeline and fields.
    cluster_time
        Time as of which the source was read.
    code_version
        Version of the code that wrote the data.
    run_id
        Dagster run, or whatever names the process that wrote the data.

    Raises
    ------
    InvalidArgument
        A value has more than 1,024 characters or contains `://`.
    """

    source_alias: str | None = None
    collection: str | None = None
    query_fingerprint: str | None = None
    cluster_time: str | None = None
    code_version: str | None = None
    run_id: str | None = None

    def __post_init__(self) -> None:
        """Refuse what looks like an address."""
        for name in PROVENANCE_FIELDS:
            value = getattr(self, name)
            if value is not None and (not isinstance(value, str) or len(value) > MAX_TEXT or "://" in value):
                raise InvalidArgument(
                    f"provenance {name}: allowed is text of at most {MAX_TEXT} characters that is no URI"
                )


PROVENANCE_FIELDS = tuple(Provenance.__dataclass_fields__)
