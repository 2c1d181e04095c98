"""What is due and when: schedules, the change stream, automation; in process, over a real MongoDB."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from bson.timestamp import Timestamp
from pymongo.database import Database

from assets.beta import beta_allowed
from assets.dataset import definitions_of
from assets.mongo.changes import token_time
from assets.resources import resources
from assets.schedules import due_partitions, ranges, refresh_schedule
from assets.sensors import observe_sensor
from assets.spec import DatasetSpec
from assets.watch import AGAIN_SECONDS, watch_sensor
from demo.mongod import Mongod
from tests.integration.dagster.shop import MONTHS, Pipeline, document, fill, goods, pipeline


@pytest.fixture
def shop(
    database: Database[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mongo_uri: str
) -> Iterator[Pipeline]:
    fill(database)
    spec = goods(database, refresh={"watch": True, "automation": True, "debounce_seconds": 0})
    with pipeline(spec, tmp_path, monkeypatch, mongo_uri) as made:
        yield made


class Sensor:
    """A sensor whose cursor goes from tick to tick."""

    def __init__(self, spec: DatasetSpec, instance: dg.DagsterInstance, sensor: dg.SensorDefinition) -> None:
        self.spec, self.instance, self.sensor = spec, instance, sensor
        self.cursor: str | None = None

    def tick(self) -> Any:
        with dg.build_sensor_context(
            self.instance, self.cursor, resources=resources(self.spec), sensor_name=self.sensor.name
        ) as context:
            result = self.sensor.evaluate_tick(context)
        self.cursor = result.cursor
        return result

    def asked(self) -> list[Mapping[str, str]]:
        return [
            {
                key: value
                for key, value in request.tags.items()
                if key not in ("dataset", "dagster/sensor_name")
            }
            for request in self.tick().run_requests or []
        ]


def test_the_change_stream_names_exactly_the_partitions_touched(
    shop: Pipeline, database: Database[Any]
) -> None:
    assert shop.run().success
    watch = Sensor(shop.spec, shop.instance, watch_sensor(shop.spec))
    watch.tick()  # may name the very last write, whose time is the one at which the stream begins
    database.goods.insert_one(document(2_900, 2))
    assert watch.asked() == [{"dagster/partition": "2025-02"}]
    assert watch.asked() == []
    assert shop.run("2025-02").success

    moved = {"$set": {"at": datetime(2025, 4, 9, tzinfo=timezone.utc)}}
    database.goods.update_one({"_id": document(3_000, 3)["_id"]}, moved)
    expected = {
        "dagster/asset_partition_range_start": "2025-03",
        "dagster/asset_partition_range_end": "2025-04",
    }
    assert watch.asked() == [expected]

    database.goods.delete_one({"_id": document(1_000, 1)["_id"]})
    assert watch.asked() == [{"dagster/partition": "2025-01"}]


def test_partitions_apart_are_runs_apart_and_the_snapshot_follows(
    shop: Pipeline, database: Database[Any]
) -> None:
    watch = Sensor(shop.spec, shop.instance, watch_sensor(shop.spec))
    watch.tick()
    database.goods.insert_many([document(1_900, 1), document(4_900, 4)])
    requests = watch.tick().run_requests or []
    assert [request.tags["dagster/partition"] for request in requests] == ["2025-01", "2025-04"]
    parts = {dg.AssetKey(["goods", name]) for name in ("documents", "images", "records")}
    assert all(set(request.asset_selection or []) == parts for request in requests)
    (snapshot,) = watch.tick().run_requests or []
    assert snapshot.asset_selection == [dg.AssetKey(["goods", "snapshot"])]
    assert watch.asked() == []


def test_what_could_not_be_refreshed_is_asked_for_again(shop: Pipeline, database: Database[Any]) -> None:
    """Its neighbours get their snapshot meanwhile; the pause grows until it has worked."""
    assert shop.run().success
    watch = Sensor(shop.spec, shop.instance, watch_sensor(shop.spec))
    watch.tick()
    january = {"_id": {"$in": [document(1_000 + row, 1)["_id"] for row in range(20)]}}
    database.goods.update_many(january, {"$set": {"price": "dear"}})
    database.goods.insert_one(document(4_900, 4))
    assert [launch(shop, request) for request in watch.tick().run_requests] == [False, True]

    found = watch.tick()
    assert [launch(shop, request) for request in found.run_requests] == [True]
    assert shop.store.snapshot("goods").num_rows == 121
    waiting = watch.tick()
    assert waiting.run_requests == []
    assert str(waiting.skip_message) == "1 partitions wait"
    for num_failed in (1, 2):
        state = json.loads(watch.cursor or "")
        assert (state["pending"], state["num_failed"]) == (["2025-01"], num_failed)
        watch.cursor = json.dumps({**state, "due_at": state["due_at"] - AGAIN_SECONDS * num_failed})
        (request,) = watch.tick().run_requests
        assert not launch(shop, request)
        said = f"1 runs did not succeed; asked for again in {AGAIN_SECONDS * 2**num_failed:.0f} s"
        assert said in str(watch.tick().skip_message)

    database.goods.update_many(january, {"$set": {"price": 5.5}})
    (request,) = watch.tick().run_requests
    assert request.tags["dagster/partition"] == "2025-01"
    assert launch(shop, request)
    assert watch.asked() == []
    state = json.loads(watch.cursor or "")
    assert (state["pending"], state["asked"], state["num_failed"]) == ([], {}, 0)


def launch(shop: Pipeline, request: dg.RunRequest) -> bool:
    """Run what a sensor asked for, as the daemon would, and say whether it succeeded."""
    job = shop.definitions.resolve_job_def(f"{shop.spec.name}_refresh")
    done = job.execute_in_process(
        instance=shop.instance,
        tags={**request.tags, "dagster/run_key": str(request.run_key)},
        asset_selection=list(request.asset_selection) if request.asset_selection else None,
        raise_on_error=False,
    )
    return done.success


def test_changes_wait_until_it_is_quiet(
    database: Database[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mongo_uri: str
) -> None:
    fill(database, months=[1])
    spec = goods(database, refresh={"watch": True, "debounce_seconds": 3_600})
    with pipeline(spec, tmp_path, monkeypatch, mongo_uri) as made:
        watch = Sensor(spec, made.instance, watch_sensor(spec))
        watch.tick()
        database.goods.insert_one(document(1_900, 1))
        result = watch.tick()
        assert result.run_requests == []
        assert "1 partitions wait" in str(result.skip_message)
        state = json.loads(watch.cursor or "")
        assert state["pending"] == ["2025-01"]
        watch.cursor = json.dumps({**state, "due_at": state["due_at"] - 4_000})
        assert watch.asked() == [{"dagster/partition": "2025-01"}]


def test_a_lost_stream_is_said_and_observed_instead(shop: Pipeline, database: Database[Any]) -> None:
    watch = Sensor(shop.spec, shop.instance, watch_sensor(shop.spec))
    watch.tick()
    database.goods.insert_one(document(2_900, 2))
    state = json.loads(watch.cursor or "")
    state["token"] = {"_data": "82" + "00" * 20}
    watch.cursor = json.dumps(state)
    assert watch.asked() == [{"dagster/partition": "2025-02"}]
    database.goods.insert_one(document(3_900, 3))
    assert watch.asked() == [{"dagster/partition": "2025-03"}]


def test_only_what_changed_is_observed(shop: Pipeline, database: Database[Any]) -> None:
    observe = Sensor(shop.spec, shop.instance, observe_sensor(shop.spec))
    assert [event.partition for event in observe.tick().asset_events] == MONTHS
    assert observe.tick().asset_events == []
    database.goods.update_one({"_id": document(3_000, 3)["_id"]}, {"$set": {"price": 5.5}})
    assert [event.partition for event in observe.tick().asset_events] == ["2025-03"]


def test_automation_asks_for_what_changed_then_one_snapshot(shop: Pipeline, database: Database[Any]) -> None:
    with beta_allowed():
        definitions = definitions_of(shop.spec)
    observe = Sensor(shop.spec, shop.instance, observe_sensor(shop.spec))
    cursor = None

    def evaluate() -> dict[str, list[str]]:
        nonlocal cursor
        for event in observe.tick().asset_events:
            shop.instance.report_runless_asset_event(event)
        with beta_allowed():
            found = dg.evaluate_automation_conditions(definitions, shop.instance, cursor=cursor)
        cursor = found.cursor
        keys = [dg.AssetKey(["goods", name]) for name in ("documents", "images", "records", "snapshot")]
        return {
            key.path[-1]: sorted(str(part) for part in found.get_requested_partitions(key)) for key in keys
        }

    nothing: dict[str, list[str]] = {"documents": [], "images": [], "records": [], "snapshot": []}
    assert evaluate() == nothing, "the first load is a backfill"
    assert shop.run().success
    evaluate()
    assert evaluate() == nothing
    database.goods.update_one({"_id": document(3_000, 3)["_id"]}, {"$set": {"price": 5.5}})
    march = ["2025-03"]
    assert evaluate() == {"documents": march, "images": march, "records": march, "snapshot": []}
    assert shop.run("2025-03", assets=["documents", "images", "records"]).success
    assert evaluate() == {**nothing, "snapshot": ["None"]}
    assert evaluate() == nothing


def test_automation_asks_again_every_hour_until_it_has_worked(
    shop: Pipeline, database: Database[Any]
) -> None:
    with beta_allowed():
        definitions = definitions_of(shop.spec)
    observe = Sensor(shop.spec, shop.instance, observe_sensor(shop.spec))
    parts, cursor, now = ["documents", "images", "records"], None, datetime(2025, 6, 1, 12, 10)

    def evaluate(minutes: int) -> set[str]:
        """Name what is asked for, so many minutes after the last time."""
        nonlocal cursor, now
        now += timedelta(minutes=minutes)
        for event in observe.tick().asset_events:
            shop.instance.report_runless_asset_event(event)
        with beta_allowed():
            found = dg.evaluate_automation_conditions(
                definitions, shop.instance, cursor=cursor, evaluation_time=now
            )
        cursor = found.cursor
        requested = [found.get_requested_partitions(dg.AssetKey(["goods", name])) for name in parts]
        assert all(keys in (set(), {"2025-01"}) for keys in requested)
        names = {name for name, keys in zip(parts, requested, strict=True) if keys}
        snapshot = found.get_requested_partitions(dg.AssetKey(["goods", "snapshot"]))
        return names | ({"snapshot"} if snapshot else set())

    assert shop.run().success
    evaluate(0)
    assert evaluate(1) == set()
    january = {"_id": {"$in": [document(1_000 + row, 1)["_id"] for row in range(20)]}}
    database.goods.update_many(january, {"$set": {"price": "dear"}})
    assert evaluate(1) == set(parts)
    for _ in range(2):
        assert not shop.run("2025-01", assets=parts).success
        assert evaluate(10) == set()
        assert evaluate(50) == set(parts)
    database.goods.update_many(january, {"$set": {"price": 5.5}})
    observe.tick()  # and the change is not told to automation
    assert shop.run("2025-01", assets=parts).success
    assert evaluate(10) == {"snapshot"}
    version = shop.store.latest("goods", "records", "2025-01")
    assert version is not None
    column = Path(shop.store.root) / version.column("price").path(0)
    content = column.read_bytes()
    column.write_bytes(b"")
    assert not shop.run(assets=["snapshot"]).success
    assert evaluate(10) == set()
    assert evaluate(50) == {"snapshot"}
    column.write_bytes(content)
    assert shop.run(assets=["snapshot"]).success
    assert evaluate(60) == set()


def test_a_schedule_takes_the_last_window_and_looks_back(database: Database[Any], tmp_path: Path) -> None:
    refresh = {"schedule": "0 6 1 * *", "look_back": 1}
    partitions = {"by": "time", "field": "at", "every": "month", "start": "2025-01-01"}
    spec = goods(database, refresh=refresh, partitions=partitions)
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        moment = datetime(2025, 4, 1, 6, tzinfo=timezone.utc)
        assert due_partitions(spec, instance, moment) == ["2025-02", "2025-03"]
        assert due_partitions(spec, instance, datetime(2025, 1, 9, tzinfo=timezone.utc)) == []
        schedule = refresh_schedule(spec)
        assert schedule is not None
        with dg.build_schedule_context(
            instance, scheduled_execution_time=moment, resources=resources(spec)
        ) as context:
            (request,) = schedule.evaluate_tick(context).run_requests or []
        assert request.tags["dagster/asset_partition_range_start"] == "2025-02"
        assert request.tags["dagster/asset_partition_range_end"] == "2025-03"


def test_gc_runs_when_the_dataset_says_so_and_never_else(
    database: Database[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mongo_uri: str
) -> None:
    fill(database, months=[1])
    storage = {"gc": "30 3 * * *", "keep_versions": 1}
    refresh = {"schedule": "0 6 1 * *", "timezone": "Europe/Berlin"}
    silent = definitions_of(goods(database, refresh=refresh)).get_repository_def()
    assert [schedule.name for schedule in silent.schedule_defs] == ["goods_schedule"]
    with pipeline(
        goods(database, storage=storage, refresh=refresh), tmp_path, monkeypatch, mongo_uri
    ) as made:
        schedule = made.definitions.get_repository_def().get_schedule_def("goods_gc_schedule")
        assert (schedule.cron_schedule, schedule.execution_timezone) == ("30 3 * * *", "Europe/Berlin")
        assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING
        assert schedule.job_name == "goods_gc"
        for price in (1.0, 2.0):
            database.goods.update_one({"_id": document(1_000, 1)["_id"]}, {"$set": {"price": price}})
            assert made.run("2025-01").success
        moment = datetime(2025, 4, 1, 1, 30, tzinfo=timezone.utc)
        with dg.build_schedule_context(made.instance, scheduled_execution_time=moment) as context:
            (request,) = schedule.evaluate_tick(context).run_requests or []
        assert made.run(job="gc", run_config=request.run_config).success
        assert made.store.versions("goods", "records", "2025-01") == [1, 2], "both are of today"
        config = {"ops": {"goods_gc_op": {"config": {"grace_hours": 0.0}}}}
        assert made.run(job="gc", run_config=config).success
        assert made.store.versions("goods", "records", "2025-01") == [2]


def test_ranges() -> None:
    assert ranges([], MONTHS) == []
    assert ranges(["2025-03", "2025-01", "2025-02"], MONTHS) == [("2025-01", "2025-03")]
    assert ranges({"2025-01", "2025-04", "gone"}, MONTHS) == [("2025-01", "2025-01"), ("2025-04", "2025-04")]


def test_dynamic_partitions_appear(
    database: Database[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mongo_uri: str
) -> None:
    fill(database, months=[1])
    spec = goods(
        database,
        partitions={"by": "dynamic", "field": "color"},
        refresh={"watch": True, "debounce_seconds": 0},
    )
    with pipeline(spec, tmp_path, monkeypatch, mongo_uri) as made:
        watch = Sensor(spec, made.instance, watch_sensor(spec))
        watch.tick()
        assert made.instance.get_dynamic_partitions("goods_partitions") == ["blue", "green", "red"]
        database.goods.insert_one({**document(1_900, 1), "color": "violet"})
        assert watch.asked() == [{"dagster/partition": "violet"}]
        assert made.run("violet").success
        assert made.store.snapshot("goods").num_rows == 1


def test_what_the_watching_sensor_saw_is_recorded(
    database: Database[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mongo_uri: str
) -> None:
    fill(database, months=[1, 2])
    spec = goods(database, refresh={"watch": True, "debounce_seconds": 3_600})
    with pipeline(spec, tmp_path, monkeypatch, mongo_uri) as made:
        watch = Sensor(spec, made.instance, watch_sensor(spec))
        watch.tick()
        database.goods.insert_one(document(2_900, 2))
        (first,) = watch.tick().asset_events
        database.goods.insert_one(document(2_901, 2))
        (second,) = watch.tick().asset_events
        assert (first.asset_key, first.partition) == (dg.AssetKey(["goods", "source"]), "2025-02")
        assert first.description == "A change, seen in the change stream."
        assert first.tags["dagster/data_version"] != second.tags["dagster/data_version"]
        assert watch.tick().asset_events == []


def test_a_server_that_is_no_replica_set_is_polled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inserts, changes in place and deletes are found without a change stream, when a poll is due."""
    with Mongod(tmp_path / "alone", replica_set=None) as server, server.client() as client:
        database = client["shop"]
        fill(database)
        spec = goods(database, refresh={"watch": True, "debounce_seconds": 0})
        with pipeline(spec, tmp_path, monkeypatch, server.uri) as made:
            assert made.run().success
            watch = Sensor(spec, made.instance, watch_sensor(spec))
            watch.tick()

            def poll() -> Any:
                state = json.loads(watch.cursor or "")
                state["observed_at"] -= spec.refresh.observe_seconds
                watch.cursor = json.dumps(state)
                return watch.tick()

            assert poll().asset_events == []
            database.goods.insert_one(document(2_900, 2))
            assert watch.asked() == [], "a poll is not due"
            found = poll()
            assert [request.tags["dagster/partition"] for request in found.run_requests] == ["2025-02"]
            assert [event.partition for event in found.asset_events] == ["2025-02"]
            assert "no change stream" in str(found.asset_events[0].description)
            database.goods.update_one({"_id": document(3_000, 3)["_id"]}, {"$set": {"price": 5.5}})
            assert [event.partition for event in poll().asset_events] == ["2025-03"]
            database.goods.delete_one({"_id": document(4_000, 4)["_id"]})
            assert [event.partition for event in poll().asset_events] == ["2025-04"]
            assert made.run("2025-02", "2025-04").success
            assert made.store.snapshot("goods").num_rows == 120


