"""Columns made of scalar, list and dict values."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from assets.spec.base import Bool, Int, Model, Number, Path, Str

NumberDtype = Literal[
    "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64"
]
Missing = Literal["required", "default", "nan", "mask"]
Transform = Literal["standardize", "min_max", "robust", "log1p", "impute"]


class Clip(Model):
    """Limit values to the closed interval [low, high]."""

    clip: tuple[Number, Number]


class ValueColumn(Model):
    """What every column of values has."""

    path: Path
    missing: Missing = Field("required", description="What an absent or null value becomes.")
    coerce: Bool = Field(False, description="Allow lossless conversions from other types.")
    description: Str = ""


class NumberColumn(ValueColumn):
    """One number a row."""

    kind: Literal["number"]
    dtype: NumberDtype = "float32"
    default: Number | None = None
    minimum: Number | None = None
    maximum: Number | None = None
    transform: list[Transform | Clip] = Field(default_factory=list)
    bake: Bool = Field(
        False, description="Store transformed values instead of applying the fit in the loader."
    )


class VectorColumn(Model):
    """Many fields stacked, or one list of fixed length: a matrix of N rows and D columns."""

    kind: Literal["vector"]
    path: Path | None = Field(None, description="A list of fixed length.")
    paths: list[Path] | None = Field(None, description="One number each, stacked in this order.")
    length: Int | None = Field(None, ge=1)
    dtype: NumberDtype = "float32"
    missing: Missing = "required"
    default: Number | None = None
    coerce: Bool = False
    minimum: Number | None = None
    maximum: Number | None = None
    transform: list[Transform | Clip] = Field(default_factory=list)
    bake: Bool = False
    description: Str = ""

    @model_validator(mode="after")
    def _one_form(self) -> VectorColumn:
        if (self.path is None) == (self.paths is None):
            raise ValueError("a vector takes either path (a list of fixed length) or paths (fields to stack)")
        if self.path is not None and self.length is None:
            raise ValueError("a vector from one path needs its length")
        return self


class CategoryColumn(ValueColumn):
    """One of a declared list, of an open vocabulary, or of B hash buckets; stored as codes."""

    kind: Literal["category"]
    values: list[Str | Int | Bool] | None = Field(
        None, description="Declared values; the code is the position."
    )
    hash_buckets: Int | None = Field(None, ge=1)
    minimum_count: Int = Field(1, ge=1, description="Values rarer than this in train become unknown.")
    unknown: Literal["reject", "code"] = Field(
        "code", description="What a value outside the vocabulary becomes."
    )
    default: Str | Int | Bool | None = None
    transform: list[Literal["one_hot"]] = Field(default_factory=list)


class MultilabelColumn(ValueColumn):
    """A list of categories as a row of zeros and ones."""

    kind: Literal["multilabel"]
    values: list[Str | Int]


class BoolColumn(ValueColumn):
    """True or false."""

    kind: Literal["bool"]
    default: Bool | None = None


class DatetimeColumn(ValueColumn):
    """A date, as integers since the epoch or as sine and cosine of a cycle."""

    kind: Literal["datetime"]
    unit: Literal["s", "ms", "us", "ns"] = "ms"
    cyclic: list[Literal["hour", "weekday", "day", "month", "year"]] = Field(default_factory=list)
    timezone: Str = "UTC"
    default: Str | None = None


class TextColumn(ValueColumn):
    """UTF-8 text, or token ids when a tokenizer is named."""

    kind: Literal["text"]
    tokenizer: Str | None = Field(None, description="A `tokenizers` JSON file.")
    max_tokens: Int | None = Field(None, ge=1)
    default: Str | None = None


class ListColumn(ValueColumn):
    """A list of any length, nested once or more."""

    kind: Literal["list"]
    element: NumberDtype | Literal["string", "bool"]
    depth: Int = Field(1, ge=1, le=8)
    minimum: Number | None = None
    maximum: Number | None = None


class RecordColumn(ValueColumn):
    """A nested dict, kept as an Arrow struct and given back as a dict."""

    kind: Literal["record"]
    members: dict[Str, RecordMember]


class RecordMember(Model):
    """A member of a record column: a scalar, a list, or a record again."""

    type: Literal["int64", "float64", "bool", "datetime", "string", "binary", "objectid", "list", "record"]
    element: Literal["int64", "float64", "bool", "string"] | None = None
    members: dict[Str, RecordMember] | None = None
    missing: Literal["required", "null"] = "required"


class IdColumn(ValueColumn):
    """An identifier: ObjectId, UUID, integer or string."""

    kind: Literal["id"]
    type: Literal["objectid", "uuid", "int64", "string"] = "objectid"


class BinaryColumn(ValueColumn):
    """Bytes of any length."""

    kind: Literal["binary"]


class EmbeddingColumn(ValueColumn):
    """A vector packed into one binary value (BSON binary of vector subtype or raw little-endian numbers)."""

    kind: Literal["embedding"]
    length: Int = Field(ge=1)
    dtype: NumberDtype = "float32"
