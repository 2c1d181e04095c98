"""Train with Lightning: the loader is given as it is, and its state is part of Lightning's checkpoints.

    python examples/train_lightning.py

`lightning` is not among this project's dependencies: `pip install lightning`.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn

from loaders import ShardDataset

ROOT = os.environ.get("SHARDS_ROOT") or "data/shards"


class Classifier(lightning.LightningModule):
    """One linear layer over the pixels."""

    def __init__(self, size: int, num_classes: int) -> None:
        super().__init__()
        self.layer = nn.Linear(size, num_classes)
        self.seen: list[list[int]] = []

    def training_step(self, batch: dict[str, torch.Tensor], number: int) -> torch.Tensor:
        """Give the loss of a batch."""
        self.seen.append(batch["digit"].tolist())
        return self._loss(batch)

    def validation_step(self, batch: dict[str, torch.Tensor], number: int) -> None:
        """Log the loss of a batch."""
        self.log("validation_loss", self._loss(batch), batch_size=len(batch["digit"]))

    def _loss(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        scores = self.layer(batch["image"].flatten(1).float())
        return nn.functional.cross_entropy(scores, batch["digit"].long())

    def configure_optimizers(self) -> Any:
        """Plain gradient descent."""
        return torch.optim.SGD(self.parameters(), lr=0.1)


def main() -> None:
    """Train and validate."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default=f"{ROOT}/digits", help="directory or address of a dataset")
    parser.add_argument("--cache", default="data/cache", help="directory for the shards of an address")
    parser.add_argument("--validation", default="test", help="split")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--steps", type=int, default=-1, help="stop after so many steps in all")
    parser.add_argument("--resume", help="a checkpoint; training goes on at the batch after it")
    parser.add_argument("--every", type=int, default=100, help="save DIRECTORY/last.ckpt after so many steps")
    parser.add_argument("--directory", default="lightning_logs")
    parser.add_argument("--log", help="write the labels of every batch there")
    chosen = parser.parse_args()

    columns = ["image", "digit"]
    train = ShardDataset(chosen.data, "train", columns=columns, cache=chosen.cache)
    validation = ShardDataset(chosen.data, chosen.validation, columns=columns, cache=chosen.cache)
    trainer = lightning.Trainer(
        max_epochs=chosen.epochs,
        max_steps=chosen.steps,
        default_root_dir=chosen.directory,
        accelerator="auto",
        devices=1,
        logger=False,
        enable_progress_bar=False,
        callbacks=[ModelCheckpoint(chosen.directory, save_last=True, every_n_train_steps=chosen.every)],
    )
    model = Classifier(train[0]["image"].numel(), int(train[:]["digit"].max()) + 1)
    loader = train.loader(32, shuffle=True, seed=0)
    trainer.fit(model, loader, validation.loader(256), ckpt_path=chosen.resume)
    print(f"{trainer.global_step} steps, {loader.stats()}")
    if chosen.log:
        Path(chosen.log).write_text("".join(f"{labels}\n" for labels in model.seen))


if __name__ == "__main__":
    main()
