"""A split as an iterable-style dataset, for code that wants one."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import numpy.typing as npt
import torch
from torch.utils.data import IterableDataset, get_worker_info

from loaders.dataset import ShardDataset
from loaders.errors import InvalidOption
from loaders.forms import Batch
from loaders.loader import ShardLoader
from loaders.options import shard_of_world


class ShardIterableDataset(IterableDataset[Batch]):
    """Yields whole batches; give it to a DataLoader with `batch_size=None`.

    Inside a DataLoader's worker processes, worker w of n yields every n-th batch of this rank, so that
    together they yield the same batches as one process would, in the same order. Processes that are kept
    (`persistent_workers=True`) go on to the next epoch each time; new ones cannot know how many passes there
    were, so call `set_epoch` before each, as with torch's `DistributedSampler`. `state_dict` and
    `load_state_dict` are what torchdata's `StatefulDataLoader` calls in every worker.

    Parameters
    ----------
    dataset
        A `ShardDataset`.
    batch_size, shuffle, seed, drop_last, rank, world_size, weights, balance, num_samples, block_samples
        As for `ShardLoader`.
    num_threads
        Threads that gather, in each process; 0 by default.

    Notes
    -----
    Without worker processes this is a `ShardLoader` in other clothes. With them, batches are pickled into
    shared memory and out of it, which costs several times what gathering costs.
    """

    def __init__(
        self,
        dataset: ShardDataset,
        batch_size: int,
        *,
        shuffle: bool | Literal["full", "block"] = False,
        seed: int = 0,
        drop_last: bool = False,
        rank: int | None = None,
        world_size: int | None = None,
        weights: npt.ArrayLike | None = None,
        balance: str | None = None,
        num_samples: int | None = None,
        block_samples: int | None = None,
        num_threads: int = 0,
    ) -> None:
        if batch_size < 1:
            raise InvalidOption(f"batch_size={batch_size}; allowed: 1 or more")
        self.dataset, self.batch_size = dataset, batch_size
        # asked here: worker processes have no process group
        self.rank, self.world_size = shard_of_world(rank, world_size)
        self._options: dict[str, Any] = {
            "shuffle": shuffle,
            "seed": seed,
            "drop_last": drop_last,
            "weights": weights,
            "balance": balance,
            "num_samples": num_samples,
            "block_samples": block_samples,
            "num_threads": num_threads,
        }
        self._loader: ShardLoader | None = None
        self._process = 0
        # shared with worker processes: epoch, position, how often they were chosen, and which choice of them
        # workers have begun with
        self._start: torch.Tensor = torch.tensor([0, 0, 1, 0]).share_memory_()  # type: ignore[no-untyped-call]
        self._num_seen = 0
        self._is_shuffled = bool(shuffle) or weights is not None or balance is not None

    def _made(self) -> ShardLoader:
        if self._loader is None or self._process != os.getpid():  # a forked worker has its parent's
            self._process, self._num_seen = os.getpid(), 0
            self._loader = ShardLoader(
                self.dataset, self.batch_size, rank=self.rank, world_size=self.world_size, **self._options
            )
            worker = get_worker_info()
            if worker is not None:
                self._loader.take_turns(worker.id, worker.num_workers)
        epoch, position, num_chosen, _ = self._start.tolist()
        if self._num_seen != num_chosen:
            self._num_seen = num_chosen
            self._loader.restart(epoch, position)
        return self._loader

    def __iter__(self) -> Iterator[Batch]:
        """Begin where a loaded state says, else at the start of the next epoch."""
        is_new = self._process != os.getpid()
        loader, worker = self._made(), get_worker_info()
        if is_new and worker is not None and worker.id == 0:
            if self._is_shuffled and self._start[3] == self._start[2]:
                warnings.warn(
                    f"new worker processes begin epoch {loader.epoch} once more, in the same order; call "
                    "set_epoch before each pass, or keep the workers by persistent_workers=True",
                    stacklevel=2,
                )
            self._start[3] = self._start[2]
        return iter(loader)

    def __len__(self) -> int:
        """Batches of this rank in an epoch, over all worker processes."""
        options = self._options | {"num_threads": 0}
        whole = ShardLoader(
            self.dataset, self.batch_size, rank=self.rank, world_size=self.world_size, **options
        )
        return len(whole)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next `iter()` begins, also in workers that run already."""
        self._choose(epoch, 0)

    def state_dict(self) -> dict[str, Any]:
        """Give where the next batch begins; worker processes have places of their own."""
        return self._made().state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue with the batch that would have come next; see `ShardLoader.load_state_dict`."""
        loader = self._made()
        loader.load_state_dict(state)
        if get_worker_info() is None:
            self._choose(*loader.place)

    def _choose(self, epoch: int, position: int) -> None:
        self._start[:3] = torch.tensor([epoch, position, int(self._start[2]) + 1])
        self._made()

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the loader, which each process makes for itself."""
        return self.__dict__ | {"_loader": None, "_process": 0}
