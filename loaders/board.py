"""What each worker process reads, written down where a kill cannot erase it."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import re
import tempfile
import time
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from torch.utils.data import DataLoader, get_worker_info

from loaders.errors import WorkerKilled
from loaders.files import Rows
from loaders.opened import Opened

if TYPE_CHECKING:
    from loaders.dataset import ShardDataset

ENDED_SECONDS = 5.0  # within which the system tells of the end of a process
_PIDS = re.compile(r"pid\(?s?\)?:? ?([0-9, ]+)")


class Board:
    """A small shared file: process number and first row of the latest read, a line for every worker.

    Parameters
    ----------
    num_workers
        How many lines.
    """

    def __init__(self, num_workers: int) -> None:
        descriptor, name = tempfile.mkstemp(prefix="shardmill-workers-")
        os.ftruncate(descriptor, max(num_workers, 1) * 16)
        os.close(descriptor)
        self.path = Path(name)
        self._lines: npt.NDArray[np.int64] | None = None
        weakref.finalize(self, _remove, self.path, os.getpid())

    def lines(self) -> npt.NDArray[np.int64]:
        """The file, mapped; shape (num_workers, 2)."""
        if self._lines is None:
            self._lines = np.memmap(self.path, np.int64, "r+").reshape(-1, 2)
        return self._lines

    def post(self, rows: Rows) -> None:
        """Write down what this worker is about to read; nothing outside workers."""
        worker = get_worker_info()
        if worker is not None and rows.size:
            self.lines()[worker.id] = os.getpid(), int(rows[0])

    def reading(self, process: int) -> int | None:
        """Give the row that a process read last, or None when it read nothing."""
        for pid, row in self.lines().tolist():
            if pid == process:
                return int(row)
        return None

    def __getstate__(self) -> dict[str, Any]:
        """Pickle the path."""
        return {"path": self.path, "_lines": None}


def _remove(path: Path, process: int) -> None:
    if os.getpid() == process:
        path.unlink(missing_ok=True)


class ReportingDataLoader(DataLoader[Any]):
    """torch's DataLoader, with `WorkerKilled` in place of a bare RuntimeError when a worker dies."""

    def __init__(self, dataset: ShardDataset, **options: Any) -> None:
        board = Board(options.get("num_workers", 0))
        super().__init__(dataset.with_board(board), **options)
        self.board = board

    def __iter__(self) -> Any:
        """Begin an epoch."""
        return self._watched(super().__iter__())

    def _watched(self, batches: Iterator[Any]) -> Iterator[Any]:
        try:
            yield from batches
        except RuntimeError as error:
            killed = [int(pid) for found in _PIDS.findall(str(error)) for pid in re.findall("[0-9]+", found)]
            if not killed:
                raise
            raise WorkerKilled(self._report(killed, str(error))) from error
        except (ConnectionError, EOFError) as error:  # it was handing a batch over
            killed = self._ended()
            if not killed:
                raise
            raise WorkerKilled(self._report(killed, f"{type(error).__name__}: {error}")) from error

    def _ended(self) -> list[int]:
        """Wait for the system to tell which workers have ended."""
        workers = {int(pid) for pid, _ in self.board.lines() if pid}
        deadline = time.monotonic() + ENDED_SECONDS
        ended: set[int] = set()
        while not ended and time.monotonic() < deadline:
            with contextlib.suppress(RuntimeError):  # torch's handler of SIGCHLD says the same, now
                ended = workers - {child.pid for child in multiprocessing.active_children()}
                time.sleep(0.01)
        return sorted(ended)

    def _report(self, killed: list[int], message: str) -> str:
        dataset: Any = self.dataset
        reports = []
        for pid in killed:
            row = self.board.reading(pid)
            where = "had read nothing" if row is None else f"read {_place(dataset.opened, row)}"
            reports.append(f"worker {pid} {where}")
        return (
            f"{'; '.join(reports)}. {message.strip()} (killed by the system for want of memory, or by hand?)"
        )


def _place(opened: Opened, row: int) -> str:
    """Name the shard of the first column that holds a row."""
    column = next(iter(opened.columns.values()))
    shard = int(np.searchsorted(column.locator.offsets, row, side="right")) - 1
    return f"row {row} in {column.path(shard)}"
