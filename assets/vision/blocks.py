"""Memory that the pixels of a group are made in, used again: fresh pages cost a tenth of the work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from assets.vision.plan import ImagePlan

Block: TypeAlias = dict[str, npt.NDArray[Any]]
"""Rows of every column whose pictures have one shape; rows that nothing was written to hold anything."""


class Blocks:
    """Blocks for groups of at most `num_rows` rows; used by one thread."""

    def __init__(self, plans: Sequence[ImagePlan], num_rows: int) -> None:
        self._shapes = {}
        for plan in plans:
            recipes = {mask.name: mask.recipe for mask in plan.masks}
            if not plan.is_encoded:
                recipes[plan.name] = plan.recipe
            for name, recipe in recipes.items():
                if recipe.shape is not None:
                    self._shapes[name] = ((num_rows, *recipe.shape), np.dtype(recipe.dtype).newbyteorder("<"))
        self._free: list[Block] = []

    def take(self) -> Block:
        """Give a block that nobody uses."""
        if self._free:
            return self._free.pop()
        return {name: np.empty(shape, dtype) for name, (shape, dtype) in self._shapes.items()}

    def give_back(self, block: Block) -> None:
        """Let a block be used again, once nobody looks at its rows any more."""
        self._free.append(block)
