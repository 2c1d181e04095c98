"""The watching sensor: partitions that changes touch are refreshed, again and again until it has worked."""

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
from assets.observations import observations
from assets.partitions import dynamic_name, partition_keys
from assets.resources import client_of, resource_keys, store_of
from assets.schedules import range_request, ranges
from assets.shape import asset_key
from assets.spec import DatasetSpec

AGAIN_SECONDS, LONGEST_AGAIN_SECONDS = 60.0, 3_600.0
"""Pause before partitions whose refresh failed are asked for again; it doubles each time."""

UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


@dataclass(slots=True)
class Watch:
    """What the sensor remembers from tick to tick, as JSON in its cursor.

    Parameters
    ----------
    token
        Where the change stream is resumed, as extended JSON; None before the first look.
    pending
        Partitions that changed and were not asked for yet.
    due_at
        When they may be asked for, seconds since the epoch.
    asked
        Partitions of each run that was asked for and whose end was not seen, by run key; of a run of the
        snapshot alone, none.
    num_failed
        Refreshes that failed one after the other.
    snapshot_due
        Whether partitions were asked for without a snapshot after them.
    versions
        Data versions of partitions when they were last observed; compared with when the stream is lost.
    observed_at
        When that was.
    """

    token: Any = None
    pending: list[str] = field(default_factory=list)
    due_at: float = 0.0
    asked: dict[str, list[str]] = field(default_factory=dict)
    num_failed: int = 0
    snapshot_due: bool = False
    versions: dict[str, str] = field(default_factory=dict)
    observed_at: float = 0.0

    @classmethod
    def read(cls, cursor: str | None) -> "Watch":
        """Return what a cursor holds; what another version of this code remembered is left out."""
        known = json.loads(cursor) if cursor else {}
        return cls(**{name: known[name] for name in cls.__slots__ if name in known})

    def note(self, partitions: Collection[str], due_at: float) -> None:
        """Add partitions to be asked for."""
        if partitions:
            self.pending = sorted({*self.pending, *partitions})
            self.due_at = due_at

    def write(self) -> str:
        """Return the cursor."""
        return json.dumps(asdict(self))


def watch_sensor(spec: DatasetSpec) -> dg.SensorDefinition:
    """Return the sensor that follows the changes of one dataset."""

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
            seen = _look(spec, client, context, state, now)
        # Where the observing sensor runs too, the versions are its business.
        events = [] if spec.refresh.automation else observations(spec, seen.versions, seen.how)
        busy = context.instance.get_runs_count(
            dg.RunsFilter(tags={"dataset": spec.name}, statuses=UNFINISHED)
        )
        said = [seen.said, None if busy else _see_ends(spec, context.instance, state, now)]
        for text in filter(None, said):
            context.log.warning(text)
        requests = [] if busy else _requests(spec, state, partition_keys(spec, context.instance), now)
        waiting = f"{len(state.pending)} partitions wait" if state.pending else "nothing changed"
        said.append(f"{busy} runs under way, {waiting}" if busy else waiting)
        return dg.SensorResult(
            run_requests=requests,
            asset_events=events,
            skip_reason=None if requests else "; ".join(filter(None, said)),
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
    spec: DatasetSpec,
    client: MongoClient[Any],
    context: dg.SensorEvaluationContext,
    state: Watch,
    now: float,
) -> Seen:
    """Note what has changed since the last look."""
    instance, store = context.instance, store_of(context)
    if not can_watch(client):
        due = now - state.observed_at >= spec.refresh.observe_seconds
        found = _observe(spec, client, instance, state, now) if due else {}
        return Seen(found, "found by hashing the collection in the server, which has no change stream")
    token = None if state.token is None else json_util.loads(json.dumps(state.token))
    # Values of dynamic partitions are taken from the changed documents, whether known or not.
    keys = None if spec.partitions.by == "dynamic" else partition_keys(spec, instance)
    touched = touched_partitions(spec, client, store, token, keys=keys)
    if touched.lost:
        # Begin anew before comparing, so that no change falls between the two.
        _keep(state, touched_partitions(spec, client, store, None, keys=keys).token)
        found = _observe(spec, client, instance, state, now)
        said = (
            f"{spec.name}: the change stream could not be resumed: its history is gone, or the collection "
            f"was dropped or renamed. Observed instead: {len(found)} of {len(state.versions)} partitions "
            "differ"
        )
        return Seen(
            found, "found by hashing the collection in the server, as the change stream was lost", said
        )
    _keep(state, touched.token)
    if not state.observed_at:
        _observe(spec, client, instance, state, now)
    if keys is None and touched.partitions:
        new = sorted(touched.partitions - set(partition_keys(spec, instance)))
        instance.add_dynamic_partitions(dynamic_name(spec), new)
    state.note(touched.partitions, now + float(spec.refresh.debounce_seconds))
    moment = token_time(touched.token or {})
    version = f"{now:.3f}" if moment is None else f"{moment.time}.{moment.inc}"
    return Seen(dict.fromkeys(sorted(touched.partitions), version), "seen in the change stream")


