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
    """

    num_batches: int
    num_samples: int
    num_bytes: int
    seconds: float
    wait_seconds: float
    gather_seconds: float

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
            f"{self.num_batches} batches, {self.samples_per_second:,.0f} samples/s, "
            f"{self.bytes_per_second / 1e9:.2f} GB/s, waited {100 * self.wait_share:.1f} %: {verdict}"
        )


class Meter:
    """Counts for `LoaderStats`; safe from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Begin at zero."""
        self._batches = self._samples = self._bytes = 0
        self._seconds = self._wait = self._gather = 0.0
        self._since: float | None = None

    def waited(self, began: float) -> None:
        """Count a wait that began at `began` and ends now (`time.perf_counter`)."""
        now = time.perf_counter()
        if self._since is None:
            self._since = began
        self._wait += now - began
        self._seconds += now - self._since
        self._since = now

    def delivered(self, num_batches: int, num_samples: int, num_bytes: int) -> None:
        """Count batches that are ready to be taken."""
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

    def stats(self) -> LoaderStats:
        """Give the figures so far."""
        return LoaderStats(self._batches, self._samples, self._bytes, self._seconds, self._wait, self._gather)
