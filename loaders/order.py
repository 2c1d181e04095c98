"""In which order samples come: a function of (seed, epoch, position), so that any position can be asked for.

An order knows nothing of batches, ranks or threads. It maps positions of an epoch to sample numbers of the
split; whoever asks for positions k, k + 1, ... gets the same samples on any machine, in any process, for any
world size. That is all that exact resume needs.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import xxhash

from loaders.errors import InvalidOption
from loaders.permutation import Permutation, Positions, hashes, key_of

FULL, BLOCKS, WINDOW, OFFSET, DRAW, CLASSES, MEMBERS = range(1, 8)  # purposes: no two share a key


class Order(Protocol):
    """Maps positions of an epoch to sample numbers; safe from any thread, pickles small."""

    num_positions: int
    """Positions of one epoch."""

    sequential: bool
    """Whether position and sample number are the same, so that batches are contiguous."""

    def at(self, epoch: int, positions: Positions) -> Positions:
        """Give the sample numbers at `positions`: ascending, each in 0..num_positions-1; int64."""
        ...

    def describe(self) -> dict[str, Any]:
        """Give what a saved state must agree on, as small JSON."""
        ...


class SequentialOrder:
    """The order on disk."""

    sequential = True

    def __init__(self, num_samples: int) -> None:
        self.num_positions = num_samples

    def at(self, epoch: int, positions: Positions) -> Positions:
        """Give the positions themselves."""
        return positions

    def describe(self) -> dict[str, Any]:
        """Give what a saved state must agree on."""
        return {"shuffle": "none", "num_positions": self.num_positions}


class FullShuffle:
    """Every sample once an epoch, anywhere."""

    sequential = False

    def __init__(self, num_samples: int, seed: int) -> None:
        self.num_positions, self.seed = num_samples, seed
        self._latest: tuple[int, Permutation] | None = None

    def at(self, epoch: int, positions: Positions) -> Positions:
        """Give the sample numbers at `positions`."""
        latest = self._latest
        if latest is None or latest[0] != epoch:
            latest = (epoch, Permutation(self.num_positions, key_of(self.seed, epoch, FULL)))
            self._latest = latest  # one assignment: threads see the old pair or the new one
        return latest[1](positions)

    def describe(self) -> dict[str, Any]:
        """Give what a saved state must agree on."""
        return {"shuffle": "full", "num_positions": self.num_positions, "seed": self.seed}


class BlockShuffle:
    """Blocks of neighbouring samples in random order, shuffled within windows of several blocks.

    Reads a cold disk in long runs: a block is `block_samples` neighbours, `window_blocks` blocks are shuffled
    together. The split is turned by a random offset every epoch, so that blocks start at other samples each
    time and the short block at the end is another one.

    Parameters
    ----------
    num_samples, seed
        Size of the split; seed of the order.
    block_samples
        Neighbouring samples of a block.
    window_blocks
        Blocks that are shuffled together.
    """

    sequential = False

    def __init__(self, num_samples: int, seed: int, block_samples: int, window_blocks: int) -> None:
        if block_samples < 1 or window_blocks < 1:
            raise InvalidOption(
                f"block shuffle of {block_samples} samples a block and {window_blocks} blocks a window; "
                "both must be at least 1"
            )
        self.num_positions, self.seed = num_samples, seed
        self.block_samples = min(block_samples, num_samples)
        self.window_blocks = window_blocks
        self._num_blocks = num_samples // self.block_samples

    def at(self, epoch: int, positions: Positions) -> Positions:
        """Give the sample numbers at `positions`."""
        window = self.block_samples * self.window_blocks
        shuffled_end = self._num_blocks * self.block_samples
        blocks = Permutation(self._num_blocks, key_of(self.seed, epoch, BLOCKS))
        samples = np.empty(len(positions), np.int64)
        numbers = positions // window
        edges = np.flatnonzero(np.diff(numbers)) + 1
        for part in np.split(np.arange(len(positions)), edges):
            if not part.size:
                continue
            number = int(numbers[part[0]])
            start = number * window
            size = min(window, self.num_positions - start)
            within = (
                Permutation(size, key_of(self.seed, epoch, WINDOW, number))(positions[part] - start) + start
            )
            # the samples after the last whole block have no block to move with; they stay in the last window
            in_block = np.minimum(within // self.block_samples, self._num_blocks - 1)
            moved = blocks(in_block) * self.block_samples + within % self.block_samples
            samples[part] = np.where(within < shuffled_end, moved, within)
        offset = key_of(self.seed, epoch, OFFSET) % self.num_positions
        samples += offset
        samples[samples >= self.num_positions] -= self.num_positions
        return samples

    def describe(self) -> dict[str, Any]:
        """Give what a saved state must agree on."""
        return {
            "shuffle": "block",
            "num_positions": self.num_positions,
            "seed": self.seed,
            "block_samples": self.block_samples,
            "window_blocks": self.window_blocks,
        }


class WeightedOrder:
    """Samples drawn with replacement, each as often as its weight says.

    Parameters
    ----------
    weights
        One non-negative finite number a sample, with a positive sum; any scale.
    seed
        Seed of the order.
    num_positions
        Draws of one epoch; by default as many as there are samples.

    Notes
    -----
    Holds 8 bytes a sample: the running sum of the weights. A position is drawn by the inverse of that sum at
    a keyed hash of the position, with a resolution of 2**-53 of the total.
    """

    sequential = False

    def __init__(self, weights: npt.ArrayLike, seed: int, num_positions: int | None = None) -> None:
        values = np.asarray(weights, np.float64)
        if values.ndim != 1 or not values.size or not np.isfinite(values).all() or (values < 0).any():
            raise InvalidOption(
                f"weights of shape {values.shape}; allowed: one finite number of 0 or more for every sample"
            )
        self._sums = np.cumsum(values)
        if self._sums[-1] <= 0:
            raise InvalidOption("weights are all 0; at least one must be positive")
        self.num_positions, self.seed = draws(num_positions, len(values)), seed
        self._hash = xxhash.xxh3_64_hexdigest(self._sums.data)

    def at(self, epoch: int, positions: Positions) -> Positions:
        """Give the sample numbers at `positions`."""
        drawn = hashes(positions.astype(np.uint64), key_of(self.seed, epoch, DRAW)) >> np.uint64(11)
        points = drawn.astype(np.float64) * (self._sums[-1] / (1 << 53))
        samples: Positions = np.searchsorted(self._sums, points, side="right")
        np.minimum(samples, len(self._sums) - 1, out=samples)
        return samples

    def describe(self) -> dict[str, Any]:
        """Give what a saved state must agree on."""
        return {
            "shuffle": "weighted",
            "num_positions": self.num_positions,
            "seed": self.seed,
            "weights": self._hash,
        }


class BalancedOrder:
    """Every class equally often: each run of as many positions as there are classes has each class once.

    Parameters
    ----------
    classes
        The class of every sample, any integers.
    seed
        Seed of the order.
    num_positions
        Positions of one epoch; by default as many as there are samples.

    Notes
    -----
    Members of a class are drawn with replacement. Holds 8 bytes a sample.
    """

    sequential = False

    def __init__(self, classes: npt.ArrayLike, seed: int, num_positions: int | None = None) -> None:
        values = np.asarray(classes)
        if values.ndim != 1 or not values.size or values.dtype.kind not in "iub":
            raise InvalidOption(
                f"classes of shape {values.shape}, {values.dtype}; allowed: one integer for every sample"
            )
        _, codes, self._counts = np.unique(values, return_inverse=True, return_counts=True)
        self._members = np.argsort(codes, kind="stable")
        self._starts = np.concatenate([[0], np.cumsum(self._counts)[:-1]])
        self._hash = xxhash.xxh3_64_hexdigest(codes.data)
        self.num_positions, self.seed = draws(num_positions, len(values)), seed

    def at(self, epoch: int, positions: Positions) -> Positions:
        """Give the sample numbers at `positions`."""
        num_classes = len(self._counts)
        turns, slots = np.divmod(positions, num_classes)
        unique_turns, turn_of = np.unique(turns, return_inverse=True)
        grid = unique_turns[:, None] * num_classes + np.arange(num_classes)
        shuffled = np.argsort(hashes(grid.astype(np.uint64), key_of(self.seed, epoch, CLASSES)), axis=1)
        chosen = shuffled[turn_of, slots]
        drawn = hashes(positions.astype(np.uint64), key_of(self.seed, epoch, MEMBERS)) >> np.uint64(11)
        counts = self._counts[chosen]
        within = np.minimum((drawn.astype(np.float64) * (counts / (1 << 53))).astype(np.int64), counts - 1)
        samples: Positions = self._members[self._starts[chosen] + within]
        return samples

    def describe(self) -> dict[str, Any]:
        """Give what a saved state must agree on."""
        return {
            "shuffle": "balanced",
            "num_positions": self.num_positions,
            "seed": self.seed,
            "classes": self._hash,
        }


def draws(num_positions: int | None, num_samples: int) -> int:
    """Check the positions of an epoch that are asked for; as many as there are samples by default."""
    if num_positions is None:
        return num_samples
    if num_positions < 1:
        raise InvalidOption(f"num_samples={num_positions}; allowed: 1 or more")
    return num_positions
