"""One dataset of every kind of column, in one shard and in many."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.loaders import datasets


@pytest.fixture(scope="session", params=[(1, 256 << 20), (3, 2000)], ids=["one shard", "many shards"])
def everything(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    """Path of the dataset, and its values by column."""
    partitions, shard_bytes = request.param
    root = tmp_path_factory.mktemp("everything")
    return datasets.mixed(root, num_partitions=partitions, shard_bytes=shard_bytes)
