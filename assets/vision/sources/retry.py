"""Waiting before another try: exponential, with chance, and never less than a server asks for."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Final, TypeVar

from assets.vision.errors import FetchError

FIRST_SECONDS: Final = 0.25
MOST_SECONDS: Final = 30.0

Result = TypeVar("Result")


class Passing(Exception):
    """An error that may pass; `wait_seconds` is what the server asked for, if it did."""

    def __init__(self, what: str, wait_seconds: float = 0.0) -> None:
        super().__init__(what)
        self.wait_seconds = wait_seconds


def with_retries(
    work: Callable[[], Result], retries: int, stopped: threading.Event, first_seconds: float = FIRST_SECONDS
) -> Result:
    """Call until it does not raise `Passing`, at most `retries` times more.

    Raises
    ------
    FetchError
        `fetch_failed` after the last try, or when `stopped` is set while waiting.
    """
    pause = first_seconds
    for tries_left in range(retries, -1, -1):
        try:
            return work()
        except Passing as error:
            if not tries_left:
                raise FetchError(
                    "fetch_failed", expected=f"an answer within {retries + 1} tries", got=str(error)
                ) from None
            # full jitter: many clients that failed together do not come back together
            waiting = min(max(random.uniform(pause / 2, pause), error.wait_seconds), MOST_SECONDS)
            if stopped.wait(waiting):
                break
            pause = min(pause * 2, MOST_SECONDS)
    raise FetchError("fetch_failed", expected="an answer", got="the run was stopped")
