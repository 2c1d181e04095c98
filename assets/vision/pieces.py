"""Groups of pictures that a run has put down, so that the next one need not make them again."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from typing import Any, TypeAlias

import bson
import numpy as np

from assets.vision.blocks import Blocks
from assets.vision.errors import FetchError, PictureError
from assets.vision.groups import Group
from assets.vision.moments import Moments
from assets.vision.plan import ImagePlan
from assets.vision.tasks import Outcome
from shards import Pieces, StorageError

LASTING_SECONDS = 10.0
"""What was made before is made again sooner than it is put down."""

BEGUN = "begun"
"""A piece that says that there are others."""

Made: TypeAlias = "tuple[Group, dict[str, list[Outcome]]]"


class GroupPieces:
    """Puts groups down as they are made, and gives those that an earlier run has put down.

    Parameters
    ----------
    pieces
        Of builds of the same documents by the same recipes on top of the same version.
    """

    def __init__(self, pieces: Pieces, plans: Sequence[ImagePlan]) -> None:
        self._pieces = pieces
        self._plans = {plan.name: plan for plan in plans}
        self._lasting_from = time.monotonic() + LASTING_SECONDS
        self._has_room = True
        self._lock = threading.Lock()
        self._found: dict[int, memoryview | None] = {}
        self._is_first = pieces.get(BEGUN) is None
        self._is_begun = not self._is_first
        self.num_kept = 0

    def missing(self, groups: Iterable[Group]) -> Iterator[Group]:
        """Groups that are still to be made."""
        return (group for group in groups if self._kept(group) is None)

    def merged(
        self, groups: Iterable[Group], made: Generator[Made, None, None], blocks: Blocks
    ) -> Generator[Made, None, None]:
        """Every group in row order: as it was put down, or as it is made now."""
        with closing(made):
            if self._is_first:
                for now in made:
                    self._put(*now)
                    yield now
                return
            for group in groups:
                data = self._kept(group)
                if data is None:
                    now = next(made)
                    self._put(*now)
                    yield now
                    continue
                block = blocks.take()
                group.make_in(block)
                self.num_kept += len(group.documents)
                yield group, self._decode(group, bson.decode(data))
                self._found[group.first_row] = memoryview(b"")
                blocks.give_back(block)

    def _kept(self, group: Group) -> memoryview | None:
        """What was put down of a group; found out once, also if it is removed meanwhile."""
        if self._is_first:
            return None
        with self._lock:
            if group.first_row not in self._found:
                self._found[group.first_row] = self._pieces.get(_name(group))
            return self._found[group.first_row]

    def _put(self, group: Group, outcomes: dict[str, list[Outcome]]) -> None:
        if not self._has_room or time.monotonic() < self._lasting_from:
            return
        everything = [outcome for done in outcomes.values() for outcome in done]
        if any(isinstance(error, FetchError) for one in everything for error in one.errors.values()):
            return  # it may be had next time
        found = {name: [_encode(outcome) for outcome in done] for name, done in outcomes.items()}
        try:
            if not self._is_begun:
                self._pieces.put(BEGUN, [])
                self._is_begun = True
            self._pieces.put(_name(group), [bson.encode(found)])
        except StorageError:
            raise  # a store that is away needs no room; the run goes on from its pieces later
        except OSError:  # no room: the version needs it more
            self._has_room = False
            self._pieces.remove()

    def _decode(self, group: Group, found: dict[str, list[dict[str, Any]]]) -> dict[str, list[Outcome]]:
        return {
            name: [
                self._outcome(group, self._plans[name], position, one) for position, one in enumerate(done)
            ]
            for name, done in found.items()
        }

    def _outcome(self, group: Group, plan: ImagePlan, position: int, one: dict[str, Any]) -> Outcome:
        outcome = Outcome(group.first_row + position, plan, one["is_absent"], one["digests"], one["same_as"])
        for name, (dtype, shape, data) in one["pixels"].items():
            pixels = np.frombuffer(data, dtype).reshape(shape)
            if name in group.block:
                group.block[name][position] = pixels
                pixels = group.block[name][position]
            outcome.pixels[name] = pixels
        outcome.encoded = one["encoded"]
        outcome.frame = None if one["frame"] is None else tuple(one["frame"])
        outcome.errors = {
            name: PictureError(reason, expected=expected, got=got)
            for name, (reason, expected, got) in one["errors"].items()
        }
        if one["moments"] is not None:
            number, sums, squares = one["moments"]
            outcome.moments = Moments(number, sums, squares)
        outcome.perceptual = None if one["perceptual"] is None else int(one["perceptual"], 16)
        return outcome


def _encode(outcome: Outcome) -> dict[str, Any]:
    moments = outcome.moments
    return {
        "is_absent": outcome.is_absent,
        "digests": outcome.digests,
        "same_as": outcome.same_as,
        "pixels": {
            name: [pixels.dtype.str, list(pixels.shape), pixels.tobytes()]
            for name, pixels in outcome.pixels.items()
        },
        "encoded": outcome.encoded,
        "frame": None if outcome.frame is None else list(outcome.frame),
        "errors": {name: [e.reason, e.expected, e.got] for name, e in outcome.errors.items()},
        "moments": None if moments is None else [moments.num_pixels, moments.sums, moments.squares],
        "perceptual": None if outcome.perceptual is None else f"{outcome.perceptual:x}",
    }


def _name(group: Group) -> str:
    return f"rows_{group.first_row}_{len(group.documents)}"
