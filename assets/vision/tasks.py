"""The work on one picture and its masks, done by any thread: hash, compare, render, measure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import xxhash

from assets.vision.encoded import keep_or_encode
from assets.vision.errors import PictureError
from assets.vision.hashing import difference_hash
from assets.vision.moments import Moments, moments_of
from assets.vision.plan import ImagePlan
from assets.vision.render import at_size
from assets.vision.renderer import Renderer

Fetched: TypeAlias = "bytes | PictureError | None"
"""Bytes of a picture, the reason why there are none, or None where the document has no value."""

FindRow: TypeAlias = Callable[[str, bytes], "int | None"]
"""Row of the previous version whose column has this source hash, if any."""


@dataclass(slots=True)
class Task:
    """One picture of one row, with its masks by name.

    Parameters
    ----------
    fetched_bytes
        Bytes of it that were fetched, and did not stand in the document.
    out
        Where pixels go, by column; for the others memory is made.
    """

    row: int
    plan: ImagePlan
    data: Fetched
    masks: dict[str, Fetched]
    fetched_bytes: int = 0
    out: dict[str, npt.NDArray[Any]] = field(default_factory=dict)


@dataclass(slots=True)
class Outcome:
    """What became of a task.

    Parameters
    ----------
    digests
        xxh3_128 of the source, by column; absent for what was not used.
    same_as
        Row of the previous version whose pixels are the same, by column.
    pixels, encoded
        What was made, by column, where it was not found in the previous version.
    frame
        Width, height and orientation of the source; None where it is copied from the previous version.
    errors
        By column, why a picture was not used.
    moments, perceptual
        Sums of the pixels, and the perceptual hash; None where they are copied or not asked for.
    """

    row: int
    plan: ImagePlan
    is_absent: bool = False
    digests: dict[str, bytes] = field(default_factory=dict)
    same_as: dict[str, int] = field(default_factory=dict)
    pixels: dict[str, npt.NDArray[Any]] = field(default_factory=dict)
    encoded: bytes = b""
    frame: tuple[int, int, int] | None = None
    errors: dict[str, PictureError] = field(default_factory=dict)
    moments: Moments | None = None
    perceptual: int | None = None

    @property
    def is_usable(self) -> bool:
        """Whether the row has its picture and all of its masks."""
        return not self.is_absent and not self.errors


def perform(task: Task, renderer: Renderer, find: FindRow) -> Outcome:
    """Do one task; a picture that cannot be used is an outcome, not an exception."""
    outcome = Outcome(task.row, task.plan)
    name = task.plan.name
    if task.data is None:
        outcome.is_absent = True
        return outcome
    try:
        data = _bytes(task.data)
        outcome.digests[name] = digest = source_hash(data)
        previous = find(name, digest)
        if previous is not None and _masks_are_known(task, outcome, digest, find):
            outcome.same_as[name] = previous
            return outcome
        _render(task, data, renderer, outcome)
    except PictureError as error:
        _refuse(outcome, name, error)
        return outcome
    for mask in task.plan.masks:
        try:
            given = _bytes(task.masks[mask.name])
            outcome.digests[mask.name] = source_hash(given, outcome.digests[name])
            outcome.pixels[mask.name] = _mask(given, task, mask.name, renderer, outcome)
        except PictureError as error:
            _refuse(outcome, mask.name, error)
            return outcome
    return outcome


def source_hash(data: bytes, picture: bytes = b"") -> bytes:
    """Hash of encoded bytes; a mask's includes that of its picture, whose geometry it shares."""
    return xxhash.xxh3_128_digest(picture + data if picture else data)


def _masks_are_known(task: Task, outcome: Outcome, digest: bytes, find: FindRow) -> bool:
    """Whether the previous version has every mask too; then they are noted as the same."""
    found: dict[str, int] = {}
    digests: dict[str, bytes] = {}
    for mask in task.plan.masks:
        given = task.masks[mask.name]
        if not isinstance(given, bytes):
            return False
        digests[mask.name] = source_hash(given, digest)
        row = find(mask.name, digests[mask.name])
        if row is None:
            return False
        found[mask.name] = row
    outcome.same_as.update(found)
    outcome.digests.update(digests)
    return True


def _render(task: Task, data: bytes, renderer: Renderer, outcome: Outcome) -> None:
    plan = task.plan
    recipe = plan.stored_recipe
    made = renderer.render(data, recipe, out=task.out.get(plan.name))
    outcome.frame = (made.width, made.height, made.orientation)
    pixels = made.pixels
    if plan.is_encoded:
        outcome.encoded = keep_or_encode(data, pixels, recipe)
        pixels = pixels if plan.recipe == recipe else at_size(pixels, plan.recipe)
    else:
        outcome.pixels[plan.name] = pixels
    outcome.moments = moments_of(pixels, plan.recipe)
    if plan.column.perceptual_hash:
        outcome.perceptual = difference_hash(pixels, plan.recipe)


def _mask(data: bytes, task: Task, name: str, renderer: Renderer, outcome: Outcome) -> npt.NDArray[np.uint8]:
    """Render a mask over its picture: drawn over the picture as shown, or over the picture as stored."""
    assert outcome.frame is not None
    width, height, orientation = outcome.frame
    plan = next(mask for mask in task.plan.masks if mask.name == name)
    turn = orientation if plan.column.frame == "stored" else 1
    made = renderer.render(data, plan.recipe, turn, task.out.get(name))
    wanted = (width, height) if turn == orientation or orientation < 5 else (height, width)
    if (made.width, made.height) != wanted:
        raise PictureError(
            "size_mismatch",
            expected=f"{wanted[0]}x{wanted[1]}, as its picture",
            got=f"{made.width}x{made.height}",
        )
    return made.pixels


def _refuse(outcome: Outcome, name: str, error: PictureError) -> None:
    outcome.errors[name] = error
    outcome.digests.clear()
    outcome.pixels.clear()
    outcome.encoded = b""
    outcome.moments = None
    outcome.frame = None


def _bytes(given: Fetched) -> bytes:
    if given is None:
        raise PictureError("missing", expected="a picture", got="no value")
    if isinstance(given, PictureError):
        raise given
    return given
