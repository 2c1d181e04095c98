"""The demo's report: what came out of MongoDB, what became of it, how long it took, what was learnt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from demo.training import Trained
from shards import ShardStore

ASSETS = ("documents", "images", "records", "snapshot")
REJECTS = "rejects"


@dataclass(frozen=True, slots=True)
class Outcome:
    """Everything that the report says about one dataset."""

    dataset: str
    num_documents: int
    num_rows: int
    num_partitions: int
    size_bytes: int
    splits: Mapping[str, int]
    rejects: Mapping[str, int]
    seconds: Mapping[str, float]
    trained: Trained
    floor: float
    notes: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether accuracy reached its floor."""
        return self.trained.accuracy >= self.floor


def outcome(
    store: ShardStore,
    dataset: str,
    num_documents: int,
    seconds: Mapping[str, float],
    trained: Trained,
    floor: float,
) -> Outcome:
    """Collect the figures of one dataset from the store and from what the other stages returned.

    Parameters
    ----------
    num_documents
        Documents in the collection.
    seconds
        Seconds by stage.
    """
    snapshot = store.snapshot(dataset)
    size_bytes = snapshot.version.size_bytes
    for asset, pins in snapshot.pins.items():
        for partition, number in pins.items():
            size_bytes += store.version(dataset, asset, partition, number).size_bytes
    return Outcome(
        dataset=dataset,
        num_documents=num_documents,
        num_rows=snapshot.num_rows,
        num_partitions=len(snapshot.partitions),
        size_bytes=size_bytes,
        splits={name: len(snapshot.index(name)) for name in snapshot.splits},
        rejects=rejects(store, dataset, {**snapshot.pins, **unplaced(store, dataset)}),
        seconds=seconds,
        trained=trained,
        floor=floor,
    )


def unplaced(store: ShardStore, dataset: str) -> dict[str, dict[str, int]]:
    """Name the version that lists the documents of no partition; it is no part of a snapshot."""
    found = store.latest(dataset, "unplaced")
    return {} if found is None else {found.asset: {found.partition: found.number}}


def rejects(store: ShardStore, dataset: str, pins: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    """Count everything that could not be used, by asset, path and reason."""
    counted: Counter[str] = Counter()
    for asset, partitions in pins.items():
        for partition, number in partitions.items():
            version = store.version(dataset, asset, partition, number)
            if REJECTS not in version.tables:
                continue
            rows = version.table(REJECTS).read().select(["path", "reason"]).to_pylist()
            counted.update(f"{asset}: {row['path']}: {row['reason']}" for row in rows)
    return dict(sorted(counted.items()))


def table(outcomes: list[Outcome]) -> str:
    """Lay the outcomes out side by side, one figure a line."""
    lines: list[tuple[str, list[str]]] = [
        ("", [one.dataset for one in outcomes]),
        ("documents in MongoDB", [f"{one.num_documents:,}" for one in outcomes]),
        ("rows in shards", [f"{one.num_rows:,}" for one in outcomes]),
        ("rejects", [f"{sum(one.rejects.values()):,}" for one in outcomes]),
        ("partitions", [f"{one.num_partitions:,}" for one in outcomes]),
        ("bytes in shards", [f"{one.size_bytes:,}" for one in outcomes]),
    ]
    splits = [" / ".join(f"{num_rows:,}" for num_rows in one.splits.values()) for one in outcomes]
    lines.append((" / ".join(outcomes[0].splits), splits))
    for stage in outcomes[0].seconds:
        taken = [one.seconds.get(stage) for one in outcomes]
        lines.append((f"seconds, {stage}", ["-" if one is None else f"{one:.2f}" for one in taken]))
    lines += [
        ("samples/s in training", [f"{one.trained.samples_per_second:,.0f}" for one in outcomes]),
        ("test accuracy", [f"{one.trained.accuracy:.4f}" for one in outcomes]),
        ("  its floor", [f"{one.floor:.4f}" for one in outcomes]),
    ]
    first = max(len(name) for name, _ in lines)
    width = max(len(value) for _, values in lines for value in values) + 2
    text = [name.ljust(first) + "".join(value.rjust(width) for value in values) for name, values in lines]
    for one in outcomes:
        text += [f"rejected in {one.dataset}, {what}: {count}" for what, count in one.rejects.items()]
    return "\n".join(line.rstrip() for line in text)
