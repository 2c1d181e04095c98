"""What is done over the model when a fault strikes, and what must hold whatever is left."""

from __future__ import annotations

import contextlib
import copy
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from shards import Column, CommitConflict, CommitFailed, CommitStateUnknown, ShardStore
from shards.gc import collect
from tests.crash.shards.model import Data, Directory, Fault, Killed, ModelStorage, Names

DATASET, ASSET = "faults", "records"
SCHEMA = pa.schema([("_id", pa.large_binary())])


@dataclass
class Ledger:
    """What the process was told: versions acknowledged, refused and unknown, by number and seed."""

    acknowledged: dict[int, int] = field(default_factory=dict)
    refused: set[int] = field(default_factory=set)
    unknown: set[int] = field(default_factory=set)
    snapshots: set[int] = field(default_factory=set)


def write(store: ShardStore, seed: int, ledger: Ledger) -> None:
    """Commit small content that is a function of the seed, and note what the outcome was said to be."""
    try:
        with store.begin(DATASET, ASSET, shard_bytes=16) as attempt:
            column = attempt.column(Column("x", "npy", "<i4"))
            column.append(np.arange(6, dtype="<i4") + seed)
            text = attempt.column(Column("t", "arrow", arrow_type="string", kind="text"))
            text.append(pa.array([f"{seed}-{row}" for row in range(6)]))
            attempt.table("rejects", SCHEMA).append(
                pa.table({"_id": pa.array([b"r"], pa.large_binary())}).to_batches()[0]
            )
            commit = attempt.commit(statistics={"seed": seed})
        ledger.acknowledged[commit.version.number] = seed
    except (CommitFailed, CommitConflict):
        ledger.refused.add(seed)
    except CommitStateUnknown:
        ledger.unknown.add(seed)
    except OSError:
        ledger.refused.add(seed)


def snapshot(store: ShardStore, ledger: Ledger) -> None:
    """Pin the latest version."""
    try:
        with store.begin_snapshot(DATASET) as attempt:
            latest = store.latest(DATASET, ASSET)
            assert latest is not None
            attempt.pin(latest)
            attempt.index("train", np.array([0, 2], np.uint32))
            commit = attempt.commit()
        ledger.snapshots.add(commit.version.number)
    except (CommitFailed, CommitConflict, CommitStateUnknown, OSError):
        return


def first_commit(store: ShardStore, ledger: Ledger) -> None:
    write(store, 100, ledger)


def replace(store: ShardStore, ledger: Ledger) -> None:
    write(store, 200, ledger)


def pin(store: ShardStore, ledger: Ledger) -> None:
    snapshot(store, ledger)


def garbage(store: ShardStore, ledger: Ledger) -> None:
    try:
        collect(store.catalog, store._directories, DATASET, keep=1, grace_seconds=0.0, dry_run=False)
    except OSError:
        return


def two_writers(store: ShardStore, ledger: Ledger) -> None:
    """Another writer commits in the middle of this one's commit."""
    storage = store.storage
    assert isinstance(storage, ModelStorage)
    other = ShardStore("model", storage=ModelStorage(storage.root))

    def hook(position: int) -> None:
        if storage.log[position] == "create manifest.json" and storage.hook is not None:
            storage.hook = None
            write(other, 301, ledger)

    storage.hook = hook
    write(store, 300, ledger)


@dataclass(frozen=True)
class Scenario:
    """What stands before, and what runs when the fault strikes."""

    name: str
    num_before: int
    run: Callable[[ShardStore, Ledger], None]
    with_snapshot: bool = False


SCENARIOS = (
    Scenario("first commit", 0, first_commit),
    Scenario("replace", 2, replace),
    Scenario("gc", 4, garbage, with_snapshot=True),
    Scenario("two writers", 1, two_writers),
    Scenario("snapshot", 2, pin),
)
LOSSES: tuple[tuple[Data, Names], ...] = (
    ("dropped", "kept"),
    ("kept", "dropped"),
    ("dropped", "dropped"),
    ("torn", "some"),
)


def prepare(scenario: Scenario, make: type[ModelStorage]) -> tuple[Directory, Ledger]:
    """Build and settle what stands before."""
    storage = make()
    store, ledger = ShardStore("model", storage=storage), Ledger()
    for seed in range(scenario.num_before):
        write(store, seed, ledger)
        if scenario.with_snapshot and seed == 1:
            snapshot(store, ledger)
    assert len(ledger.acknowledged) == scenario.num_before, ledger
    return storage.root, ledger