def _keep(state: Watch, token: Mapping[str, Any] | None) -> None:
    state.token = None if token is None else json.loads(json_util.dumps(token))


def _observe(
    spec: DatasetSpec, client: MongoClient[Any], instance: dg.DagsterInstance, state: Watch, now: float
) -> dict[str, str]:
    """Compare with the last observation, note and return what changed; the first one only remembers."""
    add_partitions(spec, instance, client)
    versions = source_versions(spec, partition_keys(spec, instance), client)
    changed = {key: version for key, version in versions.items() if version != state.versions.get(key)}
    if state.observed_at:
        state.note(changed.keys(), now + float(spec.refresh.debounce_seconds))
    state.versions, state.observed_at = versions, now
    return changed


def _see_ends(spec: DatasetSpec, instance: dg.DagsterInstance, state: Watch, now: float) -> str | None:
    """Forget refreshes that ended well; note again what others were to make, and say so."""
    failed = []
    for run_key, partitions in state.asked.items():
        runs = instance.get_runs(dg.RunsFilter(tags={"dagster/run_key": run_key}), limit=1)
        if runs and runs[0].status != dg.DagsterRunStatus.SUCCESS:
            failed.append(partitions)
    if not failed and any(state.asked.values()):
        state.num_failed = 0
    state.asked = {}
    if not failed:
        return None
    pause = min(AGAIN_SECONDS * 2**state.num_failed, LONGEST_AGAIN_SECONDS)
    state.num_failed += 1
    state.due_at = now + pause
    state.pending = sorted({*state.pending, *(key for partitions in failed for key in partitions)})
    if not all(failed) and not state.pending:
        state.snapshot_due = True
    return f"{spec.name}: {len(failed)} runs did not succeed; asked for again in {pause:.0f} s"


def _requests(spec: DatasetSpec, state: Watch, keys: list[str], now: float) -> list[dg.RunRequest]:
    """Return the runs that are due and remember what they are to make.

    Adjacent partitions and the snapshot are one run. Of partitions that lie apart, each group is a run, and
    the snapshot follows when all of them have ended.
    """
    requests = []
    is_due = now >= state.due_at
    if state.pending and is_due:
        groups = ranges(state.pending, keys)
        state.snapshot_due = len(groups) > 1
        state.pending = []
        for first, last in groups:
            run_key = f"{now:.3f} {first}"
            state.asked[run_key] = keys[keys.index(first) : keys.index(last) + 1]
            requests.append(range_request(spec, first, last, run_key, snapshot=len(groups) == 1))
    elif state.snapshot_due and (state.pending or is_due):
        state.snapshot_due = False
        run_key = f"{now:.3f} snapshot"
        state.asked[run_key] = []
        requests.append(
            dg.RunRequest(
                run_key=run_key,
                tags={"dataset": spec.name},
                asset_selection=[asset_key(spec, "snapshot")],
            )
        )
    return requests
