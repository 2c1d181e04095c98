"""A split as an iterable-style dataset, for code that wants one."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import numpy.typing as npt
from torch.utils.data import IterableDataset, get_worker_info

from loaders.dataset import ShardDataset
from loaders.errors import InvalidOption
from loaders.forms import Batch
from loaders.loader import ShardLoader
from loaders.options import shard_of_world


class ShardIterableDataset(IterableDataset[Batch]):
    """Yields whole batches; give it to a DataLoader with `batch_size=None`.

    Inside a DataLoader's worker processes, worker w of n yields every n-th batch of this rank, so that
    together they yield each once. `state_dict` and `load_state_dict` are what torchdata's
    `StatefulDataLoader` calls in every worker.

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

    def _made(self) -> ShardLoader:
        if self._loader is None or self._process != os.getpid():  # a forked worker has its parent's
            self._process = os.getpid()
            worker = get_worker_info()
            number, count = (worker.id, worker.num_workers) if worker is not None else (0, 1)
            self._loader = ShardLoader(
                self.dataset,
                self.batch_size,
                rank=self.rank * count + number,
                world_size=self.world_size * count,
                **self._options,
            )
        return self._loader

    def __iter__(self) -> Iterator[Batch]:
        """Begin where a loaded state says, else at the start of the next epoch."""
        return iter(self._made())

    def __len__(self) -> int:
        """Batches of this rank in an epoch, over all worker processes."""
        options = self._options | {"num_threads": 0}
        whole = ShardLoader(
            self.dataset, self.batch_size, rank=self.rank, world_size=self.world_size, **options
        )
        return len(whole)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next `iter()` begins; not seen by workers that run already."""
        self._made().set_epoch(epoch)

    def state_dict(self) -> dict[str, Any]:
        """Give where the next batch begins."""
        return self._made().state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue with the batch that would have come next; see `ShardLoader.load_state_dict`."""
        self._made().load_state_dict(state)

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the loader, which each process makes for itself."""
        return self.__dict__ | {"_loader": None}
