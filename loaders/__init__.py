"""Training data at memory speed: snapshots of shards as torch datasets and loaders.

>>> from loaders import ShardDataset
>>> train = ShardDataset("data/shards/digits", split="train", columns=["image", "label"])
>>> for batch in train.loader(batch_size=256, shuffle=True, seed=0, device="cuda"): ...

Everything public is here; `loaders.testing` holds a checker of exact resume for loaders of any kind.

Names are imported when they are first used, so that `import loaders` works where torch is not installed.
"""

from __future__ import annotations

import gc
import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from loaders.dataset import ShardDataset
    from loaders.device import Layout
    from loaders.errors import (
        CacheFull,
        DecodeFailed,
        DoesNotFit,
        ForeignIterator,
        InvalidOption,
        IteratorReplaced,
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
    "CacheFull",
    "DecodeFailed",
    "DoesNotFit",
    "ForeignIterator",
    "Forms",
    "InvalidOption",
    "IteratorReplaced",
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

_HOMES = {
    "Batch": "loaders.forms",
    "CacheFull": "loaders.errors",
    "DecodeFailed": "loaders.errors",
    "DoesNotFit": "loaders.errors",
    "ForeignIterator": "loaders.errors",
    "Forms": "loaders.forms",
    "InvalidOption": "loaders.errors",
    "IteratorReplaced": "loaders.errors",
    "Layout": "loaders.device",
    "LoaderError": "loaders.errors",
    "LoaderStats": "loaders.stats",
    "MixedDataset": "loaders.mixed",
    "ShardChanged": "loaders.errors",
    "ShardDataset": "loaders.dataset",
    "ShardIterableDataset": "loaders.iterable",
    "ShardLoader": "loaders.loader",
    "StateMismatch": "loaders.errors",
    "Transforms": "loaders.transforms",
    "UnknownName": "loaders.errors",
    "WorkerKilled": "loaders.errors",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; public: {', '.join(__all__)}")
    collects = gc.isenabled()
    gc.disable()  # modules are no garbage, and amid them a walk over all that torch has made takes 0.1 s
    try:
        return getattr(importlib.import_module(_HOMES[name]), name)
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        message = f"loaders.{name} needs torch; next: pip install 'shardmill[torch]'"
        raise ModuleNotFoundError(message, name="torch") from None
    finally:
        if collects:
            gc.enable()


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
