"""Train on two processes, be killed, and go on at the very batch: the same order as if nothing had happened.

    torchrun --nproc-per-node 2 examples/torchrun_resume.py --checkpoint run.pt
    # kill it whenever you like, then run the same line again, with another --nproc-per-node if you want

Runs on processors with gloo; on GPUs the same script takes `--device cuda` and nccl.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn

from loaders import ShardDataset

ROOT = os.environ.get("SHARDS_ROOT") or "data/shards"


def save(path: Path, state: dict[str, object]) -> None:
    """Replace the checkpoint as a whole, so that a kill leaves the old one or the new one."""
    fresh = path.with_suffix(".new")
    torch.save(state, fresh)
    fresh.replace(path)


def main() -> None:
    """Train; rank 0 saves after every step."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default=f"{ROOT}/digits", help="directory or address of a dataset")
    parser.add_argument("--cache", default="data/cache", help="directory for the shards of an address")
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seen", type=Path, help="write the labels of every batch there, a file a rank")
    chosen = parser.parse_args()

    dist.init_process_group("nccl" if chosen.device == "cuda" else "gloo")
    torch.manual_seed(0)
    torch.set_num_threads(1)
    train = ShardDataset(chosen.data, split="train", columns=["image", "digit"], cache=chosen.cache)
    # rank and world size come from torch.distributed; the order is the same for any world size
    loader = train.loader(chosen.batch_size, shuffle=True, seed=0, device=chosen.device)

    size = train[0]["image"].numel()
    num_classes = int(train[:]["digit"].max()) + 1
    network = nn.parallel.DistributedDataParallel(nn.Linear(size, num_classes).to(chosen.device))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)

    step = 0
    if chosen.checkpoint.exists():
        state = torch.load(chosen.checkpoint, weights_only=True)
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        loader.load_state_dict(state["loader"])
        step = state["step"]

    while loader.epoch < chosen.epochs:
        for batch in loader:
            pixels = batch["image"].flatten(1).float()
            loss = nn.functional.cross_entropy(network(pixels), batch["digit"].long())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
            if chosen.seen is not None:
                with chosen.seen.with_suffix(f".{dist.get_rank()}").open("a") as file:
                    file.write(f"{step} {batch['digit'].tolist()}\n")
            if dist.get_rank() == 0:
                save(
                    chosen.checkpoint,
                    {
                        "network": network.state_dict(),
                        "optimizer": optimizer.state_dict(),
                        "loader": loader.state_dict(),
                        "step": step,
                    },
                )
            dist.barrier()
            if os.environ.get("DIE_AT_STEP") == str(step):
                os._exit(9)  # stands for a machine that goes away
    if dist.get_rank() == 0:
        print(f"{step} steps, loss {loss.item():.3f}, {loader.stats()}")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
