"""Batches for a training loop: gathered by threads, in an order that can be resumed at any batch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy.typing as npt
import torch

from loaders.cache import CachedFeed
from loaders.device import HostStage, Layout, Ready, stage
from loaders.errors import ForeignIterator, InvalidOption, IteratorReplaced, StateMismatch
from loaders.feed import DatasetFeed, Feed, steps_per_group
from loaders.forms import Batch
from loaders.options import Pace, choose_order, default_threads, num_processors, shard_of_world
from loaders.plan import Plan, Ramp
from loaders.pool import Pool
from loaders.stats import LoaderStats, Meter
from loaders.threads import Ahead
from loaders.work import Work

if TYPE_CHECKING:
    from loaders.dataset import ShardDataset

STATE_VERSION = 1
GROUP_BYTES = 8 << 20  # of batches that are gathered together, about


class ShardLoader:
    """Iterates over batches: dicts of tensors, one epoch for each `iter()`.

    The order is a function of (seed, epoch, position) and the same for any `world_size`, `num_threads` and
    `prefetch`. Batches are the caller's own: they may be kept and written to (with `read_only` datasets they
    are views of mapped files and must not be written to).

    Parameters
    ----------
    dataset
        A `ShardDataset`.
    batch_size
        Samples of a batch of one rank.
    shuffle
        `True` or "full": a permutation of the split. "block": blocks of neighbours in random order, shuffled
        within windows; reads cold disks in long runs. `False`: the order on disk.
    seed
        Seed of the order; the same on every rank.
    drop_last
        Leave out the samples that do not fill a batch on every rank. Without, they are shared out evenly.
    num_threads
        Threads that gather; 0 gathers in the calling thread. By default one less than there are processors
        for this rank, 1 to 4; more than that are not begun where batches are copies of wide rows.
    prefetch
        Groups of batches that each thread may be ahead.
    device
        Where batches go. On a CUDA device, copies run on a side stream from pinned memory and the fits on the
        device.
    device_cache
        Hold the split on the device, as it is stored, and gather there; `DoesNotFit` when it is too large.
    rank, world_size
        This process's share; from torch.distributed where that is initialised.
    infinite
        Go on with the next epoch instead of ending.
    weights
        One number a sample: draw with replacement, as often as the number says.
    balance
        Name of a column of integers: draw every class equally often.
    num_samples
        Positions of an epoch when `weights` or `balance` draw; the size of the split by default.
    block_samples, window_blocks
        For `shuffle="block"`: neighbours of a block (by default about 4 MiB; of an object store, a shard),
        blocks of a window.
    layout, memory_format, dtypes
        See `loaders.device.Layout`.
    transform
        Called with every batch, on the device, after the dataset's own transform.

    Notes
    -----
    For one consumer. `state_dict` after a batch was taken continues with the batch after it, whatever has
    been prefetched.

    Examples
    --------
    >>> loader = train.loader(256, shuffle=True, seed=0, device="cuda")
    >>> for batch in loader:
    ...     step(batch)
    >>> print(loader.stats())
    """

    def __init__(
        self,
        dataset: ShardDataset,
        batch_size: int,
        *,
        shuffle: bool | Literal["full", "block"] = False,
        seed: int = 0,
        drop_last: bool = False,
        num_threads: int | None = None,
        prefetch: int = 2,
        device: str | torch.device | None = None,
        device_cache: bool = False,
        rank: int | None = None,
        world_size: int | None = None,
        infinite: bool = False,
        weights: npt.ArrayLike | None = None,
        balance: str | None = None,
        num_samples: int | None = None,
        block_samples: int | None = None,
        window_blocks: int = 8,
        layout: Literal["stored", "chw"] = "stored",
        memory_format: torch.memory_format | None = None,
        dtypes: Mapping[str, torch.dtype] | None = None,
        transform: Callable[[Batch], Batch] | None = None,
    ) -> None:
        target = device_of(device)
        order = choose_order(
            dataset, shuffle, seed, weights, balance, num_samples, block_samples, window_blocks
        )
        pool = Pool(pinned=target.type == "cuda")
        opened, fits = dataset.opened, dataset.fits
        shown = Layout(layout, memory_format, dtypes)
        feed: Feed
        if device_cache:
            feed = CachedFeed(opened, order, dataset.forms, pool, fits=fits, device=target)
        else:
            stay = target.type == "cpu" and not shown.copies
            feed = DatasetFeed(
                opened, order, dataset.forms, pool, read_only=dataset.read_only, fits=fits, stay=stay
            )
        finish = both(dataset.transform, transform)
        made = stage(feed, shown, finish, target)
        if num_threads is None:
            num_threads = 0 if device_cache else default_threads()
        pace = Pace(batch_size, drop_last, num_threads, prefetch, rank, world_size, infinite)
        self._begin(feed, made, pace)

    @classmethod
    def over(cls, feed: Feed, made: HostStage, pace: Pace) -> ShardLoader:
        """Make a loader over any feed; for what is no `ShardDataset`."""
        loader = cls.__new__(cls)
        loader._begin(feed, made, pace)
        return loader

    def _begin(self, feed: Feed, made: HostStage, pace: Pace) -> None:
        self._feed, self._stage = feed, made
        self.rank, self.world_size = shard_of_world(pace.rank, pace.world_size)
        self.batch_size, self.drop_last, self.infinite = pace.batch_size, pace.drop_last, pace.infinite
        self.num_threads, self.prefetch = pace.num_threads, pace.prefetch
        self._place = (0, 0)  # epoch and position at which the next iterator begins
        self._meter = Meter()
        self._iterator: LoaderIterator | None = None
        self._turns = (0, 1)
        self._plan(0)

    def take_turns(self, turn: int, num_turns: int) -> None:
        """Give only the batches `turn`, `turn + num_turns`, ... of this rank, as one of its workers."""
        self._turns = (turn, num_turns)

    def _plan(self, start: int) -> Plan:
        return Plan(
            self._feed.num_positions,
            self.batch_size,
            self.rank,
            self.world_size,
            self.drop_last,
            start,
            self._feed.unit,
            *self._turns,
        )

    def __len__(self) -> int:
        """Batches of this rank in a whole epoch; TypeError when `infinite`."""
        if self.infinite:
            raise TypeError("an infinite loader has no length")
        return self._plan(0).num_steps

    def __iter__(self) -> LoaderIterator:
        """Begin where a loaded state says, else at the start of the next epoch; ends the iterator before."""
        before = self._iterator
        if before is not None:
            epoch, position = before.place
            self.restart(*((epoch + 1, 0) if position and before.has_given else before.place))
        self._iterator = LoaderIterator(self, *self._place)
        return self._iterator

    def restart(self, epoch: int, position: int) -> None:
        """Choose the epoch, and the position in it over all ranks, at which the next `iter()` begins."""
        if self._iterator is not None:
            self._iterator.replace()
        self._iterator, self._place = None, (epoch, position)

    def _ended(self, iterator: LoaderIterator) -> None:
        """Let go of an iterator that gave its last batch, and so of the blocks that it holds."""
        if iterator is self._iterator:
            self._iterator, self._place = None, iterator.place

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next `iter()` begins."""
        self.restart(epoch, 0)

    @property
    def epoch(self) -> int:
        """The epoch under way, or the next one when none is."""
        return self.place[0]

    @property
    def place(self) -> tuple[int, int]:
        """Epoch and position of the batch that comes next."""
        return self._place if self._iterator is None else self._iterator.place

    def state_dict(self) -> dict[str, Any]:
        """Give where the next batch begins, as small JSON; the same on every rank after the same step."""
        epoch, position = self.place
        return {
            "version": STATE_VERSION,
            "epoch": epoch,
            "position": position,
            "order": self._feed.describe(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue, at the next `iter()`, with the batch that would have come next.

        Batch size, world size, rank, threads and device may differ from those of the loader that was saved.

        Raises
        ------
        StateMismatch
            The state belongs to another snapshot, split size, seed or kind of shuffle.
        """
        if state.get("version") != STATE_VERSION:
            raise StateMismatch(f"state of version {state.get('version')!r}; allowed: {STATE_VERSION}")
        mine, saved = self._feed.describe(), state["order"]
        if mine != saved:
            names = sorted(name for name in mine.keys() | saved.keys() if mine.get(name) != saved.get(name))
            found = ", ".join(f"{name} {saved.get(name)!r} (here {mine.get(name)!r})" for name in names)
            raise StateMismatch(
                f"the state was saved with {found}; open the dataset with "
                f"version={saved.get('snapshot')!r} and the same options, or begin anew"
            )
        self.restart(int(state["epoch"]), int(state["position"]))

    def stats(self, *, reset: bool = False) -> LoaderStats:
        """Give throughput, waiting times and the place in the epoch so far."""
        epoch, position = self.place
        pending = (0, 0, 0) if self._iterator is None else self._iterator.pending
        found = self._meter.stats(epoch, position / max(self._feed.num_positions, 1), pending)
        if reset:
            self._meter.reset()
            self._meter.count(*pending)
        return found


class LoaderIterator(Iterator[Batch]):
    """One pass of a `ShardLoader`; `close` ends its threads early.

    Whatever is raised in the middle (an error, Ctrl-C), the batch that would have come is the next one still.
    """

    def __init__(self, loader: ShardLoader, epoch: int, position: int) -> None:
        self._loader, self._meter = loader, loader._meter
        self.has_given = False
        self._is_over = self._is_closed = self._is_replaced = self._is_broken = False
        self._begin(epoch, position)

    def _begin(self, epoch: int, position: int) -> None:
        loader = self._loader
        self._ready: list[Batch] = []
        self._is_finished = True
        self._epoch, self._step = epoch, 0
        self._plan = plan = loader._plan(position)
        self._num_steps = plan.num_steps
        groups = Ramp.at_least(steps_per_group(loader._feed.row_bytes(), loader.batch_size, GROUP_BYTES))
        work = Work(
            loader._feed, loader._stage, loader._meter, plan, epoch, groups, max(loader.num_threads, 1)
        )
        num_threads = loader.num_threads
        helped = groups.size == 1 and loader._feed.is_copying and num_threads > 0 and num_processors() > 1
        if helped:  # the last processor is the loop's, which copies as well while it would wait
            num_threads = min(num_threads, num_processors() - 1)
        self._ahead = Ahead(
            work,
            groups.count(plan.num_steps),
            num_threads,
            loader.prefetch,
            helped=helped,
            after=work.prepare,
        )

    def __next__(self) -> Batch:
        """Give the next batch."""
        if self._ready and self._is_finished:
            self._step += 1
            return self._ready.pop()
        began = time.perf_counter()
        if not self._ready:
            self._fill()
        batch = self._ready[-1]
        if not self._is_finished:
            batch = self._loader._stage.finish(batch)
        self._ready.pop()  # not before: a transform that fails leaves the batch where it is
        self._step += 1
        self.has_given = True
        self._meter.waited(began)
        return batch

    def _fill(self) -> None:
        """Wait for the next group of batches."""
        if self._is_replaced:
            raise IteratorReplaced(
                "this iterator was ended when its loader began another one or was given another place; use "
                "the new one, or a loader of its own for each loop"
            )
        if self._is_broken:
            self._begin(*self._here)
            self._is_broken = False
        while not self._ready and not self._is_closed:
            ready = self._next_group()
            if ready is not None:
                self._ready, self._is_finished = self._loader._stage.take(ready)[::-1], ready.is_finished
                self._counted = len(self._ready), ready.num_samples, ready.num_bytes
                self._meter.count(*self._counted)
            elif self._loader.infinite and self._loader._plan(0).num_steps:
                self._begin(self._epoch + 1, 0)
            else:
                self._is_over = True
                self.close()
                self._loader._ended(self)
        if self._is_closed:
            raise StopIteration

    def _next_group(self) -> Ready | None:
        try:
            return next(self._ahead, None)
        except ForeignIterator:
            raise
        except BaseException:  # whatever its threads know is of no use now
            self._is_broken = True
            self._ahead.close()
            raise

    @property
    def _here(self) -> tuple[int, int]:
        return self._epoch, self._plan.position_after(self._step)

    @property
    def _has_more(self) -> bool:
        return self._step < self._num_steps or self._loader.infinite

    @property
    def place(self) -> tuple[int, int]:
        """Epoch and position of the batch that comes next."""
        gave_last = 0 < self._num_steps == self._step and self._plan.num_turns == 1  # others may have more
        if self._is_over or gave_last:
            return self._epoch + 1, 0
        return self._here

    @property
    def pending(self) -> tuple[int, int, int]:
        """Batches, samples and bytes that were counted and not taken yet."""
        left = len(self._ready)
        if not left:
            return 0, 0, 0
        num_batches, num_samples, num_bytes = self._counted
        samples = num_samples - (num_batches - left) * self._loader.batch_size
        return left, samples, num_bytes * samples // num_samples

    def replace(self) -> None:
        """Close it because another one begins; who still asks it for batches is told."""
        self._is_replaced = self._has_more and not self._is_closed
        self.close()

    def close(self) -> None:
        """End the threads; there are no more batches."""
        self._meter.count(*(-number for number in self.pending))
        self._ready, self._is_closed = [], True
        self._ahead.close()
        self._meter.paused()


def device_of(device: str | torch.device | None) -> torch.device:
    target = torch.device("cpu" if device is None else device)
    if target.type == "cuda":
        if not torch.cuda.is_available():
            raise InvalidOption(f"device={str(device)!r}, but torch sees no CUDA device here; allowed: cpu")
        if target.index is None:
            return torch.device("cuda", torch.cuda.current_device())
    return target


def both(
    first: Callable[[Batch], Batch] | None, second: Callable[[Batch], Batch] | None
) -> Callable[[Batch], Batch] | None:
    if first is None or second is None:
        return second if first is None else first
    return lambda batch: second(first(batch))
