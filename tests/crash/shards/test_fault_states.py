"""The commit protocol over every fault state of the model."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.crash.shards.model import ModelStorage, WithoutDirectorySync, WithoutExclusiveLink, WithoutFileSync
from tests.crash.shards.scenarios import states


def test_no_fault_state_breaks_the_protocol() -> None:
    count: Counter[str] = Counter()
    wrong = []
    for state in states():
        count[state.scenario] += 1
        if state.problems:
            wrong.append(state)
    print(f"{count.total()} fault states, {len(wrong)} violations: {dict(count)}")
    assert not wrong, "\n".join(map(str, wrong[:10]))
    assert count.total() >= 1000


@pytest.mark.parametrize("mutant", [WithoutFileSync, WithoutDirectorySync, WithoutExclusiveLink])
def test_a_mutant_is_caught(mutant: type[ModelStorage]) -> None:
    caught = next((state for state in states(mutant) if state.problems), None)
    print(f"{mutant.__name__}: caught by {caught}")
    assert caught is not None
