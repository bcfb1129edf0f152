"""Many days in one run: the same tables and the same reports as a run for each, in their order.

`AGENT_ROLES_TEST_LOAD_KILLS` says how often such a run is killed (3 if not set).
"""

import json
import os
import random
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
import pytest
from dagster._core.event_api import PartitionKeyFilter

from agent_roles_dagster.definitions import defs
from agent_roles_dagster.landing.days import landed_days
from agent_roles_dagster.orchestration import checks, reports, retries, stale_reports
from agent_roles_dagster.orchestration.automation import LOAD
from agent_roles_dagster.orchestration.many_days.config import LoadConfig, run_config
from agent_roles_dagster.orchestration.many_days.day_by_day import DayByDay
from agent_roles_dagster.orchestration.partitions import SYNC_DAY
from agent_roles_dagster.postgres.connection import connect
from tests.conftest import Pipeline, empty_database
from tests.processes import LOAD_COMMAND, killed_at_the_end, start_command
from tests.worlds import break_disk, tables, write_day

DAYS = ("day1", "day2", "day9", "day10")
KILLS = int(os.environ.get("AGENT_ROLES_TEST_LOAD_KILLS", "3"))
ASSETS = ("raw_roles", "stg_agent_roles", "agent_role_pipeline_errors", "agent_role_mapping")


def load(pipeline: Pipeline, **config: Any) -> dg.ExecuteInProcessResult:
    """Run the job; a failure is in the result, not raised."""
    return defs.resolve_job_def(LOAD).execute_in_process(
        instance=pipeline.instance, run_config=run_config(**config), raise_on_error=False
    )


def loaded(result: dg.ExecuteInProcessResult) -> list[str]:
    """The days that the run says it loaded, in that order."""
    for event in result.all_events:
        if event.is_step_failure:
            failure = event.step_failure_data.user_failure_data
            assert failure is not None, event.step_failure_data
            return _names(failure.metadata)
        if event.event_type == dg.DagsterEventType.STEP_OUTPUT:
            return _names(event.step_output_data.metadata)
    raise AssertionError("the run has no end")


def _names(metadata: Any) -> list[str]:
    return str(metadata["days loaded"].value).split(", ") if metadata["loaded"].value else []


def why(result: dg.ExecuteInProcessResult) -> tuple[str, str]:
    """The outcome of a run that failed, and what it says."""
    [data] = [event.step_failure_data for event in result.all_events if event.is_step_failure]
    failure = data.user_failure_data
    assert failure is not None, data
    return str(failure.metadata["outcome"].value), str(failure.description)


def results_of(pipeline: Pipeline, day: str) -> dict[str, bool]:
    """Whether each check passed, by its newest result for the day."""
    storage = pipeline.instance.event_log_storage
    keys = list(defs.resolve_asset_graph().asset_check_keys)
    newest = storage.get_latest_asset_check_execution_by_key(keys, PartitionKeyFilter(key=day))
    assert newest.keys() == {*keys}
    return {key.name: record.evaluation.passed for key, record in newest.items()}  # type: ignore[union-attr]


def land(pipeline: Pipeline, day: str, agents: list[Any], **manifest: Any) -> None:
    files = {"roles.json": json.dumps([{"id": 10, "agents": agents}])}
    if manifest:
        files["_manifest.json"] = json.dumps(manifest)
    pipeline.write(day, files)


def shown(instance: dg.DagsterInstance) -> dict[tuple[str, str], Any]:
    """What the interface has of each day: the newest metadata, and each check's newest result."""
    found: dict[tuple[str, str], Any] = {}
    for day in instance.get_dynamic_partitions(SYNC_DAY):
        for asset in ASSETS:
            [record] = instance.fetch_materializations(
                dg.AssetRecordsFilter(dg.AssetKey(asset), asset_partitions=[day]), limit=1
            ).records
            event = record.asset_materialization
            assert event is not None
            # Where the files are and what took how long differs.
            metadata = dict(event.metadata)
            metadata.pop("time spent", None)
            metadata.pop("dagster/uri", None)
            version = (event.tags or {}).get("dagster/data_version")
            found[day, asset] = metadata, version if asset == "raw_roles" else None
        for key in defs.resolve_asset_graph().asset_check_keys:
            newest = instance.event_log_storage.get_latest_asset_check_execution_by_key(
                [key], PartitionKeyFilter(key=day)
            )
            evaluation = newest[key].evaluation
            assert isinstance(evaluation, dg.AssetCheckEvaluation)
            found[day, key.name] = (
                evaluation.passed,
                evaluation.severity,
                evaluation.description,
                evaluation.metadata,
            )
    return found


