"""Many processes that commit to the same partitions: every commit stands once, in one line of versions."""

from __future__ import annotations

import multiprocessing
import random
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

from shards import Column, CommitConflict, ShardStore
from tests.crash.shards.rewrites import read_under_rewrites

DATASET, ASSET = "contention", "records"


def _work(root: str, writer: int, num_commits: int, keys: list[str], told: str) -> None:
    store, chance = ShardStore(root), random.Random(writer)
    lines, conflicts = [], 0
    for position in range(num_commits):
        key, stamp = chance.choice(keys), writer * 1_000_000 + position
        while True:
            with store.begin(DATASET, ASSET, key) as attempt:
                attempt.column(Column("x", "npy", "<i8")).append(np.array([stamp], "<i8"))
                try:
                    commit = attempt.commit()
                except CommitConflict:
                    conflicts += 1
                    continue
            assert commit.created
            lines.append(f"{key} {commit.version.number} {stamp}")
            break
    Path(told, f"{writer}").write_text("\n".join([str(conflicts), *lines]))


def contend(directory: Path, num_processes: int, num_commits: int, num_partitions: int) -> tuple[int, int]:
    """Commit from many processes; the versions found and the conflicts met.

    Raises
    ------
    AssertionError
        A version was lost, stands twice, or holds what another was told it holds.
    """
    told = directory / "told"
    told.mkdir()
    root = directory / "root"
    keys = [f"p{position}" for position in range(num_partitions)]
    context = multiprocessing.get_context("fork")
    each = num_commits // num_processes
    processes = [
        context.Process(target=_work, args=(str(root), writer, each, keys, str(told)))
        for writer in range(num_processes)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * num_processes
    store = ShardStore(root)
    expected: dict[tuple[str, int], int] = {}
    conflicts = 0
    for path in told.iterdir():
        first, *lines = path.read_text().splitlines()
        conflicts += int(first)
        for line in lines:
            key, number, stamp = line.split()
            assert (key, int(number)) not in expected, "two commits were told the same number"
            expected[key, int(number)] = int(stamp)
    assert len(expected) == each * num_processes
    standing: Counter[str] = Counter()
    for key in keys:
        numbers = store.versions(DATASET, ASSET, key)
        assert numbers == list(range(1, len(numbers) + 1)), "the line of versions has a gap"
        standing[key] = len(numbers)
        for number in numbers:
            [stamp] = store.version(DATASET, ASSET, key, number).column("x").read().tolist()
            assert expected[key, number] == stamp, "a version holds another's content"
    assert standing.total() == len(expected), "a version was lost"
    return standing.total(), conflicts


def many_commits(num_commits: int = 10_000) -> None:
    """Commit from 16 processes, then read under a tenth as many rewrites, and say what was found.

    Raises
    ------
    AssertionError
        A version was lost or stands twice, or a reader saw a mixture.
    """
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="contention-") as directory:
        found, conflicts = contend(Path(directory), 16, num_commits, 8)
    seconds = time.monotonic() - began
    print(f"{found} commits by 16 processes, {conflicts} conflicts, none lost, no fork, {seconds:.0f} s")
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="rewrites-") as directory:
        num_read, num_seen = read_under_rewrites(Path(directory), num_commits // 10)
    seconds = time.monotonic() - began
    text = f"{num_read} reads of {num_seen} snapshots, 0 mixed, {seconds:.0f} s"
    print(f"{num_commits // 10} rewrites with gc, {text}")