def violations(root: Directory, ledger: Ledger, scenario: Scenario) -> list[str]:
    """Read what is left with a new process, and say what is wrong."""
    store = ShardStore("model", storage=ModelStorage(root), verify="full")
    found = [f"damage: {damage}" for damage in store.verify(full=True).damages]
    standing = {}
    for number in store.versions(DATASET, ASSET):
        try:
            version = store.version(DATASET, ASSET, "all", number)
            seed = version.statistics["seed"]
            assert isinstance(seed, int)
            standing[number] = seed
            if version.column("x").read().tolist() != [seed + row for row in range(6)]:
                found.append(f"version {number} holds other rows")
            if version.column("t").read().to_pylist() != [f"{seed}-{row}" for row in range(6)]:
                found.append(f"version {number} holds other text")
        except Exception as error:
            found.append(f"version {number}: {error!r}")
    needed = dict(ledger.acknowledged)
    if scenario.run is garbage:
        needed = {number: needed[number] for number in (2, 4)}
    for number, seed in needed.items():
        if standing.get(number) != seed:
            found.append(f"version {number} was acknowledged with {seed}, found {standing.get(number)}")
    found += [f"content {seed} was refused and stands" for seed in ledger.refused & set(standing.values())]
    if sorted(standing.values()) != sorted(set(standing.values())):
        found.append(f"one content stands twice: {standing}")
    for number in ledger.snapshots:
        try:
            assert store.snapshot(DATASET, number).column("x").num_rows == 6
        except Exception as error:
            found.append(f"snapshot {number}: {error!r}")
    return found + _recovery(root, scenario)


def _recovery(root: Directory, scenario: Scenario) -> list[str]:
    """A new process collects and commits over what is left."""
    storage = ModelStorage(root)
    store, ledger = ShardStore("model", storage=storage), Ledger()
    try:
        collect(store.catalog, store._directories, DATASET, keep=1, grace_seconds=0.0, dry_run=False)
        write(store, 999, ledger)
        number = next(iter(ledger.acknowledged))
        if store.versions(DATASET, ASSET)[-1] != number:
            return ["recovery did not publish the latest version"]
        referenced = {
            store.version(DATASET, ASSET, "all", number).manifest.attempt
            for number in store.versions(DATASET, ASSET)
        }
        left = set(storage.names(f"{DATASET}/{ASSET}/data/all"))
        return [] if left == referenced else [f"gc left {sorted(left - referenced)} behind"]
    except Exception as error:
        return [f"recovery failed: {error!r}"]


READS = frozenset({"names", "sizes", "age_seconds", "read", "map"})


@dataclass(frozen=True)
class State:
    """One fault state and what is wrong in it."""

    scenario: str
    fault: str
    at: int
    operation: str
    problems: tuple[str, ...]


def states(make: type[ModelStorage] = ModelStorage) -> Iterator[State]:
    """Every fault state of every scenario."""
    for scenario in SCENARIOS:
        before, told = prepare(scenario, make)
        operations = _run(scenario, make(copy.deepcopy(before)), copy.deepcopy(told)).log
        for at, operation in enumerate(operations):
            for fault in _faults(operation):
                storage = make(copy.deepcopy(before), fault, at)
                ledger = copy.deepcopy(told)
                _run(scenario, storage, ledger)
                yield _state(scenario, fault, at, storage, copy.deepcopy(storage.root), ledger)
                if fault in ("after", "eio") and operation not in READS:
                    for data, names in LOSSES:
                        left = storage.root.after_loss(data, names, random.Random(at))
                        label = f"{fault}, power lost, data {data}, names {names}"
                        yield _state(scenario, label, at, storage, left, ledger)


def _faults(operation: str) -> tuple[Fault, ...]:
    """Faults that make a difference: a process killed around a read leaves what its neighbours leave."""
    if operation in READS:
        return ("eio",)
    if operation.startswith("write"):
        return ("before", "after", "torn", "enospc", "eio")
    return ("before", "after", "enospc", "eio")


def _state(
    scenario: Scenario, fault: str, at: int, storage: ModelStorage, root: Directory, ledger: Ledger
) -> State:
    problems = tuple(violations(root, ledger, scenario))
    return State(scenario.name, fault, at, storage.log[at], problems)


def _run(scenario: Scenario, storage: ModelStorage, ledger: Ledger) -> ModelStorage:
    store = ShardStore("model", storage=storage)
    with contextlib.suppress(Killed):
        scenario.run(store, ledger)
    return storage
