"""What the extraction takes from a document: the contract between column specifications and the BSON walker.

A `Field` names one value of a document by its path, the exact type that is wanted, and what happens when
the value is absent or of another type. A list of fields is all that the walker needs to know.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Scalar: TypeAlias = Literal[
    "int64",  # BSON int32, int64
    "uint64",  # BSON int32, int64 >= 0 (coerce: decimal128 up to 2**64 - 1)
    "float64",  # BSON double, and int32/int64 that are exact in float64
    "bool",  # BSON boolean
    "timestamp",  # BSON UTC datetime, milliseconds since the epoch
    "string",  # BSON string, valid UTF-8
    "binary",  # BSON binary of any subtype but UUID's
    "objectid",  # BSON ObjectId, 12 bytes
    "uuid",  # BSON binary of subtype 3 or 4 and 16 bytes
    "decimal128",  # BSON decimal128; kept as 16 bytes, little endian, IEEE 754 BID
    "raw",  # any value, kept as its BSON type byte followed by its bytes
]


@dataclass(frozen=True, slots=True)
class ListOf:
    """A BSON array whose elements are all of one type; `length` fixes how many there must be."""

    element: FieldType
    length: int | None = None


@dataclass(frozen=True, slots=True)
class Struct:
    """A BSON document with named members, each a field of its own."""

    members: tuple[Field, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """One value of several scalar types: an Arrow struct, one child an alternative, exactly one non-null."""

    alternatives: tuple[Scalar, ...]


FieldType: TypeAlias = Scalar | ListOf | Struct | AnyOf


@dataclass(frozen=True, slots=True)
class Field:
    """One value to take from every document.

    Parameters
    ----------
    name
        Name of the Arrow column (or struct member) that receives the value; unique among its siblings.
    path
        Dotted path from the enclosing document. A segment that is a number selects from an array by index;
        a `*` segment takes every element and needs a `ListOf` type.
    type
        The type that is wanted; the value is stored exactly or not at all.
    required
        Whether an absent or null value rejects the document. When False it becomes an Arrow null.
    coerce
        Whether lossless conversions are made (integral double to integer, numeric string to number, bool to
        number, ISO 8601 string to timestamp, 24 hexadecimal digits to ObjectId, ...); nothing else ever is.
    keep_null
        Whether a null of a `raw` field is kept as its type byte, so that it differs from an absent value.
    minimum, maximum
        Inclusive bounds of a number, or of every number of a list; None for no bound.
    """

    name: str
    path: str
    type: FieldType
    required: bool = True
    coerce: bool = False
    minimum: int | float | None = None
    maximum: int | float | None = None
    keep_null: bool = field(default=False, repr=False)
