"""Which positions of an epoch each batch of each rank has: arithmetic, no state.

A step takes `world_size * batch_size` positions that follow each other; rank r has the r-th run of
`batch_size` of them. Put side by side, the batches of all ranks give the order itself, whatever the world
size. What is left at the end is shared out evenly, so that every rank makes the same number of steps; where
fewer samples are left than there are ranks, some are given twice (never dropped, unless `drop_last`). Worker
processes of a rank take its steps in turns.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from loaders.errors import InvalidOption
from loaders.permutation import Positions


@dataclass(frozen=True, slots=True)
class Plan:
    """Batches of one rank in one epoch.

    Parameters
    ----------
    num_positions
        Positions of the epoch.
    batch_size
        Samples of a batch of one rank.
    rank, world_size
        Which of how many equal shares.
    drop_last
        Leave out what does not fill a step.
    start
        First position; what comes before was delivered already, by any world size.
    unit
        Positions that may share a batch with one another only, as they come from one source; a batch is never
        larger, and `num_positions` and `start` are multiples of it. None where all positions are alike.
    turn, num_turns
        Takes the steps `turn`, `turn + num_turns`, ... only; the others are those of other worker processes.
    """

    num_positions: int
    batch_size: int
    rank: int = 0
    world_size: int = 1
    drop_last: bool = False
    start: int = 0
    unit: int | None = None
    turn: int = 0
    num_turns: int = 1

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        if self.batch_size < 1:
            raise InvalidOption(f"batch_size={self.batch_size}; allowed: 1 or more")
        if not 0 <= self.rank < self.world_size:
            raise InvalidOption(
                f"rank={self.rank} of world_size={self.world_size}; allowed: 0 <= rank < world_size"
            )
        if not 0 <= self.start <= self.num_positions:
            raise InvalidOption(f"start={self.start}; allowed: 0 to {self.num_positions}")

    @property
    def step_size(self) -> int:
        """Positions of one step over all ranks."""
        return self.batch_size * self.world_size

    @property
    def num_steps(self) -> int:
        """Batches of this rank, or those whose turn it is."""
        left = self.num_positions - self.start
        steps = left // self.step_size if self.drop_last else -(-left // self.step_size)
        return -(-(steps - self.turn) // self.num_turns)

    def position_after(self, steps: int) -> int:
        """Positions delivered by all ranks (and workers) once each has made `steps` steps."""
        return min(self.start + steps * self.num_turns * self.step_size, self.num_positions)

    def batches(self, first: int, last: int) -> tuple[Positions, list[int]]:
        """Give the positions of steps `first` up to `last`, end to end, and where each batch ends."""
        numbers = np.arange(first, last, dtype=np.int64) * self.num_turns + self.turn
        starts = self.start + numbers * self.step_size
        whole = int(np.searchsorted(starts, self.num_positions - self.step_size, side="right"))
        run = np.arange(self.batch_size, dtype=np.int64) + self.rank * self.batch_size
        positions = (starts[:whole, None] + run).reshape(-1)
        ends = [self.batch_size * (number + 1) for number in range(whole)]
        if whole < len(starts):
            tail = self._tail(int(starts[whole]))
            positions = np.concatenate([positions, tail])
            ends.append(len(positions))
        return positions, ends

    def _tail(self, start: int) -> Positions:
        """Share out what is left: its units to the ranks, and each unit to the ranks that have it."""
        left = self.num_positions - start
        unit = self.unit or left
        num_units = left // unit
        mine = self.rank * num_units // self.world_size
        first, last = (-(-number * self.world_size // num_units) for number in (mine, mine + 1))
        begin, rank, num_ranks = start + mine * unit, self.rank - first, last - first
        if unit < num_ranks:
            return np.array([begin + rank % unit], np.int64)
        size, extra = divmod(unit, num_ranks)
        begin += rank * size + min(rank, extra)
        return np.arange(begin, begin + size + (rank < extra), dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Ramp:
    """Runs of steps that are done together: one step, one more, two, four, ..., then `size` each.

    The first batch waits for little else, however many are done together later. Runs of a larger ramp are
    made of whole runs of a smaller one.

    Parameters
    ----------
    size
        Steps of a run in the end; a power of two.
    """

    size: int

    @classmethod
    def at_least(cls, num_steps: int) -> Ramp:
        """Make the one whose runs grow to `num_steps` (1 or more), or the next power of two."""
        return cls(1 << (num_steps - 1).bit_length())

    @property
    def _num_doublings(self) -> int:
        return self.size.bit_length() - 1

    def number(self, step: int) -> int:
        """Give the run that holds a step."""
        return step.bit_length() if step < self.size else self._num_doublings + step // self.size

    def start(self, number: int) -> int:
        """Give the first step of a run."""
        shorter = self._num_doublings
        return 1 << number >> 1 if number <= shorter else (number - shorter) * self.size

    def count(self, num_steps: int) -> int:
        """Give how many runs hold so many steps."""
        return self.number(num_steps - 1) + 1 if num_steps else 0
