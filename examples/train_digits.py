"""Train a small network on the digits that `make demo` made; prints its accuracy on the test split."""

import os

import torch
from torch import Tensor, nn

from loaders import ShardDataset

ROOT = os.environ.get("SHARDS_ROOT") or "data/shards"
COLUMNS, EPOCHS, BATCH = ["image", "digit"], 25, 64
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def network() -> nn.Module:
    """Give logits of ten classes for pictures of 8 x 8 pixels."""
    picture = [nn.Flatten(), nn.Unflatten(1, (1, 8, 8))]
    first = [nn.Conv2d(1, 32, 3, padding=1), nn.ReLU()]
    second = [nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout2d(0.3)]
    return nn.Sequential(*picture, *first, *second, nn.Flatten(), nn.Dropout(0.5), nn.Linear(1024, 10))


def shifted(images: Tensor) -> Tensor:
    """Move pictures by up to one pixel along one axis."""
    return torch.roll(images, int(torch.randint(-1, 2, ())), int(torch.randint(1, 3, ())))


@torch.no_grad()
def accuracy(model: nn.Module, test: ShardDataset) -> float:
    """Give the share of test samples that the model names rightly."""
    model.eval()
    right: list[Tensor] = [
        model(batch["image"]).argmax(1) == batch["digit"] for batch in test.loader(256, device=DEVICE)
    ]
    return torch.cat(right).float().mean().item()


def main() -> None:
    """Train, test, report."""
    torch.manual_seed(0)
    torch.set_num_threads(1)  # faster for so small a network
    train = ShardDataset(f"{ROOT}/digits", split="train", columns=COLUMNS, cache="data/cache")
    test = ShardDataset(f"{ROOT}/digits", split="test", columns=COLUMNS, cache="data/cache")
    model = network().to(DEVICE)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    loader = train.loader(BATCH, shuffle=True, seed=0, device=DEVICE)
    for _ in range(EPOCHS):
        for batch in loader:
            loss = nn.functional.cross_entropy(model(shifted(batch["image"])), batch["digit"].long())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
    print(f"test accuracy {accuracy(model, test):.4f}, {loader.stats().samples_per_second:,.0f} samples/s")


if __name__ == "__main__":
    main()
