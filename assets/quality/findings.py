"""One measurement against its limit."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found in one partition.

    Parameters
    ----------
    check
        Name of the check.
    partition
        Partition key.
    subject
        Column, file or whatever was measured.
    value, limit
        What was measured, and what is allowed, in words or numbers.
    passed
        Whether the value keeps the limit.
    detail
        What the value is made of, in words; may be empty.
    """

    check: str
    partition: str
    subject: str
    value: str | float | int
    limit: str | float | int
    passed: bool
    detail: str = ""

    def __str__(self) -> str:
        """Say it in one sentence, without a full stop."""
        more = f" ({self.detail})" if self.detail else ""
        return f"{self.partition}: {self.subject} is {self.value}{more}, allowed {self.limit}"


def at_most(
    check: str, partition: str, subject: str, value: float, limit: float, detail: str = ""
) -> Finding:
    """Return the finding that `value` may not exceed `limit`."""
    return Finding(check, partition, subject, round(value, 6), limit, value <= limit, detail)
