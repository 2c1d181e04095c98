"""The Dagster code location: one YAML file per dataset gives its whole asset graph.

`assets.MongoDataset` is loaded on first use, so that `assets.spec`, `assets.mongo`, `assets.vision` and
`assets.columns` can be used without Dagster.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from assets.dataset import MongoDataset

__all__ = ["MongoDataset"]


def __getattr__(name: str) -> Any:
    if name == "MongoDataset":
        from assets.dataset import MongoDataset

        return MongoDataset
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
