"""The sensor and the automation conditions on a real instance: what is registered, and what is run.

The runs themselves, by the real daemon, are `test_automation`'s.
"""

import errno
import json
import os
import re
import shutil
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import fsspec
import pytest
from dagster._core.remote_origin import (
    RegisteredCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
)
from dagster._core.storage.tags import RUN_KEY_TAG
from fsspec.implementations.local import LocalFileSystem

from agent_roles_dagster.definitions import defs
from agent_roles_dagster.orchestration import retries
from agent_roles_dagster.orchestration.partitions import SYNC_DAY
from agent_roles_dagster.orchestration.sensors import backlog
from agent_roles_dagster.orchestration.sensors import landed_days as sensor
from agent_roles_dagster.orchestration.sensors.landed_days import landed_sync_days
from tests.conftest import Pipeline
from tests.worlds import break_disk

RECORDS = [{"id": 10, "agents": [1, 2]}]
EVERYTHING = {"raw_roles", "stg_agent_roles", "agent_role_pipeline_errors", "agent_role_mapping"}


class Watch:
    """The sensor and the automation as the daemon has them take turns, and where files land."""

    def __init__(self, landing: str, instance: dg.DagsterInstance) -> None:
        self.landing = landing
        self.instance = instance
        self.cursor: str | None = None
        self.said = ""
        self.requests: list[dg.RunRequest] = []
        self._conditions = None

    def write(self, sync_day: str, name: str, content: str, *, seconds_ago: int = 3600) -> None:
        path = f"{self.landing}/{sync_day}/{name}"
        with fsspec.open(path, "w", auto_mkdir=True) as stream:
            stream.write(content)
        if not path.startswith("memory:"):
            moment = time.time() - seconds_ago
            os.utime(path, (moment, moment))

    def land(self, sync_day: str, agents: list[int], *, whole: bool = True) -> None:
        """A file, and if it is the whole dump, the manifest that says so."""
        self.write(sync_day, "roles.json", json.dumps([{"id": 10, "agents": agents}]))
        files = [{"name": "roles.json"}, *([] if whole else [{"name": "more.json"}])]
        self.write(sync_day, "_manifest.json", json.dumps({"files": files}), seconds_ago=0)

    def notices(self) -> list[str]:
        """The days that a tick of the sensor reports."""
        with dg.build_sensor_context(self.instance, cursor=self.cursor) as context:
            result = landed_sync_days(context)
        assert isinstance(result, dg.SensorResult)
        for event in result.asset_events:
            self.instance.report_runless_asset_event(event)
        self.cursor = result.cursor
        self.requests = list(result.run_requests or [])
        self.said = (result.skip_reason and result.skip_reason.skip_message) or ""
        assert self.said or self.requests
        return [str(event.partition) for event in result.asset_events if event.partition]

    def launches(self) -> dict[str, set[str]]:
        """Which assets a tick of the automation asks for, by day."""
        result = dg.evaluate_automation_conditions(defs, self.instance, cursor=self._conditions)
        self._conditions = result.cursor
        asked: dict[str, set[str]] = {}
        for each in result.results:
            for day in result.get_requested_partitions(each.key):
                asked.setdefault(str(day), set()).add(each.key.to_user_string())
        return asked

    def registered(self) -> list[str]:
        return list(self.instance.get_dynamic_partitions(SYNC_DAY))


