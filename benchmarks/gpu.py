"""Delivery to a CUDA device: bytes/s beside a pinned copy, waiting beside a ResNet-50 step, the device cache.

Needs a CUDA device; where there is none, every leg is skipped and said so.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from benchmarks import loader_data, loader_store
from benchmarks.harness import Suite
from loaders import ShardDataset, ShardLoader
from loaders.testing import equal

LEGS = (
    "pictures delivered, batches of 37.7 MB",
    "wait beside a ResNet-50 bf16 step",
    "device cache gather",
    "equal to the CPU path",
)
BATCH_SIZE = 768  # 37.7 MB of pictures


class Block(nn.Module):
    """The bottleneck block of He et al., "Deep Residual Learning for Image Recognition", 2015."""

    def __init__(self, channels_in: int, width: int, stride: int) -> None:
        super().__init__()
        out = 4 * width
        self.body = nn.Sequential(
            nn.Conv2d(channels_in, width, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, stride, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, out, 1, bias=False),
            nn.BatchNorm2d(out),
        )
        same = stride == 1 and channels_in == out
        self.short: nn.Module = (
            nn.Identity()
            if same
            else nn.Sequential(nn.Conv2d(channels_in, out, 1, stride, bias=False), nn.BatchNorm2d(out))
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Add the short cut."""
        return torch.relu(self.body(x) + self.short(x))


def resnet50(num_classes: int) -> nn.Sequential:
    """Make the network of 50 layers."""
    layers: list[nn.Module] = [
        nn.Conv2d(3, 64, 7, 2, 3, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, 1),
    ]
    channels = 64
    for width, depth, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for number in range(depth):
            layers.append(Block(channels, width, stride if number == 0 else 1))
            channels = 4 * width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, num_classes))


def _loader(path: Path, *, threads: int = 4, cached: bool = False, chw: bool = False) -> ShardLoader:
    dataset = ShardDataset(path, columns=["image", "label"])
    return dataset.loader(
        BATCH_SIZE,
        shuffle=True,
        drop_last=True,
        infinite=True,
        device="cuda",
        num_threads=0 if cached else threads,
        prefetch=3,
        device_cache=cached,
        layout="chw" if chw else "stored",
    )


def delivered(loader: ShardLoader, num_batches: int) -> Callable[[], float]:
    """Measure bytes/s that reach the device."""
    batches = iter(loader)

    def work() -> float:
        next(batches)
        torch.cuda.synchronize()
        size, began = 0, time.perf_counter()
        for _ in range(num_batches):
            size += sum(tensor.nbytes for tensor in next(batches).values())
        torch.cuda.synchronize()
        return size / (time.perf_counter() - began)

    return work


def pinned_copy(num_batches: int) -> Callable[[], float]:
    """Measure a bare asynchronous copy from pinned memory."""
    shape = (BATCH_SIZE, loader_data.SIDE_PX, loader_data.SIDE_PX, 3)
    hosts = [torch.empty(shape, dtype=torch.uint8, pin_memory=True) for _ in range(2)]
    there = torch.empty(shape, dtype=torch.uint8, device="cuda")

    def work() -> float:
        torch.cuda.synchronize()
        began = time.perf_counter()
        for number in range(num_batches):
            there.copy_(hosts[number % 2], non_blocking=True)
        torch.cuda.synchronize()
        return num_batches * there.nbytes / (time.perf_counter() - began)

    return work


def device_copy(num_batches: int) -> Callable[[], float]:
    """Measure copies within the device."""
    shape = (BATCH_SIZE, loader_data.SIDE_PX, loader_data.SIDE_PX, 3)
    one, other = (torch.empty(shape, dtype=torch.uint8, device="cuda") for _ in range(2))

    def work() -> float:
        torch.cuda.synchronize()
        began = time.perf_counter()
        for _ in range(num_batches):
            other.copy_(one)
        torch.cuda.synchronize()
        return num_batches * one.nbytes / (time.perf_counter() - began)

    return work


def waiting(path: Path, num_steps: int) -> Callable[[], float]:
    """Measure the share of time in which a training loop waits for its batch, in percent."""
    torch.backends.cudnn.benchmark = True
    network = resnet50(1000).cuda()
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    loader = _loader(path, chw=True)
    batches = iter(loader)

    def steps(count: int) -> None:
        for _ in range(count):
            batch = next(batches)
            with torch.autocast("cuda", torch.bfloat16):
                scores = network(batch["image"].to(torch.bfloat16) / 255)
                loss = nn.functional.cross_entropy(scores, batch["label"])
            torch.autograd.backward(loss)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            loss.item()  # as a loop does that logs its loss; the host runs no further ahead
        torch.cuda.synchronize()

    def work() -> float:
        steps(3)
        loader.stats(reset=True)
        steps(num_steps)
        return 100 * loader.stats().wait_share

    return work


def same_as_cpu(path: Path) -> float:
    """Compare an epoch on the device, and from its cache, with one in host memory; 1 when equal."""
    dataset = ShardDataset(path, columns=["image", "label"])
    loaders = [
        dataset.loader(BATCH_SIZE, shuffle=True, drop_last=True, **options)
        for options in ({}, {"device": "cuda"}, {"device": "cuda", "device_cache": True})
    ]
    for host, copied, cached in zip(*loaders, strict=True):
        for batch in (copied, cached):
            if not equal(host, {name: tensor.cpu() for name, tensor in batch.items()}):
                return 0.0
    return 1.0


def main() -> int:
    """Run every leg, or say why none is run."""
    suite = Suite.from_command_line("gpu", __doc__)
    if not torch.cuda.is_available():
        for leg in LEGS:
            suite.skip(leg, "torch sees no CUDA device on this machine")
        return suite.finish()
    size = (loader_data.QUICK_SIZES if suite.quick else loader_data.SIZES)["images"]
    directory = suite.directory / str(size)
    loader_data.make(directory, "images", size)
    path = loader_store.build(directory, "images")
    num_batches = 20 if suite.quick else 100
    suite.leg(
        LEGS[0],
        unit="bytes/s",
        ours=delivered(_loader(path), num_batches),
        limit=pinned_copy(num_batches),
        goals={"vs_limit": ">= 0.9"},
    )
    suite.leg(LEGS[1], unit="%", better="lower", ours=waiting(path, num_batches), goals={"ours": "<= 2"})
    suite.leg(
        LEGS[2],
        unit="bytes/s",
        ours=delivered(_loader(path, cached=True), num_batches),
        limit=device_copy(num_batches),
        goals={"vs_limit": ">= 0.7"},
    )
    suite.leg(LEGS[3], unit="1 when equal", ours=lambda: same_as_cpu(path), goals={"ours": ">= 1"}, rounds=1)
    return suite.finish()


if __name__ == "__main__":
    sys.exit(main())
