"""What a loader's threads do: the batches of a group of steps, and what many groups share."""

from __future__ import annotations

import time
from contextlib import suppress
from functools import partial

import numpy as np

from loaders.device import HostStage, Ready
from loaders.feed import Feed, Resolved
from loaders.plan import Plan, Ramp
from loaders.stats import Meter
from loaders.threads import Once

RESOLVED_AT_ONCE = 8192  # positions
ADVISED_BYTES = 32 << 20  # of rows that are asked for together, about one to two times this ahead


class Work:
    """What a loader thread does for one group of steps.

    Positions are resolved, and narrow columns gathered, for many steps at once, because that costs little
    more than for one; the latest stretches are remembered, as threads work on neighbouring groups. At the
    start of an iterator all of that is done for few steps, because each row of a full shuffle may lie in a
    shard of its own, which is mapped then.
    """

    def __init__(
        self, feed: Feed, made: HostStage, meter: Meter, plan: Plan, epoch: int, groups: Ramp, ahead: int
    ) -> None:
        self._feed, self._stage, self._meter, self._plan = feed, made, meter, plan
        self._epoch, self._groups = epoch, groups
        batch_bytes = max(feed.row_bytes() * plan.batch_size, 1)
        self._stretches = Ramp.at_least(max(RESOLVED_AT_ONCE // plan.batch_size, groups.size))
        # no methods of this object: it would hold itself, and its blocks, until the collector comes by
        resolve = partial(_resolve, feed, plan, epoch, self._stretches)
        self._resolved = resolved = Once(resolve, ahead + 3)
        gathered = self._stretches.size > groups.size
        self._narrow = Once(lambda n: feed.narrow(resolved(n)[0]) if gathered else None, 3)
        advised = min(ADVISED_BYTES // batch_bytes, self._stretches.size)
        self._advised = Ramp.at_least(max(advised, ahead * groups.size))

    def _group(self, number: int) -> tuple[Resolved, int, list[int]]:
        """Give the samples of a group, its stretch, and where in that it begins and each batch ends."""
        first, last = self._groups.start(number), self._groups.start(number + 1)
        stretch = self._stretches.number(first)
        resolved, edges = self._resolved(stretch)
        before = self._stretches.start(stretch)
        ends = edges[first - before : last - before + 1]
        return resolved[..., ends[0] : ends[-1]], stretch, ends

    def _advise(self, run: int) -> None:
        """Have the rows of the run of steps after this one read; at first those of both."""
        start = self._advised.start
        first, last = start(run + 1) if run else 0, min(start(run + 2), self._plan.num_steps)

        def around() -> Resolved:
            return np.concatenate([self._rows(start(run), first), self._rows(last, start(run + 3))], axis=-1)

        if first < last:
            self._feed.advise(self._rows(first, last), around)

    def _rows(self, first: int, last: int) -> Resolved:
        """Give the samples of runs of steps, up to the end of the order."""
        last = min(last, self._plan.num_steps)
        if first >= last:
            return np.zeros(0, np.int64)
        numbers = range(self._groups.number(first), self._groups.count(last))
        return np.concatenate([self._group(number)[0] for number in numbers], axis=-1)

    def __call__(self, number: int) -> Ready:
        """Make the batches of a group."""
        began = time.perf_counter()
        step = self._groups.start(number)
        self._feed.look_ahead(self._epoch, self._plan.position_after(step))
        run = self._advised.number(step)
        if self._advised.start(run) == step and self._feed.advises():
            self._advise(run)
        rows, stretch, ends = self._group(number)
        start, stop = ends[0], ends[-1]
        narrow = self._narrow(stretch)
        if narrow is not None:
            narrow = narrow.cut(start, stop)
        pieces = self._feed.pieces(rows, [end - start for end in ends[1:]])
        ready = Ready.joined([self._stage.make(self._feed.group(*piece, narrow)) for piece in pieces])
        self._meter.gathered(time.perf_counter() - began)
        return ready

    def prepare(self, number: int) -> None:
        """Do what the stretch after that of a group needs first, unless that group is the very first."""
        stretch = self._stretches.number(self._groups.start(number)) + 1
        if stretch > 1 and self._stretches.start(stretch) < self._plan.num_steps:
            with suppress(Exception):  # whoever needs it meets that again
                self._narrow.prepare(stretch)


def _resolve(feed: Feed, plan: Plan, epoch: int, stretches: Ramp, stretch: int) -> tuple[Resolved, list[int]]:
    """Give the samples of a stretch of steps, and where each of its batches ends, 0 first."""
    first, last = stretches.start(stretch), stretches.start(stretch + 1)
    positions, ends = plan.batches(first, min(last, plan.num_steps))
    return feed.resolve(epoch, positions), [0, *ends]