@pytest.fixture
def landing(tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """A landing folder in the file system, or in memory, which like a bucket has no folders."""
    return getattr(request, "param", None) or str(tmp_path / "admin_roles")


@pytest.fixture
def watch(landing: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    monkeypatch.setenv("AGENT_ROLES_LANDING", landing)
    monkeypatch.setenv("AGENT_ROLES_SETTLE_SECONDS", "3600")
    with dg.DagsterInstance.ephemeral() as instance:
        yield Watch(landing, instance)


def test_a_day_whose_manifest_lists_what_is_there_is_registered_and_run_once(watch: Watch) -> None:
    watch.land("day10", [1])
    watch.land("day9", [1])
    assert watch.notices() == ["day9", "day10"]
    assert watch.registered() == ["day9", "day10"]
    assert watch.launches() == {"day9": EVERYTHING, "day10": EVERYTHING}
    # No run has come to anything yet, nor will one that fails.
    assert watch.notices() == []
    assert watch.launches() == {}


@pytest.mark.parametrize(
    ("has_manifest", "why"),
    [
        (True, "the manifest lists its files"),
        (False, "nothing had changed for 3600 seconds"),
    ],
)
def test_of_a_day_that_landed_it_is_shown_what_landed(
    watch: Watch, monkeypatch: pytest.MonkeyPatch, has_manifest: bool, why: str
) -> None:
    watch.write("day1", "roles.json", json.dumps(RECORDS * 100), seconds_ago=9000)
    watch.write("day1", "notes.txt", "no dump", seconds_ago=9000)
    if has_manifest:
        files = {"files": [{"name": "roles.json"}]}
        watch.write("day1", "_manifest.json", json.dumps(files), seconds_ago=0)
    else:
        later = time.time() + 4000
        monkeypatch.setattr(sensor.time, "time", lambda: later)
    assert watch.notices() == ["day1"]
    key = dg.AssetKey("landed_dump")
    [record] = watch.instance.fetch_materializations(key, limit=1).records
    assert record.asset_materialization is not None
    shown = {name: each.value for name, each in record.asset_materialization.metadata.items()}
    changed_at = shown.pop("last changed at")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", changed_at)
    assert shown == {
        "dagster/uri": f"{watch.landing}/day1",
        "files": 1,
        "size": f"{len(json.dumps(RECORDS * 100)):,} bytes",
        "complete because": why,
    }


def test_a_day_that_lands_again_runs_again_even_while_it_is_asked_for(watch: Watch) -> None:
    assert watch.launches() == {}
    watch.land("day1", [1])
    watch.notices()
    assert watch.launches().keys() == {"day1"}
    for agents in ([1, 2], [1, 3, 5]):
        watch.land("day1", agents)
        watch.write("day1", "_1.part", "somebody's note")
        assert watch.notices() == ["day1"]
        assert watch.launches() == {"day1": EVERYTHING}
    assert watch.notices() == []
    assert watch.launches() == {}


@pytest.mark.parametrize("landing", [None, "memory://not-all-there"], indirect=True)
def test_a_day_that_is_not_all_there_waits(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    watch.land("day1", [1], whole=False)
    watch.write("day2", "roles.json", json.dumps(RECORDS), seconds_ago=0)
    watch.write("day3", "roles.json", json.dumps(RECORDS), seconds_ago=0)
    watch.write("day3", "_manifest.json", '{"files": [{"na', seconds_ago=0)
    assert watch.notices() == []
    assert watch.said == "day1, day2, day3 still landing"
    assert watch.registered() == []
    assert watch.launches() == {}
    watch.write("day1", "more.json", json.dumps(RECORDS))
    watch.land("day1", [1], whole=False)
    assert watch.notices() == ["day1"]
    # Nothing changes any more: they are what they are, and a run says what is wrong with them.
    monkeypatch.setenv("AGENT_ROLES_SETTLE_SECONDS", "0")
    assert watch.notices() == ["day2", "day3"]
    assert watch.launches() == dict.fromkeys(("day1", "day2", "day3"), EVERYTHING)


def test_days_that_landed_before_it_was_switched_on_run_if_they_never_did(watch: Watch) -> None:
    watch.land("day1", [1])
    watch.land("day2", [1])
    watch.notices()
    watch.instance.report_runless_asset_event(
        dg.AssetMaterialization("raw_roles", partition="day1")
    )
    assert watch.launches() == {"day2": EVERYTHING}
    # What was reported while the automation looked for the first time, it sees again as new.
    watch.land("day2", [2])
    watch.notices()
    assert watch.launches() == {}
    watch.land("day2", [3])
    watch.notices()
    assert watch.launches() == {"day2": EVERYTHING}


def test_a_day_that_somebody_staged_to_look_at_it_is_not_applied(pipeline: Pipeline) -> None:
    watch = Watch(str(pipeline.landing), pipeline.instance)
    watch.land("day1", [1])
    watch.notices()
    assert watch.launches() == {"day1": EVERYTHING}
    assert watch.launches() == {}
    staged = pipeline.run("day1", select=",".join(EVERYTHING - {"agent_role_mapping"}))
    assert staged.success
    assert watch.launches() == {}
    assert watch.launches() == {}


def test_a_day_that_is_reported_anew_did_not_land(pipeline: Pipeline) -> None:
    """The day after a late one: its removals are others now."""
    watch = Watch(str(pipeline.landing), pipeline.instance)
    watch.land("day1", [1])
    watch.land("day3", [1, 2])
    assert watch.notices() == ["day1", "day3"]
    assert watch.launches().keys() == {"day1", "day3"}
    for day in ("day1", "day3"):
        assert pipeline.run(day).success
    watch.land("day2", [1, 3])
    assert watch.notices() == ["day2"]
    assert watch.launches().keys() == {"day2"}
    late = pipeline.run("day2")
    reported = {str(event.partition) for event in late.get_asset_materialization_events()}
    assert reported == {"day2", "day3"}
    for _ in range(2):
        assert watch.notices() == []
        assert watch.launches() == {}


def test_a_day_that_somebody_registered_runs_when_it_has_landed(watch: Watch) -> None:
    watch.launches()
    watch.instance.add_dynamic_partitions(SYNC_DAY, ["day1"])
    assert watch.launches() == {}
    watch.land("day1", [1])
    assert watch.notices() == ["day1"]
    assert watch.launches() == {"day1": EVERYTHING}


def test_a_day_whose_folder_is_gone_is_offered_no_more_unless_it_was_run(watch: Watch) -> None:
    for day in ("day1", "day2", "day3"):
        watch.land(day, [1])
    assert watch.notices() == ["day1", "day2", "day3"]
    ran = dg.AssetMaterialization("raw_roles", partition="day2")
    watch.instance.report_runless_asset_event(ran)
    for day in ("day2", "day3"):
        shutil.rmtree(Path(watch.landing) / day)
    assert watch.notices() == []
    assert watch.registered() == ["day1", "day2"]
    watch.land("day3", [1])
    assert watch.notices() == ["day3"]
    assert watch.registered() == ["day1", "day2", "day3"]
    # Somebody takes one out by hand, whose folder is still there.
    watch.instance.delete_dynamic_partition(SYNC_DAY, "day3")
    assert watch.notices() == ["day3"]
    assert watch.registered() == ["day1", "day2", "day3"]


def test_what_is_written_while_the_manifest_is_there_already_is_waited_for(watch: Watch) -> None:
    watch.land("day1", [1])
    moment = time.time() + 1000
    os.utime(f"{watch.landing}/day1/roles.json", (moment, moment))
    assert watch.notices() == []


def fail_to_list(disk: pytest.MonkeyPatch, day: str) -> None:
    listed = LocalFileSystem.ls

    def fail(fs: LocalFileSystem, path: str, *args: Any, **options: Any) -> Any:
        if path.endswith(day):
            raise OSError(errno.ESTALE, "private")
        return listed(fs, path, *args, **options)

    disk.setattr(LocalFileSystem, "ls", fail)


def test_a_day_that_cannot_be_looked_into_is_named_and_keeps_no_other_waiting(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    for day in ("day1", "day2", "day3"):
        watch.land(day, [1])
    with monkeypatch.context() as disk:
        fail_to_list(disk, "day2")
        assert watch.notices() == ["day1", "day3"]
        assert watch.said == "day1, day3 landed; day2 can't be looked into (OSError)"
    assert watch.notices() == ["day2"]


def test_a_look_that_takes_too_long_goes_on_at_the_next_tick(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    for day in ("day1", "day2", "day3", "day4"):
        watch.land(day, [1])
    # A clock by which each look takes fifteen seconds.
    clock = SimpleNamespace(time=time.time, monotonic=count(0, 15).__next__)
    monkeypatch.setattr(sensor, "time", clock)
    assert watch.notices() == ["day1", "day2"]
    assert watch.said == "day1, day2 landed; the others at the next tick"
    # Of those that are there already, one is looked into each time.
    assert watch.notices() == ["day3"]
    assert watch.notices() == ["day4"]


def test_the_old_days_are_looked_into_in_turn(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog, "_MANY", 90)
    days = [f"day{number}" for number in range(1, 91)]
    for day in days:
        watch.land(day, [1])
    assert watch.notices() == days
    # Of the seventy that are not the newest, thirty are looked into at each tick.
    for day in ("day10", "day40", "day70"):
        watch.land(day, [1, 2])
    assert [watch.notices() for _ in range(4)] == [["day10"], ["day40"], ["day70"], []]


def test_a_landing_folder_that_is_gone_for_a_moment_takes_no_day_with_it(watch: Watch) -> None:
    """As where its disk is mounted anew. A day that is registered anew would run again."""
    watch.land("day1", [1])
    watch.land("day2", [1])
    assert watch.notices() == ["day1", "day2"]
    landing, away = Path(watch.landing), Path(f"{watch.landing}-away")
    landing.rename(away)
    for _ in range(2):
        assert watch.notices() == []
        landing.mkdir(exist_ok=True)
    assert watch.registered() == ["day1", "day2"]
    landing.rmdir()
    away.rename(landing)
    assert watch.notices() == []


def test_a_landing_folder_that_is_not_there_yet_has_no_days(
    watch: Watch, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AGENT_ROLES_LANDING", str(tmp_path / "nowhere"))
    assert watch.notices() == []
    assert watch.said.endswith("/nowhere, which AGENT_ROLES_LANDING names, is not there")


# Many days at once


@pytest.fixture
def first_start(
    pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Watch]:
    """Automation is on, and nothing was ever run; its instance is as on a disk."""
    monkeypatch.setenv("AGENT_ROLES_SETTLE_SECONDS", "3600")
    monkeypatch.setenv("AGENT_ROLES_AUTOMATION", "on")
    (tmp_path / "instance").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "instance")) as instance:
        yield Watch(str(pipeline.landing), instance)


def land_twelve(watch: Watch) -> list[str]:
    days = [f"day{number}" for number in range(1, 13)]
    for number, day in enumerate(days, 1):
        watch.land(day, [1, number])
    return days


def an_event(watch: Watch) -> None:
    """Without any, the sensor asks for nothing before its next look."""
    watch.instance.report_runless_asset_event(dg.AssetMaterialization("somebody_elses"))


def requested(watch: Watch) -> dg.RunRequest:
    """The run that is requested for twelve days."""
    land_twelve(watch)
    an_event(watch)
    watch.launches()
    watch.notices()
    [request] = watch.requests
    return request


def run_request(watch: Watch, request: dg.RunRequest, **more: Any) -> dg.ExecuteInProcessResult:
    return defs.resolve_job_def("load_landed_days").execute_in_process(
        instance=watch.instance, run_config=request.run_config, raise_on_error=False, **more
    )


def days_of(request: dg.RunRequest) -> list[str]:
    return list(request.run_config["ops"]["load_days"]["config"]["days"])


def test_many_days_that_were_never_run_are_one_run_in_their_order_and_no_landings(
    first_start: Watch,
) -> None:
    watch = first_start
    days = [f"day{number}" for number in range(1, 13)]
    for day in reversed(days):
        watch.land(day, [1, int(day[3:])])
    watch.land("day99", [1], whole=False)
    assert watch.notices() == []
    assert watch.requests == []
    assert watch.launches() == {}
    assert watch.notices() == []
    [request] = watch.requests
    assert days_of(request) == days
    # Who looks at the interface sees them, and may run one by hand.
    assert watch.registered() == days
    # It is asked for once, as Dagster goes by the key.
    assert watch.launches() == {}
    assert watch.notices() == []
    assert [again.run_key for again in watch.requests] == [request.run_key]
    assert watch.launches() == {}
    result = run_request(watch, request)
    assert result.success
    assert watch.instance.get_materialized_partitions(dg.AssetKey("agent_role_mapping")) == {*days}
    for _ in range(3):
        assert watch.launches() == {}
        assert watch.notices() == []
        assert watch.requests == []
    # From now on as ever.
    watch.land("day13", [1])
    watch.land("day2", [1, 22])
    assert sorted(watch.notices()) == ["day13", "day2"]
    assert watch.launches() == {"day13": EVERYTHING, "day2": EVERYTHING}


def test_while_many_days_wait_the_tick_says_what_for(
    first_start: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = first_start
    for number in range(1, 13):
        watch.land(f"day{number}", [1], whole=number > 1)
    wait = "12 days wait for load_landed_days: "
    assert watch.notices() == []
    assert watch.said == f"{wait}the first of them is still landing; day1 still landing"
    watch.land("day1", [1])
    assert watch.notices() == []
    assert watch.said == f"{wait}its run is requested at the next tick"
    assert watch.notices() == []
    [request] = watch.requests
    # The failure of another job, long ago, is no reason for another run.
    job = defs.resolve_job_def("load_day")
    watch.instance.create_run_for_job(job, status=dg.DagsterRunStatus.FAILURE)
    late = SimpleNamespace(time=lambda: time.time() + 4000)
    monkeypatch.setattr(backlog, "time", late)
    assert watch.notices() == []
    assert [again.run_key for again in watch.requests] == [request.run_key]


def test_if_none_of_many_days_can_be_looked_into_the_tick_says_so(
    first_start: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = first_start
    land_twelve(watch)
    wait = "12 days wait for load_landed_days: "
    with monkeypatch.context() as disk:
        fail_to_list(disk, "")
        # The landing folder itself can be listed.
        disk.setattr(sensor, "landed_days", lambda _: [f"day{number}" for number in range(1, 13)])
        assert watch.notices() == []
    assert watch.requests == []
    assert watch.said.startswith(
        f"{wait}none of them can be looked into; day1 can't be looked into (OSError); "
    )
    # A clock by which the time is over before the first look.
    clock = SimpleNamespace(time=time.time, monotonic=count(0, 40).__next__)
    monkeypatch.setattr(sensor, "time", clock)
    assert watch.notices() == []
    assert watch.said == f"{wait}this tick had no time for them; the others at the next tick"


def test_a_refused_day_among_many_is_not_run_once_more_and_keeps_no_other_waiting(
    first_start: Watch,
) -> None:
    watch = first_start
    land_twelve(watch)
    for day, content in (("day3", "["), ("day4", "")):
        watch.write(day, "roles.json", content)
        files = [{"name": "roles.json"}]
        watch.write(day, "_manifest.json", json.dumps({"files": files}), seconds_ago=0)
    an_event(watch)
    assert watch.launches() == {}
    watch.notices()
    [request] = watch.requests
    assert not run_request(watch, request).success
    assert len(watch.instance.get_materialized_partitions(dg.AssetKey("agent_role_mapping"))) == 10
    for _ in range(2):
        assert watch.notices() == []
        assert watch.requests == []
        assert watch.launches() == {}
    # Until it lands again.
    watch.land("day3", [1, 3])
    assert watch.notices() == ["day3"]
    assert watch.launches() == {"day3": EVERYTHING}


@pytest.mark.parametrize("is_cancelled", [False, True])
def test_a_look_in_the_middle_of_such_a_run_takes_no_day_for_one_that_landed(
    first_start: Watch, is_cancelled: bool
) -> None:
    watch = first_start
    request = requested(watch)
    job = defs.resolve_job_def("load_landed_days")
    run = watch.instance.create_run_for_job(job, run_config=request.run_config, tags=job.tags)
    # As it is queued, or imports its packages.
    watch.land("day13", [1])
    assert watch.notices() == []
    assert watch.requests == []
    assert watch.said == "13 days wait for load_landed_days: its run is not over"
    # As it has read a day, and stages it.
    watch.instance.report_dagster_event(_event(run, dg.DagsterEventType.RUN_START), run.run_id)
    read = dg.AssetMaterialization("raw_roles", partition="day1")
    watch.instance.report_runless_asset_event(read)
    assert watch.notices() == []
    assert watch.launches() == {}
    # It was killed, and could not say so. Nor could it end as somebody asked it to.
    if is_cancelled:
        canceling = _event(run, dg.DagsterEventType.RUN_CANCELING)
        watch.instance.report_dagster_event(canceling, run.run_id)
    late = SimpleNamespace(time=lambda: time.time() + 4000, monotonic=time.monotonic)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backlog, "time", late)
        assert watch.notices() == ["day1"]
        assert days_of(watch.requests[0]) == [f"day{number}" for number in range(2, 14)]


def test_a_load_that_failed_is_asked_for_again_an_hour_later_and_says_so_until_then(
    first_start: Watch, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = first_start
    request = requested(watch)
    monkeypatch.setenv("AGENT_ROLES_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    monkeypatch.setattr(retries, "SECONDS", 0.05)
    assert not run_request(watch, request, tags={RUN_KEY_TAG: request.run_key}).success
    monkeypatch.setenv("AGENT_ROLES_DATABASE_URL", pipeline.database)
    assert watch.notices() == []
    assert watch.requests == []
    assert watch.said == (
        "12 days wait for load_landed_days: its last run for them failed, and it is run again"
        " within an hour; to have it sooner, run it"
    )
    late = SimpleNamespace(time=lambda: time.time() + 4000, monotonic=time.monotonic)
    monkeypatch.setattr(backlog, "time", late)
    assert watch.notices() == []
    [again] = watch.requests
    assert (days_of(again), again.run_key == request.run_key) == (days_of(request), False)
    assert run_request(watch, again).success


def test_many_days_that_are_still_being_copied_are_loaded_up_to_the_first_that_is_not_whole(
    first_start: Watch,
) -> None:
    watch = first_start
    an_event(watch)
    for number in range(1, 31):
        watch.land(f"day{number}", [1, number], whole=number in (1, 2, 10, 11))
    assert watch.notices() == []
    assert days_of(watch.requests[0]) == ["day1", "day2"]


def test_many_days_are_loaded_without_one_that_cannot_be_looked_into(
    first_start: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = first_start
    an_event(watch)
    days = land_twelve(watch)
    fail_to_list(monkeypatch, "day3")
    assert watch.notices() == []
    assert days_of(watch.requests[0]) == [day for day in days if day != "day3"]


def test_a_day_that_the_store_does_not_give_keeps_no_other_of_many_waiting(
    first_start: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = first_start
    request = requested(watch)
    break_disk(monkeypatch, "day3")
    result = run_request(watch, request)
    assert not result.success
    done = watch.instance.get_materialized_partitions(dg.AssetKey("agent_role_mapping"))
    assert done == {*days_of(request)} - {"day3"}
    # Its landing is left to the sensor: the day's own run then has its retries.
    landed = watch.instance.get_materialized_partitions(dg.AssetKey("landed_dump"))
    assert landed == done


def _event(run: dg.DagsterRun, kind: dg.DagsterEventType) -> dg.DagsterEvent:
    return dg.DagsterEvent(event_type_value=kind.value, job_name=run.job_name, message="begun")


@pytest.mark.parametrize("switch", ["the setting", "the switch in the interface"])
def test_where_automation_is_off_many_days_wait_for_somebody_to_load_them(
    first_start: Watch, monkeypatch: pytest.MonkeyPatch, switch: str
) -> None:
    watch = first_start
    an_event(watch)
    days = land_twelve(watch)
    if switch == "the setting":
        monkeypatch.setenv("AGENT_ROLES_AUTOMATION", "off")
    else:
        _switch(watch.instance, InstigatorStatus.STOPPED)
    assert watch.notices() == []
    assert watch.requests == []
    assert watch.said == "12 days wait for load_landed_days: run it, as automation is off"
    assert watch.registered() == days
    assert watch.launches() == {}
    # Switched on: the days are loaded in their order, though they were registered before.
    monkeypatch.setenv("AGENT_ROLES_AUTOMATION", "on")
    if switch != "the setting":
        monkeypatch.setenv("AGENT_ROLES_AUTOMATION", "off")
        _switch(watch.instance, InstigatorStatus.RUNNING)
    assert watch.notices() == []
    assert days_of(watch.requests[0]) == days
    assert watch.launches() == {}


def _switch(instance: dg.DagsterInstance, status: InstigatorStatus) -> None:
    origin = RemoteInstigatorOrigin(
        RemoteRepositoryOrigin(
            RegisteredCodeLocationOrigin("agent_roles_dagster.definitions"), "__repository__"
        ),
        "landed_days_run",
    )
    state = InstigatorState(origin, InstigatorType.SENSOR, status)
    known = instance.get_instigator_state(state.instigator_origin_id, state.selector_id)
    (instance.update_instigator_state if known else instance.add_instigator_state)(state)
