"""Options of loaders as other libraries give them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from loaders import MixedDataset, ShardDataset
from loaders.testing import equal
from tests.unit.loaders import datasets


@pytest.mark.parametrize("kind", [np.int64, np.uint8, torch.tensor])
def test_integers_of_other_libraries_are_options(tmp_path: Path, kind: Any) -> None:
    path, _ = datasets.mixed(tmp_path, 300)
    train = ShardDataset(path, "train", columns=["label"])
    plain: dict[str, Any] = {"batch_size": 16, "seed": 3, "num_threads": 1, "prefetch": 1}
    for options in (
        {"shuffle": True, "rank": 1, "world_size": 2},
        {"shuffle": "block", "block_samples": 8, "window_blocks": 2},
        {"balance": "label", "num_samples": 40},
    ):
        asked = plain | options
        numbers = {name: kind(value) for name, value in asked.items() if type(value) is int}
        wanted, loader = train.loader(**asked), train.loader(**asked | numbers)
        assert json.dumps(loader.state_dict()) == json.dumps(wanted.state_dict())
        assert equal(list(loader), list(wanted))
    for mix in ("sample", "batch"):
        mixed = MixedDataset([train, train], mix=mix)  # type: ignore[arg-type]
        wanted = mixed.loader(16, seed=3, num_samples=64)
        loader = mixed.loader(kind(16), seed=kind(3), num_samples=kind(64))
        assert json.dumps(loader.state_dict()) == json.dumps(wanted.state_dict())
        assert equal(list(loader), list(wanted))
