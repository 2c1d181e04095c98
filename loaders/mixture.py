"""Several datasets as one stream, in given proportions, resumable at any position.

Positions are dealt out in rounds of `ROUND` units. How many units of a round each dataset has follows from
the weights by integer arithmetic, so that after any number of rounds each dataset has its share to within a
few units; which unit of the round is whose is a keyed permutation. Every dataset is gone through in its own
shuffled epochs, one after the other. All of it is a function of (seed, epoch, position).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from loaders.errors import InvalidOption
from loaders.feed import DatasetFeed, Dense, Group, Piece, Resolved
from loaders.forms import Batch
from loaders.permutation import Permutation, Positions, key_of
from shards import Column

ROUND = 128
SCALE = 32  # bits of a weight
ROUNDS = 0x51  # purpose of the keys
SOURCE = "source"


class Mixture:
    """Which dataset each unit of the stream comes from, and which unit of that dataset it is.

    Parameters
    ----------
    weights
        One positive number a dataset.
    seed
        Seed of the order.
    """

    def __init__(self, weights: Sequence[float], seed: int) -> None:
        values = np.asarray(weights, np.float64)
        if values.ndim != 1 or not values.size or not (np.isfinite(values) & (values > 0)).all():
            raise InvalidOption(f"weights={list(weights)}; allowed: one positive number for every dataset")
        shares = [int(share) for share in np.round(values / values.sum() * (1 << SCALE))]
        self._main = int(np.argmax(values))  # takes what rounding leaves over
        self._shares, self._seed = shares, seed

    def dealt(self, rounds: int) -> list[int]:
        """Give how many units each dataset has had after a number of rounds."""
        counts = [(rounds * ROUND * share) >> SCALE for share in self._shares]
        counts[self._main] += rounds * ROUND - sum(counts)
        return counts

    def at(self, units: Positions) -> tuple[npt.NDArray[np.int64], Positions]:
        """Give dataset and number within that dataset's own stream for ascending units."""
        sources = np.empty(len(units), np.int64)
        numbers = np.empty(len(units), np.int64)
        rounds = units // ROUND
        for number in np.unique(rounds).tolist():
            before, after = self.dealt(number), self.dealt(number + 1)
            counts = np.subtract(after, before)
            dealt = np.repeat(np.arange(len(counts)), counts)
            rank = np.arange(ROUND) - np.repeat(np.cumsum(counts) - counts, counts)
            shuffled = Permutation(ROUND, key_of(self._seed, ROUNDS, number))(np.arange(ROUND))
            here = rounds == number
            slots = shuffled[units[here] - number * ROUND]
            sources[here] = dealt[slots]
            numbers[here] = np.asarray(before)[dealt[slots]] + rank[slots]
        return sources, numbers


class SampleFeed:
    """Batches whose samples come from all datasets; only columns of one shape a row."""

    def __init__(
        self, feeds: Sequence[DatasetFeed], mixture: Mixture, num_positions: int, about: Mapping[str, Any]
    ) -> None:
        self.num_positions, self.is_copying = num_positions, False
        self.schemas: Sequence[Mapping[str, Column]] = [feed.schemas[0] for feed in feeds]
        self.unit: int | None = None
        self._feeds, self._mixture, self._about = feeds, mixture, dict(about)

    def row_bytes(self) -> int:
        """Bytes of an average row."""
        return max(feed.row_bytes() for feed in self._feeds)

    def resolve(self, epoch: int, positions: Positions) -> Resolved:
        """Give dataset and number within its stream for each position; shape (2, n)."""
        return np.stack(self._mixture.at(positions + epoch * self.num_positions))

    def narrow(self, resolved: Resolved) -> Group | None:
        """Nothing."""
        return None

    def pieces(self, resolved: Resolved, ends: Sequence[int]) -> list[Piece]:
        """All at once."""
        return [(resolved, ends)]

    def group(self, resolved: Resolved, ends: Sequence[int], narrow: Group | None = None) -> Group:
        """Gather from each dataset at once and put the samples where they belong."""
        sources, numbers = resolved
        order = np.argsort(sources, kind="stable")
        parts = [
            _epochs(feed, numbers[order[sources[order] == source]])
            for source, feed in enumerate(self._feeds)
            if bool((sources == source).any())
        ]
        back = torch.from_numpy(np.argsort(order, kind="stable"))
        dense = {name: torch.cat([part[name] for part in parts]).index_select(0, back) for name in parts[0]}
        return Group(dense | {SOURCE: torch.from_numpy(sources)}, {}, ends)

    def fits(self, dense: Dense) -> Dense:
        """Pass on: each dataset's own fits were applied before its samples met others."""
        return dense

    def batches(self, group: Group) -> list[Batch]:
        """Cut a group into batches."""
        return [
            {name: tensor[start:stop] for name, tensor in group.dense.items()}
            for start, stop in pairwise([0, *group.ends])
        ]

    def advises(self) -> bool:
        """Whether advice may help: it is not given."""
        return False

    def advise(self, resolved: Resolved, around: Callable[[], Resolved]) -> None:
        """Give no advice."""

    def look_ahead(self, epoch: int, position: int) -> None:
        """Fetch nothing before it is needed."""

    def describe(self) -> dict[str, Any]:
        """Give what a saved state must agree on."""
        return self._about


class BatchFeed(SampleFeed):
    """Batches that come from one dataset each; any columns."""

    def __init__(
        self,
        feeds: Sequence[DatasetFeed],
        mixture: Mixture,
        num_positions: int,
        about: Mapping[str, Any],
        batch_size: int,
    ) -> None:
        super().__init__(feeds, mixture, num_positions - num_positions % batch_size, about)
        self.unit = self._batch_size = batch_size

    def row_bytes(self) -> int:
        """Pretend that rows are wide: one batch is gathered at a time."""
        return 1 << 40

    def resolve(self, epoch: int, positions: Positions) -> Resolved:
        """Give dataset, its batch, and the place in the batch for each position; shape (3, n)."""
        units, places = np.divmod(positions + epoch * self.num_positions, self._batch_size)
        return np.stack([*self._mixture.at(units), places])

    def group(self, resolved: Resolved, ends: Sequence[int], narrow: Group | None = None) -> Group:
        """Gather a batch from the dataset whose turn it is."""
        source, number = int(resolved[0, 0]), int(resolved[1, 0])
        feed = self._feeds[source]
        epoch, batch = divmod(number, feed.num_positions // self._batch_size)
        own = feed.resolve(epoch, batch * self._batch_size + resolved[2])
        found = feed.group(own, ends)
        return Group(feed.fits(found.dense), found.cells, ends, source)

    def batches(self, group: Group) -> list[Batch]:
        """Finish the batch as its dataset would."""
        return [batch | {SOURCE: group.source} for batch in self._feeds[group.source].batches(group)]


def _epochs(feed: DatasetFeed, numbers: Positions) -> Dense:
    """Gather samples of a stream that goes through a dataset's epochs one after the other."""
    order = np.argsort(numbers, kind="stable")
    epochs, positions = np.divmod(numbers[order], feed.num_positions)
    found = []
    for epoch in np.unique(epochs).tolist():
        here = positions[epochs == epoch]
        found.append(feed.fits(feed.group(feed.resolve(epoch, here), [len(here)]).dense))
    back = torch.from_numpy(np.argsort(order, kind="stable"))
    return {name: torch.cat([part[name] for part in found]).index_select(0, back) for name in found[0]}
