"""A process killed with `kill -9` at every storage operation of a commit, a snapshot and a collection."""

from __future__ import annotations

import itertools
from pathlib import Path

from tests.crash.shards.kill import Workplace, kill_at_operation, wrong


def test_kill_at_every_storage_operation(directory: Path) -> None:
    place = Workplace(directory)
    num_killed = 0
    for position in itertools.count():
        if not kill_at_operation(place, position):
            break
        num_killed += 1
        assert not wrong(place.root, place.ledger), f"killed before operation {position}"
    print(f"killed at {num_killed} storage operations: 0 violations")
    assert num_killed > 50
