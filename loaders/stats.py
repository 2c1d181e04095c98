"""Who waits for whom: figures of a running loader."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LoaderStats:
    """Figures since the loader was made or `stats(reset=True)` was called.

    Attributes
    ----------
    num_batches, num_samples, num_bytes
        What was handed out.
    seconds
        Wall time while iterators were in use, from the first request on.
    wait_seconds
        Part of it in which the training loop waited for a batch.
    gather_seconds
        Time the threads spent making batches, summed over threads.
    epoch
        The epoch under way, or the next one when none is.
    progress
        Share of its samples, over all ranks, that came before the next batch, 0 to 1.
    """

    num_batches: int
    num_samples: int
    num_bytes: int
    seconds: float
    wait_seconds: float
    gather_seconds: float
    epoch: int
    progress: float

    @property
    def samples_per_second(self) -> float:
        """Throughput as the training loop saw it."""
        return self.num_samples / self.seconds if self.seconds else 0.0

    @property
    def bytes_per_second(self) -> float:
        """Throughput as the training loop saw it."""
        return self.num_bytes / self.seconds if self.seconds else 0.0

    @property
    def wait_share(self) -> float:
        """Share of the time in which the training loop waited for data, 0 to 1."""
        return self.wait_seconds / self.seconds if self.seconds else 0.0

    def __str__(self) -> str:
        """One line: rates, and who waited."""
        if self.wait_share > 0.05:
            verdict = "the training loop waits for data; more num_threads help where processors are idle"
        else:
            verdict = "the loader waits for the training loop"
        return (
            f"epoch {self.epoch} at {100 * self.progress:.0f} %, {self.num_batches} batches, "
            f"{self.samples_per_second:,.0f} samples/s, {self.bytes_per_second / 1e9:.2f} GB/s, "
            f"waited {100 * self.wait_share:.1f} %: {verdict}"
        )


class Meter:
    """Counts for `LoaderStats`; safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._since: float | None = None
        self.reset()

    def reset(self) -> None:
        """Begin at zero."""
        self._batches = self._samples = self._bytes = 0
        self._seconds = self._wait = self._gather = 0.0
        if self._since is not None:  # an iterator is in use
            self._since = time.perf_counter()

    def waited(self, began: float) -> None:
        """Count a wait that began at `began` and ends now (`time.perf_counter`)."""
        now = time.perf_counter()
        if self._since is None:
            self._since = began
        self._wait += now - began
        self._seconds += now - self._since
        self._since = now

    def count(self, num_batches: int, num_samples: int, num_bytes: int) -> None:
        """Count batches that are ready to be taken; negative numbers take back those that never were."""
        self._batches += num_batches
        self._samples += num_samples
        self._bytes += num_bytes

    def gathered(self, seconds: float) -> None:
        """Count time of a thread."""
        with self._lock:
            self._gather += seconds

    def paused(self) -> None:
        """Stop the clock: no iterator is in use."""
        if self._since is not None:
            self._seconds += time.perf_counter() - self._since
        self._since = None

    def stats(self, epoch: int, progress: float, pending: tuple[int, int, int]) -> LoaderStats:
        """Give the figures so far, without the batches, samples and bytes that nobody has taken yet."""
        running = 0.0 if self._since is None else time.perf_counter() - self._since
        return LoaderStats(
            self._batches - pending[0],
            self._samples - pending[1],
            self._bytes - pending[2],
            self._seconds + running,
            self._wait,
            self._gather,
            epoch,
            progress,
        )
