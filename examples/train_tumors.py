"""Train a small network on the tumors that `make demo` made; prints its accuracy on the test split."""

import os

import torch
from torch import Tensor, nn

from loaders import ShardDataset

ROOT = os.environ.get("SHARDS_ROOT") or "data/shards"
FEATURES = ["mean", "error", "worst"]
EPOCHS, BATCH = 60, 32
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def network() -> nn.Module:
    """Give logits of benign and malignant for thirty features."""
    return nn.Sequential(nn.Linear(30, 32), nn.ReLU(), nn.Dropout(0.3), nn.Linear(32, 2))


def features(batch: dict[str, Tensor]) -> Tensor:
    """Lay the three vectors of each sample side by side."""
    return torch.cat([batch[name] for name in FEATURES], 1)


@torch.no_grad()
def accuracy(model: nn.Module, test: ShardDataset) -> float:
    """Give the share of test samples that the model names rightly."""
    model.eval()
    right: list[Tensor] = [
        model(features(batch)).argmax(1) == batch["diagnosis"] for batch in test.loader(256, device=DEVICE)
    ]
    return torch.cat(right).float().mean().item()


def main() -> None:
    """Train, test, report."""
    torch.manual_seed(0)
    torch.set_num_threads(1)  # faster for so small a network
    columns = [*FEATURES, "diagnosis"]
    train = ShardDataset(f"{ROOT}/tumors", split="train", columns=columns, cache="data/cache")
    test = ShardDataset(f"{ROOT}/tumors", split="test", columns=columns, cache="data/cache")
    model = network().to(DEVICE)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    loader = train.loader(BATCH, shuffle=True, seed=0, device=DEVICE)
    for _ in range(EPOCHS):
        for batch in loader:
            loss = nn.functional.cross_entropy(model(features(batch)), batch["diagnosis"].long())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
    print(f"test accuracy {accuracy(model, test):.4f}, {loader.stats().samples_per_second:,.0f} samples/s")


if __name__ == "__main__":
    main()
