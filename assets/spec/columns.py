"""Columns made of scalar, list and dict values."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field, model_validator

from assets.spec.base import Bool, Int, Model, Number, Path, Str
from assets.spec.column_rules import check_bounds, check_missing, check_single, check_transform

NumberDtype = Literal[
    "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64"
]
Missing = Literal["required", "default", "nan", "mask"]
Bounded = Literal["reject", "keep"]


def _timezone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError(f"{value!r} is no time zone name such as Europe/Berlin") from error
    return value


Timezone = Annotated[Str, AfterValidator(_timezone)]


class Clip(Model):
    """Limit values to the closed interval [low, high]."""

    clip: tuple[Number, Number] = Field(description="Lowest and highest value.")

    @model_validator(mode="after")
    def _ordered(self) -> Clip:
        if not self.clip[0] < self.clip[1]:
            raise ValueError(f"clip needs low < high, got {list(self.clip)}")
        return self


class Impute(Model):
    """Give missing values (NaN, or False in the mask) a value: of the train rows, or declared."""

    impute: Literal["mean", "median"] | Number = Field(description="What missing values become.")


NumberTransform = Literal["standardize", "min_max", "robust", "log1p", "impute"] | Clip | Impute


FLOAT_MISSING = ("required", "default", "nan", "mask")
OTHER_MISSING = ("required", "default", "mask")
PLAIN_MISSING = ("required", "mask")


class ValueColumn(Model):
    """What every column of values has."""

    path: Path = Field(
        description="Dotted path into the document; a number selects from an array, `*` takes all."
    )
    missing: Missing = Field("required", description="What an absent or null value becomes.")
    coerce: Bool = Field(False, description="Allow lossless conversions from other types.")
    description: Str = Field(
        "", description="What the values mean; shown in the UI and kept with the shards."
    )


class NumericColumn(ValueColumn):
    """What columns of numbers of one shape have."""

    dtype: NumberDtype = Field(
        "float32", description="NumPy dtype in the shards; values that do not fit are rejected."
    )
    default: Number | None = Field(None, description="Value with `missing: default`.")
    minimum: Number | None = Field(None, description="Smaller values are rejected.")
    maximum: Number | None = Field(None, description="Larger values are rejected.")
    non_finite: Bounded = Field("reject", description="NaN and infinities found in documents.")
    round: Bool = Field(
        False, description="Let whole numbers that a float dtype cannot hold exactly be rounded to nearest."
    )
    transform: list[NumberTransform] = Field(
        default_factory=list,
        description="Steps fitted on the train rows, applied by the loader in this order.",
    )
    bake: Bool = Field(
        False, description="Store transformed values instead of applying the fit in the loader."
    )

    @model_validator(mode="after")
    def _numbers(self) -> NumericColumn:
        check_missing(self, FLOAT_MISSING if self.dtype.startswith("float") else OTHER_MISSING)
        check_bounds(self, self.dtype)
        check_transform(self)
        return self


class NumberColumn(NumericColumn):
    """One number a row."""

    kind: Literal["number"]

    @model_validator(mode="after")
    def _consistent(self) -> NumberColumn:
        check_single(self.path, self.kind)
        return self


class VectorColumn(NumericColumn):
    """Many fields stacked, or one list of fixed length: a matrix of N rows and D columns."""

    kind: Literal["vector"]
    path: Path | None = Field(None, description="A list of fixed length.")  # type: ignore[assignment]
    paths: list[Path] | None = Field(
        None, min_length=1, max_length=4096, description="One number each, stacked in this order."
    )
    length: Int | None = Field(None, ge=1, le=1 << 20, description="Elements of the list at `path`.")

    @model_validator(mode="after")
    def _one_form(self) -> VectorColumn:
        if (self.path is None) == (self.paths is None):
            raise ValueError("a vector takes either path (a list of fixed length) or paths (fields to stack)")
        if self.path is not None and self.length is None:
            raise ValueError("a vector from one path needs its length")
        if self.paths is not None:
            if self.length not in (None, len(self.paths)):
                raise ValueError(f"length {self.length} differs from the {len(self.paths)} paths")
            for path in self.paths:
                check_single(path, "vector with paths")
        return self

    @property
    def width(self) -> int:
        """Number of elements of a row."""
        return self.length if self.length is not None else len(self.paths or ())


CategoryValue = Str | Bool | Int


class CategoryColumn(ValueColumn):
    """One of a declared list, of an open vocabulary, or of B hash buckets; stored as int32 codes.

    Declared: the code is the position, a value outside has code -1 (when `unknown` is code). Open: code 0
    is unknown, a value keeps the code of the first snapshot that had it. Hashed: the code is the bucket.
    """

    kind: Literal["category"]
    values: list[CategoryValue] | None = Field(
        None, min_length=1, description="Declared values; the code is the position."
    )
    type: Literal["string", "int64", "bool"] = Field(
        "string", description="Type of an open or hashed category."
    )
    hash_buckets: Int | None = Field(
        None, ge=1, le=(1 << 31) - 1, description="Number of buckets; the code is a hash of the value."
    )
    minimum_count: Int = Field(1, ge=1, description="Open values rarer than this in train become unknown.")
    unknown: Literal["reject", "code"] | None = Field(
        None, description="A value outside the vocabulary; reject when values are declared, else code."
    )
    default: CategoryValue | None = Field(None, description="Value with `missing: default`.")
    transform: list[Literal["one_hot"]] = Field(
        default_factory=list,
        max_length=1,
        description="The loader gives rows of zeros and a one instead of codes.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> CategoryColumn:
        check_missing(self, OTHER_MISSING)
        check_single(self.path, self.kind)
        if self.values is not None and self.hash_buckets is not None:
            raise ValueError("give values or hash_buckets, not both")
        if self.values is not None:
            if len({(type(value), value) for value in self.values}) != len(self.values):
                raise ValueError("values holds a value twice")
            if self.default is not None and self.default not in self.values:
                raise ValueError(f"default {self.default!r} is not among values")
        if self.minimum_count > 1 and not self.is_open:
            raise ValueError("minimum_count belongs to an open vocabulary: no values, no hash_buckets")
        return self

    @property
    def is_open(self) -> bool:
        """Whether the vocabulary grows with the data."""
        return self.values is None and self.hash_buckets is None

    @property
    def rejects_unknown(self) -> bool:
        """Whether a value outside the vocabulary makes its row invalid."""
        return self.unknown == "reject" or (self.unknown is None and self.values is not None)


class MultilabelColumn(ValueColumn):
    """A list of categories as a row of zeros and ones."""

    kind: Literal["multilabel"]
    values: list[Str | Int] = Field(min_length=1, description="Declared values, one element of the row each.")
    unknown: Literal["reject", "ignore"] = Field("reject", description="A value that is not declared.")

    @model_validator(mode="after")
    def _consistent(self) -> MultilabelColumn:
        check_missing(self, PLAIN_MISSING)
        if len({(type(value), value) for value in self.values}) != len(self.values):
            raise ValueError("values holds a value twice")
        return self


class BoolColumn(ValueColumn):
    """True or false."""

    kind: Literal["bool"]
    default: Bool | None = Field(None, description="Value with `missing: default`.")

    @model_validator(mode="after")
    def _consistent(self) -> BoolColumn:
        check_missing(self, OTHER_MISSING)
        check_single(self.path, self.kind)
        return self


class DatetimeColumn(ValueColumn):
    """A date, as integers since the epoch or as sine and cosine of a cycle."""

    kind: Literal["datetime"]
    unit: Literal["s", "ms", "us", "ns"] = Field("ms", description="Unit of the integers since the epoch.")
    cyclic: list[Literal["hour", "weekday", "day", "month", "year"]] = Field(
        default_factory=list, description="Cycles stored as sine and cosine instead of integers."
    )
    timezone: Timezone = Field("UTC", description="Time zone in which cycles are counted.")
    default: Str | None = Field(None, description="ISO 8601 date with `missing: default`.")

    @model_validator(mode="after")
    def _consistent(self) -> DatetimeColumn:
        check_missing(self, OTHER_MISSING)
        check_single(self.path, self.kind)
        if len(set(self.cyclic)) != len(self.cyclic):
            raise ValueError("cyclic names a cycle twice")
        if self.default is not None:
            try:
                parsed = datetime.fromisoformat(self.default.replace("Z", "+00:00"))
            except ValueError as error:
                raise ValueError(f"default {self.default!r} is no ISO 8601 date") from error
            if parsed.tzinfo is None:
                raise ValueError(f"default {self.default!r} needs a UTC offset such as Z or +01:00")
        return self


class TextColumn(ValueColumn):
    """UTF-8 text, or token ids when a tokenizer is named."""

    kind: Literal["text"]
    tokenizer: Str | None = Field(None, description="A `tokenizers` JSON file.")
    max_tokens: Int | None = Field(None, ge=1, description="Longer token lists are cut here.")
    default: Str | None = Field(None, description="Value with `missing: default`.")

    @model_validator(mode="after")
    def _consistent(self) -> TextColumn:
        check_missing(self, OTHER_MISSING)
        check_single(self.path, self.kind)
        if self.max_tokens is not None and self.tokenizer is None:
            raise ValueError("max_tokens needs a tokenizer")
        return self


class ListColumn(ValueColumn):
    """A list of any length, nested once or more."""

    kind: Literal["list"]
    element: NumberDtype | Literal["string", "bool"] = Field(description="Type of every element.")
    depth: Int = Field(1, ge=1, le=8, description="How many lists are inside of one another.")
    minimum: Number | None = Field(None, description="Smaller elements are rejected.")
    maximum: Number | None = Field(None, description="Larger elements are rejected.")
    non_finite: Bounded = Field("reject", description="NaN and infinities found in documents.")
    round: Bool = Field(
        False, description="Let whole numbers that a float dtype cannot hold exactly be rounded to nearest."
    )

    @model_validator(mode="after")
    def _consistent(self) -> ListColumn:
        check_missing(self, PLAIN_MISSING)
        if self.element in ("string", "bool"):
            if self.minimum is not None or self.maximum is not None:
                raise ValueError(f"minimum and maximum need numbers, element is {self.element}")
        else:
            check_bounds(self, self.element)
        return self


class RecordColumn(ValueColumn):
    """A nested dict, kept as an Arrow struct and given back as a dict."""

    kind: Literal["record"]
    members: dict[Str, RecordMember] = Field(min_length=1, description="Members by key.")

    @model_validator(mode="after")
    def _consistent(self) -> RecordColumn:
        check_missing(self, PLAIN_MISSING)
        check_single(self.path, self.kind)
        return self


class RecordMember(Model):
    """A member of a record column: a scalar, a list, or a record again."""

    type: Literal[
        "int64", "float64", "bool", "datetime", "string", "binary", "objectid", "list", "record"
    ] = Field(description="Type of the value.")
    element: Literal["int64", "float64", "bool", "string"] | None = Field(
        None, description="Type of the elements of a list."
    )
    members: dict[Str, RecordMember] | None = Field(None, description="Members of a record.")
    missing: Literal["required", "null"] = Field(
        "required", description="What an absent or null value becomes."
    )

    @model_validator(mode="after")
    def _consistent(self) -> RecordMember:
        if (self.type == "list") != (self.element is not None):
            raise ValueError("type: list and element: TYPE go together")
        if (self.type == "record") != (self.members is not None and len(self.members) > 0):
            raise ValueError("type: record and members: {...} go together")
        return self


class IdColumn(ValueColumn):
    """An identifier: ObjectId, UUID, integer or string."""

    kind: Literal["id"]
    type: Literal["objectid", "uuid", "int64", "string"] = Field(
        "objectid", description="Type of the identifier."
    )

    @model_validator(mode="after")
    def _consistent(self) -> IdColumn:
        check_missing(self, PLAIN_MISSING)
        check_single(self.path, self.kind)
        return self


class BinaryColumn(ValueColumn):
    """Bytes of any length."""

    kind: Literal["binary"]

    @model_validator(mode="after")
    def _consistent(self) -> BinaryColumn:
        check_missing(self, PLAIN_MISSING)
        check_single(self.path, self.kind)
        return self


class EmbeddingColumn(ValueColumn):
    """A vector packed into one binary value (BSON binary of vector subtype or raw little-endian numbers)."""

    kind: Literal["embedding"]
    length: Int = Field(ge=1, le=1 << 20, description="Number of elements.")
    dtype: NumberDtype = Field("float32", description="Type of the packed numbers.")
    non_finite: Bounded = Field("reject", description="NaN and infinities found in documents.")

    @model_validator(mode="after")
    def _consistent(self) -> EmbeddingColumn:
        check_missing(self, ("required", "nan", "mask") if self.dtype.startswith("float") else PLAIN_MISSING)
        check_single(self.path, self.kind)
        return self
