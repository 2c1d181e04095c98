"""Sensors of a dataset: declarative automation of its assets, and the change stream of its collection."""

import json
import time
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import dagster as dg
from bson import json_util
from pymongo import MongoClient

from assets.documents import add_partitions
from assets.jobs import refresh_name
from assets.mongo.changes import token_time
from assets.mongo.observe import source_versions
from assets.mongo.watch import can_watch, touched_partitions
from assets.partitions import partition_keys
from assets.resources import client_of, resource_keys, store_of
from assets.schedules import range_request, ranges
from assets.shape import asset_key, asset_names
from assets.spec import DatasetSpec

POLL_SECONDS = 60
"""Least time between two looks at a server that has no change streams."""

UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def sensors(spec: DatasetSpec) -> list[dg.SensorDefinition]:
    """Return the sensors that a dataset asks for."""
    found = [observe_sensor(spec), automation_sensor(spec)] if spec.refresh.automation else []
    return [*found, watch_sensor(spec)] if spec.refresh.watch else found


def observe_sensor(spec: DatasetSpec) -> dg.SensorDefinition:
    """Return the sensor that looks at the source for automation.

    One look covers every partition and costs no run; only partitions that changed are recorded as observed.
    """

    @dg.sensor(
        name=f"{spec.name}_observe",
        minimum_interval_seconds=spec.refresh.observe_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
        required_resource_keys=resource_keys(spec),
        description=f"Observes the partitions of {spec.name} in its source.",
    )
    def observe(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        known = json.loads(context.cursor) if context.cursor else {}
        with client_of(spec, context) as client:
            assert client is not None
            add_partitions(spec, context.instance, client)
            keys = partition_keys(spec, context.instance)
            versions = source_versions(spec, keys, client)
        changed = {key: versions[key] for key in keys if versions[key] != known.get(key)}
        return dg.SensorResult(
            asset_events=observations(spec, changed, "found by hashing the collection in the server"),
            skip_reason=f"{len(changed)} of {len(keys)} partitions changed at the source",
            cursor=json.dumps(versions),
        )

    return observe


def observations(spec: DatasetSpec, versions: Mapping[str, str], how: str) -> list[dg.AssetObservation]:
    """Return what Dagster records of partitions of a source: data versions, and how they were seen."""
    return [
        dg.AssetObservation(
            asset_key(spec, "source"),
            partition=None if spec.partitions.by == "none" else key,
            description=f"A change, {how}.",
            tags={"dagster/data_version": version},
        )
        for key, version in versions.items()
    ]


def automation_sensor(spec: DatasetSpec) -> dg.SensorDefinition:
    """Return the sensor that evaluates the automation conditions of one dataset."""
    return dg.AutomationConditionSensorDefinition(
        f"{spec.name}_automation",
        target=dg.AssetSelection.assets(*(asset_key(spec, name) for name in asset_names(spec))),
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=15,
        description=f"Requests what changed in {spec.name}.",
        run_tags={"dataset": spec.name},
    )


@dataclass(slots=True)
class Watch:
    """What the watching sensor remembers from tick to tick, as JSON in its cursor.

    Parameters
    ----------
    token
        Where the change stream is resumed, as extended JSON; None before the first look.
    pending
        Partitions that changed and were not asked for yet.
    changed_at
        When the last change was seen, seconds since the epoch.
    snapshot_due
        Whether partitions were asked for without a snapshot after them.
    versions
        Data versions of partitions when they were last observed; compared with when the stream is lost.
    observed_at
        When that was.
    """

    token: Any = None
    pending: list[str] = field(default_factory=list)
    changed_at: float = 0.0
    snapshot_due: bool = False
    versions: dict[str, str] = field(default_factory=dict)
    observed_at: float = 0.0

    @classmethod
    def read(cls, cursor: str | None) -> "Watch":
        """Return what a cursor holds."""
        return cls(**json.loads(cursor)) if cursor else cls()

    def note(self, partitions: Collection[str], now: float) -> None:
        """Add partitions that changed."""
        if partitions:
            self.pending = sorted({*self.pending, *partitions})
            self.changed_at = now

    def write(self) -> str:
        """Return the cursor."""
        return json.dumps(asdict(self))


def watch_sensor(spec: DatasetSpec) -> dg.SensorDefinition:
    """Return the sensor that follows the change stream of one dataset."""

    @dg.sensor(
        name=f"{spec.name}_watch",
        job_name=refresh_name(spec),
        minimum_interval_seconds=5,
        default_status=dg.DefaultSensorStatus.RUNNING,
        required_resource_keys=resource_keys(spec),
        description=f"Refreshes the partitions of {spec.name} that changes touch.",
    )
    def watch(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        state, now = Watch.read(context.cursor), time.time()
        with client_of(spec, context) as client:
            assert client is not None
            add_partitions(spec, context.instance, client)
            keys = partition_keys(spec, context.instance)
            seen = _look(spec, client, store_of(context), state, keys, now)
        said = seen.said
        if said:
            context.log.warning(said)
        # Where the observing sensor runs too, the versions are its business.
        events = [] if spec.refresh.automation else observations(spec, seen.versions, seen.how)
        busy = context.instance.get_runs_count(
            dg.RunsFilter(tags={"dataset": spec.name}, statuses=UNFINISHED)
        )
        requests = [] if busy else _requests(spec, state, keys, now)
        waiting = f"{len(state.pending)} partitions wait" if state.pending else "nothing changed"
        return dg.SensorResult(
            run_requests=requests,
            asset_events=events,
            skip_reason=None
            if requests
            else said or (f"{busy} runs under way, {waiting}" if busy else waiting),
            cursor=state.write(),
        )

    return watch


@dataclass(frozen=True, slots=True)
class Seen:
    """What one look at the source found: data versions of partitions that changed, and how they were seen.

    `said` is what an operator should know.
    """

    versions: Mapping[str, str]
    how: str
    said: str | None = None


def _look(
    spec: DatasetSpec, client: MongoClient[Any], store: Any, state: Watch, keys: list[str], now: float
) -> Seen:
    """Note what has changed since the last look."""
    if not can_watch(client):
        due = now - state.observed_at >= POLL_SECONDS
        found = _observe(spec, client, state, keys, now) if due else {}
        return Seen(found, "found by hashing the collection in the server, which has no change stream")
    token = None if state.token is None else json_util.loads(json.dumps(state.token))
    touched = touched_partitions(spec, client, store, token, keys=keys)
    if touched.lost:
        # Begin anew before comparing, so that no change falls between the two.
        begun = touched_partitions(spec, client, store, None, keys=keys)
        _keep(state, begun.token)
        found = _observe(spec, client, state, keys, now)
        said = (
            f"{spec.name}: the change stream could not be resumed: its history is gone, or the collection "
            f"was dropped or renamed. Observed instead: {len(state.pending)} of {len(keys)} partitions differ"
        )
        return Seen(
            found, "found by hashing the collection in the server, as the change stream was lost", said
        )
    _keep(state, touched.token)
    state.note(touched.partitions, now)
    if not state.observed_at:
        _observe(spec, client, state, keys, now, note=False)
    moment = token_time(touched.token or {})
    version = f"{now:.3f}" if moment is None else f"{moment.time}.{moment.inc}"
    return Seen(dict.fromkeys(sorted(touched.partitions), version), "seen in the change stream")


def _keep(state: Watch, token: Mapping[str, Any] | None) -> None:
    state.token = None if token is None else json.loads(json_util.dumps(token))


def _observe(
    spec: DatasetSpec,
    client: MongoClient[Any],
    state: Watch,
    keys: list[str],
    now: float,
    note: bool = True,
) -> dict[str, str]:
    """Compare with the last observation; return the data versions of partitions that changed."""
    versions = source_versions(spec, keys, client)
    changed = {key: versions[key] for key in keys if versions[key] != state.versions.get(key)}
    if note and state.observed_at:
        state.note(changed.keys(), now)
    state.versions, state.observed_at = versions, now
    return changed


def _requests(spec: DatasetSpec, state: Watch, keys: list[str], now: float) -> list[dg.RunRequest]:
    """Return the runs that are due and forget what they make.

    Adjacent partitions and the snapshot are one run. Of partitions that lie apart, each group is a run, and
    the snapshot follows when all of them have ended.
    """
    if state.pending and now - state.changed_at >= float(spec.refresh.debounce_seconds):
        groups = ranges(state.pending, keys)
        state.snapshot_due = len(groups) > 1
        state.pending = []
        return [
            range_request(spec, first, last, f"{now:.3f} {first}", snapshot=len(groups) == 1)
            for first, last in groups
        ]
    if state.snapshot_due and not state.pending:
        state.snapshot_due = False
        return [
            dg.RunRequest(
                run_key=f"{now:.3f} snapshot",
                tags={"dataset": spec.name},
                asset_selection=[asset_key(spec, "snapshot")],
            )
        ]
    return []
