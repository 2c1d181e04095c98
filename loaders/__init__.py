"""Training data at memory speed: snapshots of shards as torch datasets and loaders.

>>> from loaders import ShardDataset
>>> train = ShardDataset("data/shards/digits", split="train", columns=["image", "label"])
>>> for batch in train.loader(batch_size=256, shuffle=True, seed=0, device="cuda"): ...

Everything public is here; `loaders.testing` holds a checker of exact resume for loaders of any kind.
"""

from loaders.dataset import ShardDataset
from loaders.device import Layout
from loaders.errors import (
    DecodeFailed,
    DoesNotFit,
    ForeignIterator,
    InvalidOption,
    LoaderError,
    ShardChanged,
    StateMismatch,
    UnknownName,
    WorkerKilled,
)
from loaders.forms import Batch, Forms
from loaders.iterable import ShardIterableDataset
from loaders.loader import ShardLoader
from loaders.mixed import MixedDataset
from loaders.stats import LoaderStats
from loaders.transforms import Transforms

__all__ = [
    "Batch",
    "DecodeFailed",
    "DoesNotFit",
    "ForeignIterator",
    "Forms",
    "InvalidOption",
    "Layout",
    "LoaderError",
    "LoaderStats",
    "MixedDataset",
    "ShardChanged",
    "ShardDataset",
    "ShardIterableDataset",
    "ShardLoader",
    "StateMismatch",
    "Transforms",
    "UnknownName",
    "WorkerKilled",
]