# What it loads


def test_tables_and_what_is_shown_are_as_if_each_day_had_run_by_itself(
    pipeline: Pipeline, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for day in DAYS:
        write_day(pipeline.landing, day, seed=int(day[3:]))
    pipeline.instance.add_dynamic_partitions(SYNC_DAY, ["day10", "day2"])
    result = load(pipeline)
    assert loaded(result) == list(DAYS)
    with empty_database(server) as url, dg.DagsterInstance.ephemeral() as instance:
        singly = replace(pipeline, database=url, instance=instance)
        singly.use(monkeypatch)
        for day in DAYS:
            instance.add_dynamic_partitions(SYNC_DAY, [day])
            assert singly.run(day).success
        assert tables(pipeline.database) == tables(singly.database)
        ours, theirs = shown(pipeline.instance), shown(instance)
        assert ours.keys() == theirs.keys()
        for what, value in theirs.items():
            assert ours[what] == value, what


def test_what_is_staged_as_it_landed_is_not_loaded_again_unless_asked_for(
    pipeline: Pipeline,
) -> None:
    for day in DAYS:
        write_day(pipeline.landing, day, seed=int(day[3:]))
    assert pipeline.run("day2").success
    assert loaded(load(pipeline)) == ["day1", "day9", "day10"]
    again = load(pipeline)
    assert again.success
    assert loaded(again) == []
    # Another content; the same at another time; the same, to the letter.
    write_day(pipeline.landing, "day9", seed=99)
    manifest = pipeline.landing / "day1" / "_manifest.json"
    manifest.write_text(json.dumps({"observed_at": "2026-01-01T05:00:00Z"}))
    write_day(pipeline.landing, "day10", seed=10)
    assert loaded(load(pipeline)) == ["day1", "day9"]
    assert pipeline.rows("SELECT observed_at::text FROM agent_role_sync_days WHERE day_no = 1") == [
        ("2026-01-01 05:00:00",)
    ]
    assert loaded(load(pipeline, again=True, days=["day10", "day2"])) == ["day2", "day10"]


def test_a_day_that_was_staged_and_not_applied_is_applied(pipeline: Pipeline) -> None:
    land(pipeline, "day1", [1, 2])
    assert pipeline.run("day1", select=",".join(ASSETS[:3])).success
    assert loaded(load(pipeline)) == ["day1"]
    assert len(pipeline.rows("SELECT FROM agent_role_mapping")) == 2


def test_a_day_whose_table_somebody_dropped_is_loaded_again(pipeline: Pipeline) -> None:
    land(pipeline, "day1", [1, 2])
    land(pipeline, "day2", [1, 3])
    assert load(pipeline).success
    pipeline.execute('DROP TABLE public_days."stg_agent_roles_day2"')
    assert loaded(load(pipeline)) == ["day2"]
    assert len(pipeline.rows("SELECT FROM stg_agent_roles")) == 2 + 3


def test_from_and_to_bound_the_days(pipeline: Pipeline) -> None:
    for number in (1, 2, 9, 10, 11):
        land(pipeline, f"day{number}", [1, number])
    # Neither of these has landed.
    assert loaded(load(pipeline, from_="day3", to="day10")) == ["day9", "day10"]
    assert loaded(load(pipeline, to="day1")) == ["day1"]
    assert loaded(load(pipeline, from_="day10")) == ["day11"]


# Refused days


def test_a_held_day_ends_the_run_there_and_the_same_command_goes_on(pipeline: Pipeline) -> None:
    land(pipeline, "day1", [*range(20)])
    land(pipeline, "day2", [])
    land(pipeline, "day3", [*range(19)])
    stopped = load(pipeline)
    assert loaded(stopped) == ["day1"]
    outcome, said = why(stopped)
    assert outcome == "held"
    assert said.startswith("Loaded 1 of 3 days: day1.\nday2 (held): day2 is held: ")
    assert "\nNot reached: 1 day: day3.\n" in said
    assert "run the job again" in said
    # In day2's place nothing is staged, and its errors are on record.
    assert pipeline.rows("SELECT sync_day FROM agent_role_sync_days WHERE held_at IS NOT NULL") == [
        ("day2",)
    ]
    accepted = load(
        pipeline, accept_removals={"day2": "the tenant was closed"}, approver="TICKET-7"
    )
    assert loaded(accepted) == ["day2", "day3"]
    assert pipeline.rows(
        "SELECT accepted_reason, accepted_by FROM agent_role_sync_days ORDER BY day_no"
    ) == [(None, None), ("the tenant was closed", "TICKET-7"), (None, None)]


@pytest.mark.parametrize("is_known", [True, False])
def test_a_staged_day_that_was_held_since_is_loaded_again_once_its_dump_is_back(
    pipeline: Pipeline, is_known: bool
) -> None:
    for day in ("day1", "day2"):
        land(pipeline, day, [*range(20)])
    assert load(pipeline).success
    land(pipeline, "day2", ["x"])
    # The check's result says so, or else the number of errors.
    with dg.DagsterInstance.ephemeral() as elsewhere:
        where = pipeline if is_known else replace(pipeline, instance=elsewhere)
        assert why(load(where))[0] == "held"
    land(pipeline, "day2", [*range(20)])
    assert loaded(load(pipeline)) == ["day2"]
    assert pipeline.rows("SELECT FROM agent_role_pipeline_errors") == []
    assert all(results_of(pipeline, "day2").values())
    assert loaded(load(pipeline)) == []


def test_refused_days_are_left_out_if_asked_for_and_the_run_fails_in_the_end(
    pipeline: Pipeline,
) -> None:
    land(pipeline, "day1", [*range(20)])
    land(pipeline, "day2", [])
    pipeline.write("day3", {"roles.json": '[{"id": 10,'})
    pipeline.write("day4", {"notes.txt": "nothing yet"})
    land(pipeline, "day5", [*range(1, 21)])
    result = load(pipeline, on_refused="skip")
    assert loaded(result) == ["day1", "day5"]
    outcome, said = why(result)
    assert outcome == "held, unreadable"
    lines = said.splitlines()
    assert lines[0] == "Loaded 2 of 5 days: day1, day5."
    assert [line.split(":")[0] for line in lines[1:4]] == [
        "day2 (held)",
        "day3 (unreadable)",
        "day4 (unreadable)",
    ]
    # As after a run of its own: the day's check failed, and says why.
    for day in ("day2", "day3", "day4"):
        key = dg.AssetCheckKey(dg.AssetKey("stg_agent_roles"), "day_may_be_staged")
        newest = pipeline.instance.event_log_storage.get_latest_asset_check_execution_by_key(
            [key], PartitionKeyFilter(key=day)
        )[key].evaluation
        assert isinstance(newest, dg.AssetCheckEvaluation)
        assert not newest.passed
        assert newest.description is not None
        assert newest.description.startswith(day)
    # Red are the partitions that each day did not come to: only day4 could not even be sealed.
    red = {asset: pipeline.failed_days(asset) for asset in ASSETS}
    assert red.pop("raw_roles") == {"day4"}
    assert set(map(frozenset, red.values())) == {frozenset({"day2", "day3", "day4"})}
    # Its own run would show the same of it.
    results = {day: results_of(pipeline, day) for day in ("day2", "day3", "day4")}
    for day in results:
        pipeline.run(day)
        assert results_of(pipeline, day) == results[day]
    assert red == {asset: pipeline.failed_days(asset) for asset in red}
    # What day5 took away is compared with day1, the last one that was staged.
    assert pipeline.rows("SELECT agent_id, status FROM agent_role_mapping WHERE agent_id = 0") == [
        (0, "removed")
    ]


def test_a_day_whose_blocking_check_fails_is_not_applied_and_ends_the_run(
    pipeline: Pipeline,
) -> None:
    land(pipeline, "day1", [1, 2])
    land(pipeline, "day2", [1, 3])
    assert load(pipeline, to="day1").success
    # Somebody's trigger adds a row that is none to each day that is staged from now on.
    pipeline.execute(
        """
        CREATE FUNCTION spoil() RETURNS TRIGGER LANGUAGE plpgsql AS $$ BEGIN
            INSERT INTO stg_agent_roles (status, sync_day) VALUES ('assigned', NEW.sync_day);
            RETURN NULL;
        END $$;
        CREATE TRIGGER spoil AFTER INSERT OR UPDATE OF staged_at ON agent_role_sync_days
        FOR EACH ROW WHEN (NEW.staged_at IS NOT NULL) EXECUTE FUNCTION spoil();
        """
    )
    stopped = load(pipeline)
    outcome, said = why(stopped)
    assert outcome == "checks failed"
    assert "these checks failed: agent_id_is_not_null, role_id_is_not_null, conservation" in said
    assert loaded(stopped) == []
    assert pipeline.rows("SELECT agent_id FROM agent_role_mapping ORDER BY 1") == [(1,), (2,)]


# Its config


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"from_": "day01"}, "'day01' is not a sync day's name: a sync day is named"),
        ({"to": "today"}, "'today' is not a sync day's name"),
        ({"from_": "day2", "to": "day1"}, "from is 'day2', which comes after 'day1'"),
        ({"from_": "day7"}, "there is no day to load. Landed so far under"),
        ({"days": ["day1", "day7"]}, "'day7' has not landed"),
        ({"days": ["../day1"]}, "'../day1' is not a sync day's name"),
        ({"days": ["day1"], "to": "day2"}, "days names the days, so from and to can't be given"),
        ({"accept_removals": {"day7": "x"}}, "accept_removals names 'day7', which is none of"),
        (
            {"accept_removals": {"day2": "x"}, "to": "day1"},
            "accept_removals names 'day2', which is none of",
        ),
        ({"accept_removals": {"day1": " "}}, "accept_removals gives no reason for day1"),
    ],
)
def test_a_config_that_can_not_be_meant_is_refused_before_any_day(
    pipeline: Pipeline, config: dict[str, Any], sentence: str
) -> None:
    land(pipeline, "day1", [1])
    land(pipeline, "day2", [1])
    outcome, said = why(load(pipeline, **config))
    assert outcome == "refused"
    assert said.startswith(sentence)
    assert "Nothing was changed in any table. Correct the run's config" in said
    assert pipeline.instance.get_dynamic_partitions(SYNC_DAY) == []


