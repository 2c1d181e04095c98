"""Which encoder a column takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from assets.columns.kinds.base import Encoder
from assets.columns.kinds.category import MultilabelEncoder, category_encoder
from assets.columns.kinds.dates import DatetimeEncoder
from assets.columns.kinds.lists import ListEncoder, text_encoder
from assets.columns.kinds.number import NumberEncoder, VectorEncoder
from assets.columns.kinds.simple import ArrowEncoder, BoolEncoder, EmbeddingEncoder, IdEncoder
from assets.spec import DatasetSpec

_ENCODERS: dict[str, Callable[[str, Any], Encoder]] = {
    "number": NumberEncoder,
    "vector": VectorEncoder,
    "category": category_encoder,
    "multilabel": MultilabelEncoder,
    "bool": BoolEncoder,
    "datetime": DatetimeEncoder,
    "text": text_encoder,
    "list": ListEncoder,
    "record": ArrowEncoder,
    "id": IdEncoder,
    "binary": ArrowEncoder,
    "embedding": EmbeddingEncoder,
}


def encoders_of(spec: DatasetSpec) -> list[Encoder]:
    """Make an encoder for every record column, in the order of their declaration."""
    return [_ENCODERS[column.kind](name, column) for name, column in spec.record_columns.items()]
