"""Serve a model with the very fits it was trained with: the snapshot's transforms as a module.

    python examples/serve_fits.py

Training applies `Transforms` inside the loader. Here the same object is put in front of the network, exported
by `torch.export`, and given a record as it would come from a request.
"""

from __future__ import annotations

import argparse
import os

import torch
from torch import nn

from loaders import ShardDataset, Transforms

ROOT = os.environ.get("SHARDS_ROOT") or "data/shards"


class Service(nn.Module):
    """Fits, then the network."""

    def __init__(self, transforms: Transforms, network: nn.Module) -> None:
        super().__init__()
        self.transforms, self.network = transforms, network

    def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Give scores for rows as they are stored."""
        return self.network(self.transforms(batch)["image"].flatten(1).float())


def main() -> None:
    """Compare what training sees with what the service computes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default=f"{ROOT}/digits", help="directory or address of a dataset")
    parser.add_argument("--cache", default="data/cache", help="directory for the shards of an address")
    parser.add_argument("--split", default="train")
    chosen = parser.parse_args()

    trained_on = ShardDataset(chosen.data, chosen.split, columns=["image"], cache=chosen.cache)
    network = nn.Linear(trained_on[0]["image"].numel(), 10)
    transforms = Transforms.from_snapshot(trained_on.opened.snapshot, ["image"])
    service = Service(transforms, network).eval()

    request = trained_on.as_stored()[:3]  # stands for pictures that clients send
    program = torch.export.export(service, (request,))
    expected = network(trained_on[:3]["image"].flatten(1).float())
    torch.testing.assert_close(program.module()(request), expected)
    print(f"the exported service agrees with training on {len(expected)} rows")


if __name__ == "__main__":
    main()
