"""What a loader is asked for, turned into an order, a share of the world and a number of threads."""

from __future__ import annotations

import operator
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import torch.distributed

from loaders.columns import NpyColumn
from loaders.errors import InvalidOption, UnknownName
from loaders.order import (
    BalancedOrder,
    BlockShuffle,
    FullShuffle,
    Order,
    SequentialOrder,
    WeightedOrder,
)
from loaders.pool import Pool

if TYPE_CHECKING:
    from loaders.dataset import ShardDataset

BLOCK_BYTES = 4 << 20
MAX_THREADS = 4


def integer(name: str, value: Any, least: int | None = None) -> int:
    """Give an option as Python's own integer, also where it is one of NumPy's or torch's.

    Raises
    ------
    InvalidOption
        It is no integer, or less than the least that is allowed.
    """
    try:
        found = operator.index(value)
    except TypeError:
        found = None
    if found is None or isinstance(value, bool) or (least is not None and found < least):
        bound = "" if least is None else f" of {least} or more"
        raise InvalidOption(f"{name}={value!r:.60}; allowed: an integer{bound}")
    return found


@dataclass(frozen=True, slots=True)
class Pace:
    """How a loader goes over what it is given; see `ShardLoader`."""

    batch_size: int
    drop_last: bool
    num_threads: int
    prefetch: int
    rank: int | None
    world_size: int | None
    infinite: bool

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        for name, least in (("batch_size", 1), ("num_threads", 0), ("prefetch", 1)):
            object.__setattr__(self, name, integer(name, getattr(self, name), least))
        for name in ("rank", "world_size"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, integer(name, value))


def choose_order(
    dataset: ShardDataset,
    shuffle: bool | Literal["full", "block"],
    seed: int,
    weights: npt.ArrayLike | None = None,
    balance: str | None = None,
    num_samples: int | None = None,
    block_samples: int | None = None,
    window_blocks: int = 8,
) -> Order:
    """Choose the order that the options of a loader ask for; see `ShardLoader`."""
    size, seed = len(dataset), integer("seed", seed)
    if num_samples is not None:
        num_samples = integer("num_samples", num_samples)
    if weights is not None or balance is not None:
        if weights is not None and balance is not None:
            raise InvalidOption("weights and balance are both given; allowed: one of them")
        if weights is not None:
            shape = np.asarray(weights).shape
            if shape != (size,):
                raise InvalidOption(f"weights of shape {shape}; allowed: ({size},), one for every sample")
            return WeightedOrder(weights, seed, num_samples)
        return BalancedOrder(_classes(dataset, str(balance)), seed, num_samples)
    if num_samples is not None:
        raise InvalidOption("num_samples is given without weights or balance")
    if size == 0 or shuffle is False:
        return SequentialOrder(size)
    if shuffle is True or shuffle == "full":
        return FullShuffle(size, seed)
    if shuffle == "block":
        if block_samples is None:
            opened = dataset.opened
            block_samples = max(1, BLOCK_BYTES // max(opened.row_bytes(), 1))
            if opened.place.evicts:  # what is fetched as a whole is used as a whole
                block_samples = max(block_samples, opened.shard_rows())
        return BlockShuffle(
            size, seed, integer("block_samples", block_samples), integer("window_blocks", window_blocks)
        )
    raise InvalidOption(f"shuffle={shuffle!r}; allowed: True, False, 'full', 'block'")


def _classes(dataset: ShardDataset, name: str) -> npt.NDArray[np.integer[npt.NBitBase]]:
    opened = dataset.opened
    if name not in opened.snapshot.columns:
        raise UnknownName("column", name, str(opened.snapshot), opened.snapshot.columns)
    reader = opened.snapshot.column(name)
    column = reader.column
    if column.encoding != "npy" or column.shape or np.dtype(column.dtype).kind not in "iub":
        raise InvalidOption(f"balance={name!r}: a column of {column.stored_as}; allowed: one integer a row")
    rows = opened.index(np.arange(len(dataset)))
    gathered = NpyColumn(reader, opened.place).gather(rows, Pool())
    found: npt.NDArray[np.integer[npt.NBitBase]] = gathered.numpy()
    return found


def shard_of_world(rank: int | None, world_size: int | None) -> tuple[int, int]:
    """Give rank and world size: as asked, else from torch.distributed, else one process."""
    if (rank is None) != (world_size is None):
        raise InvalidOption(f"rank={rank}, world_size={world_size}; allowed: both or neither")
    if rank is not None and world_size is not None:
        return rank, world_size
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


def num_processors() -> int:
    """Processors that one of the processes of a training job on this machine may use."""
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # set by torchrun
    return max(1, processors // max(local, 1))


def default_threads() -> int:
    """Choose how many threads gather: one processor is left to the training loop."""
    return max(1, min(MAX_THREADS, num_processors() - 1))
