"""Rendering within bounds: caps before decoding, pixels in flight, child processes for what may hang."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Final

import numpy.typing as npt

from assets.vision.budget import Budget
from assets.vision.header import inspect
from assets.vision.isolation import Isolation
from assets.vision.recipe import Recipe
from assets.vision.render import Rendered, render

PIXELS_IN_FLIGHT: Final = 128 << 20
"""Pixels that all threads together may be decoding; a larger picture is decoded alone."""


class Renderer:
    """Render pictures from any number of threads of one process; a context manager.

    Parameters
    ----------
    max_pixels_in_flight
        Bound on decoded pixels of pictures under way, all threads together.
    isolate_all
        Decode every format in children; for callers that trust nothing.
    """

    def __init__(self, max_pixels_in_flight: int = PIXELS_IN_FLIGHT, *, isolate_all: bool = False) -> None:
        self.pixels = Budget(max_pixels_in_flight)
        self._isolate_all = isolate_all
        self._isolation = Isolation()

    def render(
        self,
        data: bytes,
        recipe: Recipe,
        orientation: int | None = None,
        out: npt.NDArray[Any] | None = None,
    ) -> Rendered:
        """Check, decode and resize one picture; raises `PictureError` with the reason.

        Parameters are those of `assets.vision.render.render`.
        """
        header = inspect(data, max_pixels=recipe.max_pixels, max_bytes=recipe.max_bytes)
        with self.pixels.held(header.num_pixels):
            if not header.isolated and not self._isolate_all:
                return render(data, header, recipe, orientation, out)
            made = self._isolation.render(data, recipe, orientation)
        if out is None:
            return made
        out[...] = made.pixels
        return dataclasses.replace(made, pixels=out)

    def close(self) -> None:
        """End the children."""
        self._isolation.close()

    def __enter__(self) -> Renderer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@contextmanager
def quiet() -> Iterator[None]:
    """Silence what Pillow warns of (odd EXIF, palettes), in all threads that run inside the block."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\..*")
        yield
