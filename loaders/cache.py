"""A split held whole on the device: no row crosses the bus twice."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import torch

from loaders.cells import Cells
from loaders.columns import DenseColumn
from loaders.errors import DoesNotFit
from loaders.feed import DatasetFeed, Dense, Group, Resolved
from loaders.forms import Forms
from loaders.opened import Opened
from loaders.order import Order
from loaders.permutation import Positions
from loaders.pool import Pool

FILL_BYTES = 64 << 20  # copied at once while the cache is filled
HEADROOM = 0.9  # of the free memory that a cache may take
SIGNED = {torch.uint16: torch.int16, torch.uint32: torch.int32, torch.uint64: torch.int64}


class CachedFeed(DatasetFeed):
    """Batches gathered from copies of the columns on a device, in stored form.

    Columns of one shape a row are held; lists, texts and records are gathered by the host as ever.

    Parameters
    ----------
    opened, order, shapes, pool, fits
        As for `DatasetFeed`.
    device
        Where the split is held.

    Raises
    ------
    DoesNotFit
        The columns are larger than 0.9 of the device's free memory.
    """

    def __init__(
        self,
        opened: Opened,
        order: Order,
        shapes: Forms,
        pool: Pool,
        *,
        fits: bool,
        device: torch.device,
    ) -> None:
        super().__init__(opened, order, shapes, pool, read_only=False, fits=fits)
        self._device, self.is_copying = device, False
        self._held = _fill(opened, device, pool)

    def row_bytes(self) -> int:
        """Bytes of an average row that the host gathers."""
        return sum(
            column.row_bytes for name, column in self._opened.columns.items() if name not in self._held
        )

    def resolve(self, epoch: int, positions: Positions) -> Resolved:
        """Give the samples at `positions`; the device knows no rows."""
        return self.order.at(epoch, positions)

    def narrow(self, samples: Resolved) -> Group | None:
        """Nothing: all is gathered alike."""
        return None

    def group(self, samples: Resolved, ends: Sequence[int], narrow: Group | None = None) -> Group:
        """Gather on the device."""
        index = torch.from_numpy(samples).to(self._device, non_blocking=True)
        dense: Dense = {name: _select(held, index) for name, held in self._held.items()}
        cells: dict[str, Cells] = {}
        if len(self._held) < len(self._opened.columns):
            rows = self._opened.index(samples)
            for name, column in self._opened.columns.items():
                if not isinstance(column, DenseColumn):
                    cells[name] = column.gather(rows)
        return Group(dense, cells, ends)

    def advises(self) -> bool:
        """Nothing is read from disk."""
        return False

    def look_ahead(self, epoch: int, position: int) -> None:
        """All has been fetched, but for lists, texts and records, which come when they are needed."""


def free_bytes(device: torch.device) -> int:
    """Give the memory of a device that nobody uses."""
    if device.type == "cuda":
        free: int = torch.cuda.mem_get_info(device)[0]
        return free
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _fill(opened: Opened, device: torch.device, pool: Pool) -> Dense:
    columns = {name: column for name, column in opened.columns.items() if isinstance(column, DenseColumn)}
    size = len(opened.index)
    needed = size * sum(column.row_bytes for column in columns.values())
    allowed = int(free_bytes(device) * HEADROOM)
    if needed > allowed:
        raise DoesNotFit(
            f"device_cache: {size} samples of {', '.join(columns)} take {needed / 1e9:.2f} GB, {device} has "
            f"{allowed / 1e9:.2f} GB to give; choose fewer columns or leave device_cache out"
        )
    held: Dense = {}
    for name, column in columns.items():
        whole: torch.Tensor | None = None
        step = max(1, FILL_BYTES // column.row_bytes)
        for start in range(0, size, step):
            rows = opened.index(np.arange(start, min(start + step, size)))
            part = column.gather(rows, pool)
            if whole is None:
                whole = torch.empty((size, *part.shape[1:]), dtype=part.dtype, device=device)
            whole[start : start + len(part)].copy_(part)
        if whole is not None:
            held[name] = whole
    return held


def _select(held: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    signed = SIGNED.get(held.dtype)  # torch gathers only some unsigned integers
    if signed is None:
        return held.index_select(0, index)
    return held.view(signed).index_select(0, index).view(held.dtype)
