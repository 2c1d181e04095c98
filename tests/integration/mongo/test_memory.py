"""A read takes no more memory than is declared, however large the partition is."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

from demo.mongod import Mongod

ROOT = Path(__file__).parents[3]
NUM_DOCUMENTS = 8_000
DOCUMENT_BYTES = 40_000
LEAST, MORE = 80, 512
"""Budgets, MiB; the partition has 305."""


def growth(uri: str, database: str, root: Path, budget_mb: int) -> float:
    """MiB by which a process that reads everything grows."""
    command = [sys.executable, "-m", "tests.integration.mongo.memory_child", uri, database, str(root)]
    done = subprocess.run([*command, str(budget_mb)], cwd=ROOT, check=True, capture_output=True, text=True)
    num_rows, grown = done.stdout.split()
    assert int(num_rows) == NUM_DOCUMENTS
    return float(grown)


def test_memory_is_bounded_by_the_budget(tmp_path: Path) -> None:
    """On a server of its own: the others' would lose the history of changes that their tests go by."""
    data = random.Random(1).randbytes(DOCUMENT_BYTES)
    with Mongod(tmp_path / "db") as server, server.client() as client:
        database = client["memory"]
        for start in range(0, NUM_DOCUMENTS, 400):
            documents = [{"_id": n, "value": n, "data": data} for n in range(start, start + 400)]
            database["things"].insert_many(documents)
        database["few"].insert_many([{"_id": n, "value": n, "data": data} for n in range(20)])
        small = growth(server.uri, database.name, tmp_path / "small", LEAST)
        large = growth(server.uri, database.name, tmp_path / "large", MORE)
    print(f"{small:.0f} MiB of {LEAST}, {large:.0f} MiB of {MORE}")
    assert small <= LEAST
    assert large <= MORE
    assert large > 1.3 * small
