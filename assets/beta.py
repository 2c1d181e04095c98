"""Parts of Dagster that are still called beta and that this code location uses; versions are pinned for them.

They are: observing a source partition by partition, and backfill policies.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg


@contextmanager
def beta_allowed() -> Iterator[None]:
    """Keep quiet about beta features used inside the block."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)
        yield
