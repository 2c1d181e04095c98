"""Errors of dataset specifications.

SpecError
    A `defs.yaml` (or a mapping) is no valid specification; lists every problem with file, line and key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

KeyPath: TypeAlias = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a specification.

    Parameters
    ----------
    file, line
        Where it is; `line` counts from 1 and is 0 when there is no file.
    path
        Keys that lead to it.
    message
        What was got and what is allowed.
    """

    file: str
    line: int
    path: KeyPath
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}: " if self.file else ""
        keys = ".".join(map(str, self.path))
        return f"{place}{keys}: {self.message}" if keys else f"{place}{self.message}"


class SpecError(ValueError):
    """A specification is wrong; `problems` says all of it."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = list(problems)
        count = (
            f"{len(self.problems)} problems in dataset specifications:\n" if len(self.problems) > 1 else ""
        )
        super().__init__(count + "\n".join(map(str, self.problems)))