def test_an_oplog_that_rolled_over_is_said_and_observed_instead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sensor was down; meanwhile more was written than the server's log of one megabyte holds."""
    small = ["--oplogSize", "1", "--syncdelay", "1"]  # only what a checkpoint no longer needs is dropped
    with Mongod(tmp_path / "small", extra=small) as server, server.client() as client:
        database = client["shop"]
        fill(database)
        spec = goods(database, refresh={"watch": True, "debounce_seconds": 0})
        with pipeline(spec, tmp_path, monkeypatch, server.uri) as made:
            watch = Sensor(spec, made.instance, watch_sensor(spec))
            watch.tick()
            database.goods.update_one({"_id": document(3_000, 3)["_id"]}, {"$set": {"price": 5.5}})
            while client.local["oplog.rs"].find_one(sort=[("$natural", 1)])["ts"] <= _token(watch):
                client["other"].noise.insert_many([{"text": "n" * 1_000_000} for _ in range(8)])
            found = watch.tick()
            assert [request.tags["dagster/partition"] for request in found.run_requests] == ["2025-03"]
            assert [event.partition for event in found.asset_events] == ["2025-03"]
            assert "as the change stream was lost" in str(found.asset_events[0].description)
            database.goods.insert_one(document(2_900, 2))
            assert watch.asked() == [{"dagster/partition": "2025-02"}], "and it goes on with a new stream"


def _token(watch: Sensor) -> Timestamp:
    found = token_time(json.loads(watch.cursor or "")["token"])
    assert found is not None
    return found