def test_a_folder_where_nothing_landed_is_no_success(pipeline: Pipeline) -> None:
    assert why(load(pipeline))[1].startswith("there is no day to load. Landed so far under ")
    shutil.rmtree(pipeline.landing)
    assert "which AGENT_ROLES_LANDING names, is not there" in why(load(pipeline))[1]


def test_the_job_can_be_loaded_as_a_code_server_does() -> None:
    dg.Definitions.validate_loadable(defs)


def test_each_field_of_the_config_explains_itself_and_may_be_left_out() -> None:
    of_job = defs.resolve_job_def(LOAD).run_config_schema.run_config_schema_type
    fields = of_job.fields["ops"].config_type
    fields = fields.fields["load_days"].config_type.fields["config"].config_type.fields
    chosen = {"from", "to", "days", "again", "on_refused", "accept_removals", "approver"}
    assert set(fields) == chosen
    for name, field in fields.items():
        assert not field.is_required, name
        assert len(field.description.split()) > 5, name
    assert LoadConfig(**{"from": "day3"}).from_ == "day3"


# Beside others


@contextmanager
def held_by_somebody(pipeline: Pipeline, table: str, seconds: float) -> Iterator[None]:
    """Another run has the turn, for so long."""
    is_held = threading.Event()

    def hold() -> None:
        with psycopg.connect(pipeline.database) as connection:
            connection.execute(f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE".encode())
            is_held.set()
            time.sleep(seconds)

    other = threading.Thread(target=hold)
    other.start()
    is_held.wait()
    yield
    other.join()


def test_it_takes_turns_with_another_run_and_says_that_it_waits(
    pipeline: Pipeline, capfd: pytest.CaptureFixture[str]
) -> None:
    land(pipeline, "day1", [1])
    assert load(pipeline).success
    land(pipeline, "day2", [1, 2])
    land(pipeline, "day3", [1, 2, 3])
    with held_by_somebody(pipeline, "agent_role_turn", seconds=4):
        assert loaded(load(pipeline)) == ["day2", "day3"]
    assert "day2: waiting, since another run is staging a day" in capfd.readouterr().err


def test_days_that_another_run_loaded_are_shown_where_runs_are_kept(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for day in DAYS:
        write_day(pipeline.landing, day, seed=int(day[3:]))
    with dg.DagsterInstance.ephemeral() as elsewhere:
        assert load(replace(pipeline, instance=elsewhere)).success
        # Where nothing is kept, nobody is told.
        assert load(pipeline).get_asset_materialization_events() == []
        monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
        assert loaded(load(pipeline)) == []
        # Where they are shown only now, a check that fails ends nothing.
        ours, theirs = shown(pipeline.instance), shown(elsewhere)
    for (day, what), value in theirs.items():
        if what == "agent_role_mapping":  # How many rows that run changed is its own affair.
            value = ({k: v for k, v in value[0].items() if not k.startswith("rows ")}, None)
        assert ours[day, what] == value, (day, what)
    assert load(pipeline).get_asset_materialization_events() == []
    assert landed_days(str(pipeline.landing)) == pipeline.instance.get_dynamic_partitions(SYNC_DAY)


def test_a_check_that_fails_for_a_day_that_another_run_loaded_stops_no_other_day(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    land(pipeline, "day1", [1, 2])
    with dg.DagsterInstance.ephemeral() as elsewhere:
        assert load(replace(pipeline, instance=elsewhere)).success
    pipeline.execute("INSERT INTO stg_agent_roles (status, sync_day) VALUES ('assigned', 'day1')")
    land(pipeline, "day2", [1, 2])
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    result = load(pipeline)
    assert results_of(pipeline, "day1")["agent_id_is_not_null"] is False
    assert loaded(result) == ["day2"]


# Killed


@pytest.mark.timeout(300 + 60 * KILLS)
def test_a_run_killed_at_any_moment_leaves_each_day_whole_and_the_same_command_goes_on(
    pipeline: Pipeline, server: str, tmp_path: Path
) -> None:
    days = [f"day{number}" for number in range(1, 9)]
    for number, day in enumerate(days):
        write_day(pipeline.landing, day, seed=number)
    load_nothing(pipeline)
    after = [tables(pipeline.database)]
    for day in days:
        assert load(pipeline, to=day).success
        after.append(tables(pipeline.database))
    told = shown(pipeline.instance)
    chance = random.Random(os.environ.get("AGENT_ROLES_TEST_SEED", "load"))
    killed = 0
    while killed < KILLS:
        home = tmp_path / f"dagster_home{killed}"
        home.mkdir()
        with empty_database(server) as url:
            other = replace(pipeline, database=url)
            load_nothing(other)
            env = {
                "DAGSTER_HOME": str(home),
                "AGENT_ROLES_LANDING": str(pipeline.landing),
                "AGENT_ROLES_DATABASE_URL": url,
                "AGENT_ROLES_HOME": str(tmp_path / "home"),
            }
            killed += _killed_and_gone_on(other, env, tmp_path / "log", chance, after)
            assert tables(url) == after[-1]
            with (
                dg.DagsterInstance.from_config(str(home)) as instance,
                connect(url) as connection,
            ):
                found = shown(instance)
                # These name errors by their serial numbers, which differ between databases.
                for day in days:
                    [said] = reports.found(connection, day, checks.ERRORS)
                    assert found.pop((day, said.check_name))[3] == said.metadata
        assert found.keys() == {what for what in told if what[1] != "no_invalid_rows"}
        for what, value in found.items():
            was = told[what]
            if what[1] == "agent_role_mapping":  # How many rows a run changed may be lost with it.
                was = {k: v for k, v in was[0].items() if not k.startswith("rows ")}
                value = {k: v for k, v in value[0].items() if not k.startswith("rows ")}
            assert value == was, what


def load_nothing(pipeline: Pipeline) -> None:
    """Only makes the tables."""
    with connect(pipeline.database):
        pass


def _killed_and_gone_on(
    pipeline: Pipeline,
    env: dict[str, str],
    log: Path,
    chance: random.Random,
    after: list[dict[str, Any]],
) -> int:
    """Run the command until it ends, killing it; returns how often it was killed."""
    for killed in range(100):
        process = start_command(LOAD_COMMAND, env, log)
        with killed_at_the_end(process):
            # Its imports take some seconds, in which nothing happens.
            begun = len(pipeline.rows("SELECT FROM agent_role_sync_days"))
            while process.poll() is None:
                if len(pipeline.rows("SELECT FROM agent_role_sync_days")) > begun:
                    break
                time.sleep(0.02)
            with suppress(subprocess.TimeoutExpired):
                process.wait(chance.uniform(0, 2))
        if process.returncode == 0:
            return killed
        assert process.returncode == -signal.SIGKILL, log.read_text()[-3000:]
        found = tables(pipeline.database)
        at = next(n for n, each in enumerate(after) if each["staging"] == found["staging"])
        for name, content in found.items():
            before = after[max(at - 1, 0)][name] if name == "mapping" else None
            assert content in (after[at][name], before), (name, at)
    raise AssertionError("it never ends")


@pytest.mark.parametrize("ended", ["retried", "killed"])
def test_what_a_run_did_not_come_to_report_of_other_days_is_reported(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, ended: str
) -> None:
    for day, agents in (("day1", 10), ("day3", 12), ("day4", 12)):
        land(pipeline, day, list(range(agents)))
    assert load(pipeline).success
    land(pipeline, "day2", list(range(5, 15)))
    report, tries = DayByDay.report_others, []

    def lost_at_first(self: Any, day: str) -> Iterator[Any]:
        tries.append(day)
        if len(tries) == 1:
            raise psycopg.OperationalError if ended == "retried" else RuntimeError
        yield from report(self, day)

    monkeypatch.setattr(DayByDay, "report_others", lost_at_first)
    monkeypatch.setattr(retries, "SECONDS", 0.05)
    assert load(pipeline).success is (ended == "retried")
    if ended == "killed":
        assert load(pipeline).success
    assert len(tries) == 2
    metadata = _page(pipeline, "day3")
    assert (metadata["previous day"].value, metadata["removed"].value) == ("day2", 3)


def test_a_retried_run_counts_what_its_first_try_loaded_and_reports_no_error(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for day in ("day1", "day2", "day3"):
        land(pipeline, day, [*range(12)])
    monkeypatch.setattr(retries, "SECONDS", 0.05)
    break_disk(monkeypatch, "day2", times=1)
    result = load(pipeline)
    assert loaded(result) == ["day1", "day2", "day3"]
    said = capfd.readouterr().err
    assert "Loaded 3 of 3 days: day1, day2, day3." in said
    assert "Trying again in 0.05 seconds (1 of 3)" in said
    assert " - ERROR - " not in said


def test_a_day_whose_report_was_lost_is_reported_by_the_retry(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for day in ("day1", "day2"):
        land(pipeline, day, [*range(12)])
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    monkeypatch.setattr(retries, "SECONDS", 0.05)
    checked, lost = DayByDay._checked, []

    def lost_once(self: Any, day: str, *assets: dg.AssetKey) -> Iterator[Any]:
        if assets == (checks.MAPPING,) and not lost:
            lost.append(day)
            raise psycopg.OperationalError
        yield from checked(self, day, *assets)

    monkeypatch.setattr(DayByDay, "_checked", lost_once)
    assert loaded(load(pipeline)) == ["day1", "day2"]
    assert lost == ["day1"]
    for day in ("day1", "day2"):
        assert all(results_of(pipeline, day).values())
    landed = pipeline.instance.get_materialized_partitions(dg.AssetKey("landed_dump"))
    assert landed == {"day1", "day2"}


def test_a_held_day_that_changes_what_is_said_of_others_has_all_its_results(
    pipeline: Pipeline,
) -> None:
    for day in ("day1", "day3"):
        land(pipeline, day, [*range(20)])
    assert load(pipeline).success
    # As after a run that was killed: what is said of day1 is out of date.
    pipeline.execute("UPDATE agent_role_sync_days SET records = 77 WHERE sync_day = 'day1'")
    land(pipeline, "day2", ["x"])
    assert why(load(pipeline))[0] == "held"
    results = results_of(pipeline, "day2")
    failed = {name for name, passed in results.items() if not passed}
    assert failed == {"no_invalid_rows", "day_may_be_staged"}


def test_a_staged_day_that_can_not_be_read_keeps_no_other_day_waiting(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    land(pipeline, "day1", [1, 2])
    assert load(pipeline).success
    land(pipeline, "day2", [1, 2])
    break_disk(monkeypatch, "day1")
    result = load(pipeline, on_refused="skip")
    assert loaded(result) == ["day2"]
    assert "\nday1 (not read): " in why(result)[1]


def test_a_reason_for_removals_that_is_not_used_is_said(
    pipeline: Pipeline, capfd: pytest.CaptureFixture[str]
) -> None:
    land(pipeline, "day1", [1, 2])
    assert load(pipeline).success
    assert load(pipeline, accept_removals={"day1": "they left"}).success
    unused = "day1 is staged as it landed, so the reason for its removals is not kept"
    assert unused in capfd.readouterr().err


def test_more_days_than_a_single_run_reports_are_reported_by_a_run_of_many(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stale_reports, "_MOST", 1)
    for number in range(1, 10, 2):
        land(pipeline, f"day{number}", list(range(20 + number)))
    assert load(pipeline).success
    for number in range(2, 10, 2):
        land(pipeline, f"day{number}", list(range(20 + number)))
    assert load(pipeline).success
    for number in range(2, 10):
        assert _page(pipeline, f"day{number}")["previous day"].value == f"day{number - 1}"


def test_the_checks_of_a_day_that_is_held_after_it_was_staged_are_as_the_tables_say(
    pipeline: Pipeline,
) -> None:
    land(pipeline, "day1", list(range(20)))
    land(pipeline, "day2", list(range(15)))
    assert load(pipeline).success
    land(pipeline, "day2", ["x", "y"])
    assert why(load(pipeline))[0] == "held"
    key = dg.AssetCheckKey(dg.AssetKey("stg_agent_roles"), checks.SUSPECT)
    newest = pipeline.instance.event_log_storage.get_latest_asset_check_execution_by_key(
        [key], PartitionKeyFilter(key="day2")
    )
    evaluation = newest[key].evaluation
    assert evaluation is not None
    assert not evaluation.passed


def test_a_folder_that_may_still_be_landing_is_not_said_to_have_settled(
    pipeline: Pipeline,
) -> None:
    land(pipeline, "day1", [1])
    assert load(pipeline).success
    [record] = pipeline.instance.fetch_materializations(
        dg.AssetRecordsFilter(dg.AssetKey("landed_dump"), asset_partitions=["day1"]), limit=1
    ).records
    assert record.asset_materialization is not None
    why = record.asset_materialization.metadata["complete because"].value
    assert why == "a person loaded it before that was sure"


def _page(pipeline: Pipeline, day: str) -> Any:
    [record] = pipeline.instance.fetch_materializations(
        dg.AssetRecordsFilter(dg.AssetKey("stg_agent_roles"), asset_partitions=[day]), limit=1
    ).records
    assert record.asset_materialization is not None
    return record.asset_materialization.metadata
