"""Whoever reads the webhook learns of each failed run, failed check and overdue day, once."""

import json
import os
import re
import time
from collections.abc import Iterator
from datetime import timedelta
from itertools import count
from types import SimpleNamespace
from typing import Any

import dagster as dg
import psycopg
import pytest
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill

from agent_roles_dagster.definitions import defs
from agent_roles_dagster.landing.dump import Dump
from agent_roles_dagster.orchestration import jobs, retries, steps
from agent_roles_dagster.orchestration.assets import landed_dump, raw_roles
from agent_roles_dagster.orchestration.automation import LOAD, TAKE_BACK
from agent_roles_dagster.orchestration.many_days.config import run_config
from agent_roles_dagster.orchestration.many_days.day_by_day import DayByDay
from agent_roles_dagster.orchestration.notices import news
from agent_roles_dagster.orchestration.notices import webhook as webhook_module
from agent_roles_dagster.orchestration.notices.compose import fits_one_post, gathered, overdue
from agent_roles_dagster.orchestration.notices.sentences import what_went_wrong
from agent_roles_dagster.orchestration.notices.webhook import NotDelivered, length, post
from agent_roles_dagster.orchestration.partitions import SYNC_DAY
from agent_roles_dagster.orchestration.sensors import notices as sensor
from agent_roles_dagster.orchestration.sensors.notices import notices
from agent_roles_dagster.outcomes import NotRead
from agent_roles_dagster.postgres.connection import NotReachable, connect
from agent_roles_dagster.postgres.sql_files import Connection
from tests.conftest import Pipeline
from tests.orchestration.test_many_days import land
from tests.webhooks import Webhook, silent_server, webhook

RECORDS = [{"id": 10, "agents": [1, 2, 3, "surname@example.org"]}]
EMPTY = (
    "ERROR day1: raw_roles failed (unreadable): day1/roles.json: the file is empty. Nothing was"
    " changed"
)

IF_TAKEN_BACK = (
    "If it finds that the day is not staged, the day is taken back: materialise the newest staged"
    " day, and the mapping follows."
)


def load(
    pipeline: Pipeline, loggers: dict[str, Any] | None = None, **config: Any
) -> dg.ExecuteInProcessResult:
    return defs.resolve_job_def(LOAD).execute_in_process(
        run_config(**config) | {"loggers": loggers or {}},
        pipeline.instance,
        raise_on_error=False,
    )


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[Webhook]:
    with webhook() as hook:
        monkeypatch.setenv("AGENT_ROLES_WEBHOOK_URL", hook.url)
        yield hook


class Ticks:
    """The sensor's ticks on an instance, one after the other."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance
        self.cursor: str | None = None

    def tick(self) -> str:
        with dg.build_sensor_context(self.instance, cursor=self.cursor) as context:
            result = notices(context)
        assert isinstance(result, dg.SensorResult)
        self.cursor = result.cursor
        assert result.skip_reason is not None
        return result.skip_reason.skip_message or ""


@pytest.fixture
def ticks(pipeline: Pipeline) -> Ticks:
    ticks = Ticks(pipeline.instance)
    ticks.tick()
    return ticks


def test_a_failed_run_is_told_with_its_sentence_and_only_once(
    pipeline: Pipeline, ticks: Ticks, hook: Webhook
) -> None:
    pipeline.write("day1", {"roles.json": ""})
    pipeline.run("day1", select="raw_roles")
    ticks.tick()
    assert [text.startswith(EMPTY) for text in hook.texts] == [True]
    assert hook.texts[0].endswith(f"Run {pipeline.results[-1].run_id}")
    ticks.tick()
    # The same dump again: the same thing.
    pipeline.run("day1", select="raw_roles")
    ticks.tick()
    assert len(hook.texts) == 1
    # It landed again, and is as bad as before: that is news.
    pipeline.instance.report_runless_asset_event(
        dg.AssetMaterialization(landed_dump.key, partition="day1")
    )
    pipeline.run("day1", select="raw_roles")
    ticks.tick()
    assert [text.startswith(EMPTY) for text in hook.texts] == [True, True]
    # It failed, went well, and fails again: news, too.
    pipeline.write("day1", {"roles.json": json.dumps(RECORDS)})
    assert pipeline.run("day1", select="raw_roles").success
    pipeline.write("day1", {"roles.json": ""})
    pipeline.run("day1", select="raw_roles")
    ticks.tick()
    assert len(hook.texts) == 3


def test_a_held_day_is_reported_once_whatever_its_neighbour_does(
    pipeline: Pipeline, ticks: Ticks, hook: Webhook
) -> None:
    def land(day: str, agents: list[int]) -> None:
        pipeline.write(day, {"roles.json": json.dumps([{"id": 10, "agents": agents}])})

    for day in ("day1", "day2"):
        land(day, [*range(12)])
        assert pipeline.run(day).success
    land("day2", [])
    for agents in ([*range(12)], [*range(11)]):
        # The day's own page is reported anew by its neighbour's run, and stays red.
        land("day1", agents)
        assert pipeline.run("day1").success
        assert pipeline.outcome(pipeline.run("day2")) == "held"
        ticks.tick()
    held = [text for text in hook.texts if "day2: " in text]
    first, second = (text.splitlines()[0] for text in held)
    failed = "ERROR day2: agent_role_pipeline_errors, stg_agent_roles failed (held): day2 is held:"
    assert first.startswith(f"{failed} it has no assignment left, and the previous day had 12.")
    # Its sentence is another one.
    assert second.startswith(f"{failed} it has no assignment left, and the previous day had 11.")
    assert pipeline.outcome(pipeline.run("day2")) == "held"
    ticks.tick()
    assert [text for text in hook.texts if "day2: " in text] == held


def test_what_the_webhook_does_not_take_is_kept_and_its_address_is_not_said(
    pipeline: Pipeline, ticks: Ticks, hook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    for day in ("day1", "day2"):
        pipeline.write(day, {"roles.json": ""})
        pipeline.run(day, select="raw_roles")
    hook.answers = 503
    with pytest.raises(NotDelivered, match="did not take a notice: it answered 503") as refused:
        ticks.tick()
    assert "secret" not in str(refused.value)
    assert refused.value.__cause__ is None
    assert hook.asked == 1
    hook.answers = 200
    assert ticks.tick() == "1 reported."
    [text] = hook.texts
    assert text.startswith("2 days need a look.\nERROR day1, day2: raw_roles failed (unreadable): ")
    assert ticks.tick() == "Nothing to report"
    with pytest.raises(NotDelivered, match="can't be reached") as refused:
        post("http://127.0.0.1:1/top-secret", "text")
    assert "secret" not in str(refused.value)
    hook.answers = 0
    for url in (hook.url, f"{hook.url}/a b", "http://127.0.0.1:top-secret/"):
        with pytest.raises(NotDelivered, match="can't be reached") as refused:
            post(url, "text")
        assert "secret" not in str(refused.value)
        assert refused.value.__cause__ is None


def test_a_check_that_fails_without_failing_the_run_is_told(
    pipeline: Pipeline, ticks: Ticks, hook: Webhook, capfd: pytest.CaptureFixture[str]
) -> None:
    pipeline.write("day1", {"roles.json": json.dumps(RECORDS * 3)})
    assert pipeline.run("day1").success
    ticks.tick()
    assert hook.texts == [
        "ERROR day1: the check no_invalid_rows of agent_role_pipeline_errors failed (error). What"
        " it expects: No raw row is invalid. A warning if some are, an error above 20%. Found:"
        " invalid rows: 3. The valid rows are staged. Look at the invalid ones on the page of"
        " agent_role_pipeline_errors, and have them corrected at their source."
        f"\nRun {pipeline.results[-1].run_id}"
    ]
    assert hook.texts[0] in capfd.readouterr().err, "and in the log"


def test_a_warning_about_another_day_is_told_if_the_run_brought_it_about(
    pipeline: Pipeline, ticks: Ticks, hook: Webhook
) -> None:
    def run(day: str, agents: list[int | None]) -> list[str]:
        hook.texts.clear()
        files: dict[str, object] = {"roles.json": [{"id": 10, "agents": agents}]}
        files["_manifest.json"] = {"observed_at": f"2026-01-0{day[-1]}T06:00:00Z"}
        pipeline.write(day, {name: json.dumps(content) for name, content in files.items()})
        assert pipeline.run(day).success
        ticks.tick()
        told = [line for text in hook.texts for line in text.splitlines()[:-1]]
        return [line.partition(" of ")[0] for line in told]

    run("day1", [1])
    assert run("day3", [1, None]) == ["ERROR day3: the check no_invalid_rows"]
    # Beside a row of day3 that was refused, one is missing now. That row was told of already.
    assert run("day2", [1, 2]) == ["WARNING day3: the check no_removals_beside_invalid_records"]


def test_of_an_error_that_is_not_ours_only_the_kind_is_told_and_of_ours_the_sentence(
    pipeline: Pipeline, ticks: Ticks, hook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retries, "SECONDS", 0)
    pipeline.write("day1", {"roles.json": json.dumps(RECORDS)})
    with connect(pipeline.database):
        pipeline.execute("DROP TABLE agent_role_sync_days CASCADE")
    pipeline.run("day1", select="agent_role_mapping")
    monkeypatch.setenv("AGENT_ROLES_DATABASE_URL", "postgresql://somebody:pass@127.0.0.1:1/x")
    pipeline.run("day1", select="agent_role_mapping")
    monkeypatch.setenv("AGENT_ROLES_DATABASE_URL", "postgresql://somebody:pass@word@host/x")
    pipeline.run("day1", select="agent_role_mapping")
    monkeypatch.setenv("AGENT_ROLES_DATABASE_URL", pipeline.database.replace("test_", "no_"))
    pipeline.run("day1", select="agent_role_mapping")
    ticks.tick()
    other, away, invalid, refused, _ = hook.texts[0].splitlines()
    failed = "ERROR day1: agent_role_mapping failed: "
    assert other == (
        f"{failed}UndefinedTable. The run's log says more. No table has half of the day."
        " Once the cause is gone, materialise the day again."
    )
    assert away.startswith(f"{failed}connection failed: ")
    assert "Nothing was changed. AGENT_ROLES_DATABASE_URL says which" in away
    assert invalid.startswith(f"{failed}AGENT_ROLES_DATABASE_URL is no libpq URL like ")
    assert refused.startswith(f"{failed}connection failed: ")
    assert "does not exist. Nothing was changed" in refused
    assert "pass@" not in away + invalid


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        (
            "53100",
            "PostgreSQL has no space left on its disk. No table has half of the day. Once there is"
            " some, materialise the day again.",
        ),
        (
            "53200",
            "PostgreSQL has no memory left. No table has half of the day. Once it has, materialise"
            " the day again.",
        ),
        (
            "57P01",
            "the connection to PostgreSQL was lost. No table has half of the day. Once the server"
            " is back, materialise the day again.",
        ),
        (
            "42501",
            "PostgreSQL does not allow what the run needs; the run's log names the table. No table"
            " has half of the day. Run sql/schema/010_schema.sql and sql/schema/015_roles.sql with"
            " psql as the tables' owner, as after every update. Then materialise the day again.",
        ),
    ],
)
def test_what_somebody_can_mend_in_postgresql_is_told_in_a_sentence(
    pipeline: Pipeline,
    ticks: Ticks,
    hook: Webhook,
    monkeypatch: pytest.MonkeyPatch,
    state: str,
    sentence: str,
) -> None:
    monkeypatch.setattr(retries, "SECONDS", 0)
    monkeypatch.setenv("AGENT_ROLES_UI_URL", "https://dagster.example.org/")
    pipeline.write("day1", {"roles.json": json.dumps([{"id": 10, "agents": [1]}])})
    with connect(pipeline.database):
        pipeline.execute(
            "CREATE FUNCTION fail() RETURNS TRIGGER LANGUAGE plpgsql AS"
            f" $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{state}'; END $$;"
            " CREATE TRIGGER fails BEFORE INSERT ON agent_role_mapping"
            " FOR EACH ROW EXECUTE FUNCTION fail()"
        )
    run_id = pipeline.run("day1").run_id
    ticks.tick()
    assert hook.texts == [
        f"ERROR day1: agent_role_mapping failed: {sentence}\nRun {run_id}"
        f"\nhttps://dagster.example.org/runs/{run_id}"
    ]


@pytest.mark.parametrize(
    ("job", "about", "again"),
    [
        ("load_day", "no day", "Run it again with a day as its partition."),
        (LOAD, LOAD, f"Run {LOAD} again: it loads what is left."),
        (TAKE_BACK, TAKE_BACK, f"Run {TAKE_BACK} again. {IF_TAKEN_BACK}"),
    ],
)
def test_of_a_run_whose_process_was_killed_its_own_next_step_is_told(
    ticks: Ticks, hook: Webhook, job: str, about: str, again: str
) -> None:
    config = {"ops": {"take_back": {"config": {"day": "day2"}}}} if job == TAKE_BACK else {}
    run = ticks.instance.create_run_for_job(
        defs.resolve_job_def(job), run_config=config, status=dg.DagsterRunStatus.STARTED
    )
    ticks.instance.report_run_failed(run)
    ticks.tick()
    assert hook.texts == [
        f"ERROR {about}: the run's process is gone: it was killed, or its machine ran out of memory"
        f" or went down. Each table is as before or as after. {again}\nRun {run.run_id}"
    ]


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (
            NotRead(NotRead("day2: the store gave an error").sentence()),
            "day2: the store gave an error. Each loaded day is whole. Mend that, and run",
        ),
        (
            NotReachable("connection failed. Nothing was changed. A setting names the database"),
            "connection failed. A setting names the database. Each loaded day is whole. Mend that,"
            " and run",
        ),
        (
            psycopg.errors.DiskFull("no space"),
            "PostgreSQL has no space left on its disk. Each loaded day is whole. Once there is"
            " some, run",
        ),
        (
            KeyError("x"),
            "KeyError. The run's log says more. Each loaded day is whole. Once the cause is gone,"
            " run",
        ),
    ],
)
def test_a_load_that_ends_among_its_days_says_that_the_loaded_ones_are_whole(
    pipeline: Pipeline,
    ticks: Ticks,
    hook: Webhook,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    error: Exception,
    sentence: str,
) -> None:
    monkeypatch.setattr(retries, "SECONDS", 0)
    load_day = DayByDay.load

    def load_only_day1(self: DayByDay, day: str, *args: Any) -> Iterator[Any]:
        if day != "day1":
            raise error
        yield from load_day(self, day, *args)

    monkeypatch.setattr(DayByDay, "load", load_only_day1)
    for day in ("day1", "day2"):
        land(pipeline, day, [1, 2])
    run_id = load(pipeline).run_id
    ticks.tick()
    said = f"{sentence} {LOAD} again: it loads what is left."
    assert hook.texts == [f"ERROR {LOAD}: the run failed: {said}\nRun {run_id}"]
    if not isinstance(error, KeyError):  # whose trace is shown
        capfd.readouterr()
        load(pipeline, loggers={"terminal": {}})
        assert f"\nERROR {said}\n" in capfd.readouterr().err


def test_a_taking_back_that_loses_the_server_is_not_told_to_load_the_day(
    pipeline: Pipeline, ticks: Ticks, hook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose(_: object, connection: Connection, *__: object, **___: object) -> Iterator[None]:
        connection.execute(b"SELECT pg_terminate_backend(pg_backend_pid())")
        yield

    def take_back() -> str:
        config = {"ops": {"take_back": {"config": {"day": "day2"}}}}
        job = defs.resolve_job_def(TAKE_BACK)
        return job.execute_in_process(config, pipeline.instance, raise_on_error=False).run_id

    for day in ("day1", "day2"):
        land(pipeline, day, [1, 2])
    assert load(pipeline).success
    monkeypatch.setattr(jobs, "refresh", lose)
    lost = take_back()
    ticks.tick()
    again = take_back()
    ticks.tick()
    assert hook.texts == [
        f"ERROR {TAKE_BACK}: the run failed: the connection to PostgreSQL was lost. Each table is"
        f" as before or as after. Once the server is back, run {TAKE_BACK} again. {IF_TAKEN_BACK}"
        f"\nRun {lost}",
        f"ERROR {TAKE_BACK}: the run failed (not taken back): day2 is not staged, so it was not"
        " taken back, nothing was changed. agent_role_sync_days has the staged days."
        f"\nRun {again}",
    ]


NOT_ALL_LOADED = (
    f"ERROR {LOAD}: some days were not loaded. Each loaded day is whole. Once the others are"
    f" corrected or accepted, run {LOAD} again: it loads what is left."
)


def test_a_load_tells_of_each_refused_day_once_with_its_sentence(
    pipeline: Pipeline, ticks: Ticks, hook: Webhook
) -> None:
    def told() -> list[str]:
        hook.texts.clear()
        run = load(pipeline, on_refused="skip")
        ticks.tick()
        assert all(text.endswith(f"\nRun {run.run_id}") for text in hook.texts)
        return [line for text in hook.texts for line in text.splitlines()[:-1]]

    empty = "not loaded (unreadable): {0}/roles.json: the file is empty."
    land(pipeline, "day1", [*range(20)])
    land(pipeline, "day2", [])
    pipeline.write("day3", {"roles.json": ""})
    land(pipeline, "day4", [*range(20)])
    number, own, held, unreadable = told()
    assert (number, own) == ("2 days need a look.", NOT_ALL_LOADED)
    assert held.startswith("ERROR day2: not loaded (held): day2 is held: it has no assignment left")
    assert unreadable == f"ERROR day3: {empty.format('day3')}"
    for _ in range(2):
        assert told() == []
    # Another one.
    pipeline.write("day5", {"roles.json": ""})
    assert told() == [NOT_ALL_LOADED, f"ERROR day5: {empty.format('day5')}"]
    assert told() == []
    # One that landed again, and is as bad as before.
    pipeline.write("day3", {"roles.json": ""})
    os.utime(pipeline.landing / "day3/roles.json", (1, 1))
    assert told() == [NOT_ALL_LOADED, f"ERROR day3: {empty.format('day3')}"]
    assert told() == []
    # One that went well in between.
    land(pipeline, "day5", [*range(20)])
    assert told() == []
    pipeline.write("day5", {"roles.json": ""})
    assert told() == [NOT_ALL_LOADED, f"ERROR day5: {empty.format('day5')}"]


def test_a_load_tells_of_a_day_that_could_not_be_read(
    pipeline: Pipeline, ticks: Ticks, hook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    seal = steps.seal

    def seal_all_but_day2(dump: Dump) -> str:
        if dump.sync_day == "day2":
            raise NotRead("day2: the store gave an error")
        return seal(dump)

    monkeypatch.setattr(steps, "seal", seal_all_but_day2)
    for day in ("day1", "day2", "day3"):
        land(pipeline, day, [1, 2])
    load(pipeline, on_refused="skip")
    ticks.tick()
    assert hook.texts[0].splitlines()[:2] == [
        NOT_ALL_LOADED,
        "ERROR day2: not loaded (not read): day2: the store gave an error.",
    ]


def test_of_many_refused_days_the_next_load_tells_nothing_again(
    pipeline: Pipeline, ticks: Ticks, hook: Webhook
) -> None:
    for number in range(1, 26):  # More than the run's last lines name.
        pipeline.write(f"day{number}", {"roles.json": ""})
    load(pipeline, on_refused="skip")
    ticks.tick()
    assert len(hook.texts) == 1
    load(pipeline, on_refused="skip")
    ticks.tick()
    assert hook.texts[1:] == []


def test_however_many_days_a_load_refuses_the_notice_ends_with_its_run(
    pipeline: Pipeline, ticks: Ticks, hook: Webhook
) -> None:
    for number in range(1, 41):
        # Each with a sentence of its own.
        pipeline.write(f"day{number}", {f"<{number}>.json": ""})
    run_id = load(pipeline, on_refused="skip").run_id
    ticks.tick()
    [text] = hook.texts
    assert len(text) <= 3000
    first, second, third, *others, left, last = text.splitlines()
    assert (first, second) == ("40 days need a look.", NOT_ALL_LOADED)
    assert third.startswith("ERROR day1: not loaded (unreadable): day1/&lt;1&gt;.json: the file is")
    assert left == f"and {39 - len(others)} sentences more."
    assert last == f"Run {run_id}"


def test_a_day_whose_runs_are_all_killed_is_told_once_they_are_not_started_again(
    ticks: Ticks, hook: Webhook
) -> None:
    @dg.job
    def some_job() -> None: ...

    for will_retry in ("true", "true", "false"):
        run = ticks.instance.create_run_for_job(
            some_job,
            status=dg.DagsterRunStatus.STARTED,
            tags={"dagster/partition": "day3"},
        )
        ticks.instance.report_run_failed(run)
        ticks.instance.add_run_tags(run.run_id, {"dagster/will_retry": will_retry})
        assert hook.texts == []
        ticks.tick()
    assert hook.texts == [
        "ERROR day3: the run's process is gone: it was killed, or its machine ran out of memory or"
        " went down. Each table is as before or as after. Materialise the day again."
        f"\nRun {run.run_id}"
    ]


def warned(hook: Webhook) -> list[str]:
    return [line.partition(" What")[0] for text in hook.texts for line in text.splitlines()[:-1]]


def test_a_warning_that_lasts_is_told_again_only_when_it_changes(
    pipeline: Pipeline, ticks: Ticks, hook: Webhook
) -> None:
    refused = {"day1": 1, "day2": 1, "day3": 2, "day4": 2, "day5": 0, "day6": 2}
    for day, number in refused.items():
        agents = [*range(20), *[None] * number]
        pipeline.write(day, {"roles.json": json.dumps([{"id": 10, "agents": agents}])})
        assert pipeline.run(day).success
        pipeline.instance.add_dynamic_partitions(SYNC_DAY, [day])
        ticks.tick()
    a_warning = "the check no_invalid_rows of agent_role_pipeline_errors failed (warning)."
    assert warned(hook) == [f"WARNING {day}: {a_warning}" for day in ("day1", "day3", "day6")]
    assert hook.texts[0] == (
        f"WARNING day1: {a_warning} What it expects: No raw row is invalid. A warning if some are,"
        " an error above 20%. Found: invalid rows: 1. The valid rows are staged. Look at the"
        " invalid ones on the page of agent_role_pipeline_errors, and have them corrected at their"
        " source."
        f"\nRun {pipeline.results[0].run_id}"
    )


def test_a_day_that_is_refused_although_the_day_before_was_is_told(
    pipeline: Pipeline, ticks: Ticks, hook: Webhook
) -> None:
    for day in ("day1", "day2"):
        pipeline.write(day, {"roles.json": ""})
        pipeline.instance.add_dynamic_partitions(SYNC_DAY, [day])
        pipeline.run(day, select="raw_roles")
        ticks.tick()
    assert [text[:10] for text in hook.texts] == ["ERROR day1", "ERROR day2"]


def backfill(pipeline: Pipeline, days: list[str]) -> None:
    """The runs of a backfill, as its daemon launches them, without the daemon."""
    pipeline.instance.add_dynamic_partitions(SYNC_DAY, days)
    job = defs.resolve_implicit_global_asset_job_def()
    for day in days:
        job.execute_in_process(
            instance=pipeline.instance,
            partition_key=day,
            asset_selection=[raw_roles.key],
            tags={"dagster/backfill": "some-backfill"},
            raise_on_error=False,
        )


def test_of_a_backfill_whose_days_fail_one_notice_tells_once_it_has_ended(
    pipeline: Pipeline, ticks: Ticks, hook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENT_ROLES_UI_URL", "https://dagster.example.org")
    days = [f"day{number}" for number in range(1, 31)]
    for day in days:
        pipeline.write(day, {"roles.csv" if day == "day7" else "roles.json": ""})
    progress = PartitionBackfill(
        "some-backfill",
        BulkActionStatus.REQUESTED,
        from_failure=False,
        tags={},
        backfill_timestamp=0.0,
    )
    pipeline.instance.add_backfill(progress)
    backfill(pipeline, days)
    for _ in range(3):
        assert ticks.tick() == "Nothing to report"
    pipeline.instance.update_backfill(progress.with_status(BulkActionStatus.COMPLETED_FAILED))
    assert ticks.tick() == "1 reported."
    assert ticks.tick() == "Nothing to report"
    others = ", ".join(day for day in days if day != "day7")
    assert hook.texts == [
        "30 days need a look."
        f"\nERROR {others}: raw_roles failed (unreadable): &lt;day&gt;/roles.json: the file is"
        " empty. Nothing was changed in any table. Land the whole dump again and materialise the"
        " day."
        "\nERROR day7: raw_roles failed (unreadable): day7: no dump file (*.json, *.jsonl,"
        " *.ndjson, *.gz) has landed, only roles.csv. Nothing was changed in any table. Land the"
        " whole dump again and materialise the day."
        "\nBackfill some-backfill\nhttps://dagster.example.org/runs/b/some-backfill"
    ]


def test_a_webhook_that_sends_elsewhere_has_not_taken_the_notice(hook: Webhook) -> None:
    hook.answers = 302
    with pytest.raises(NotDelivered, match="did not take a notice: it answered 302"):
        post(hook.url, "text")


def test_a_webhook_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook_module, "_PATIENCE", webhook_module._PATIENCE / 50)
    with silent_server() as url, pytest.raises(NotDelivered, match=r"reached \(TimeoutError\)"):
        post(url, "text")


def test_a_tick_whose_last_notice_nobody_takes_ends_before_dagster_ends_it() -> None:
    assert sensor._SECONDS + webhook_module._PATIENCE < 60


def test_a_long_notice_is_cut_to_what_chat_services_take(hook: Webhook) -> None:
    post(hook.url, "x" * 10_000)
    # Neither another line nor an escape is cut.
    post(hook.url, "x" * 2_970 + "&" * 10_000 + "\nand more\nRun 1234567890")
    post(hook.url, "\n".join(["x" * 2_000] * 5))
    assert hook.texts[:2] == ["x" * 3000, "x" * 2_970 + "&amp;" + "\nand more\nRun 1234567890"]
    assert len(hook.texts[2]) == 3000


def test_many_runs_that_ended_since_the_last_tick_are_one_notice(
    pipeline: Pipeline, ticks: Ticks, hook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENT_ROLES_UI_URL", "https://dagster.example.org")
    monkeypatch.setattr(news, "_RUNS_AT_ONCE", 2)
    for day in ("day1", "day2", "day3"):
        pipeline.write(day, {"roles.json": ""})
        pipeline.run(day, select="raw_roles")
    for _ in range(2):
        assert ticks.tick() == "1 reported."
    first, second, third = (result.run_id for result in pipeline.results)
    both, last = hook.texts
    assert both.startswith("2 days need a look.\nERROR day1, day2: raw_roles failed (unreadable): ")
    assert both.endswith(f"Runs {first}, {second}\nhttps://dagster.example.org/runs")
    assert last.startswith("ERROR day3: raw_roles failed (unreadable): ")
    assert last.endswith(f"Run {third}\nhttps://dagster.example.org/runs/{third}")
    assert ticks.tick() == "Nothing to report"


def test_of_many_runs_with_different_sentences_each_is_posted_whole(
    pipeline: Pipeline, ticks: Ticks, hook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    days = range(1, 21)
    for number in days:
        pipeline.write(f"day{number}", {f"<{number}>.json": ""})
        pipeline.run(f"day{number}", select="raw_roles")
    # A clock by which each notice takes a tick.
    clock = SimpleNamespace(time=time.time, monotonic=count(0, 40).__next__)
    monkeypatch.setattr(sensor, "time", clock)
    while ticks.tick() != "Nothing to report":
        assert len(hook.texts[-1]) <= 3000
    told = [line for text in hook.texts for line in text.splitlines() if line.startswith("ERROR")]
    assert told == [
        f"ERROR day{number}: raw_roles failed (unreadable): day{number}/&lt;{number}&gt;.json: the"
        " file is empty. Nothing was changed in any table. Land the whole dump again and"
        " materialise the day."
        for number in days
    ]
    assert 1 < len(hook.texts) < 4
    ids = [result.run_id for result in pipeline.results]
    number = hook.texts[0].count("ERROR")
    assert hook.texts[0].endswith(f"\nRuns {', '.join(ids[:5])} and {number - 5} more")


def test_many_runs_that_fail_alike_are_one_notice_whatever_their_number(
    pipeline: Pipeline, ticks: Ticks, hook: Webhook
) -> None:
    for number in range(1, 31):
        run = ticks.instance.create_run_for_job(
            defs.resolve_implicit_global_asset_job_def(),
            status=dg.DagsterRunStatus.STARTED,
            tags={"dagster/partition": f"day{number}"},
        )
        ticks.instance.report_run_failed(run)
    ticks.tick()
    assert [text.splitlines()[0] for text in hook.texts] == ["30 days need a look."]


def test_what_takes_too_long_to_tell_goes_on_at_the_next_tick(
    pipeline: Pipeline, ticks: Ticks, hook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.write("day1", {"roles.json": ""})
    pipeline.run("day1", select="raw_roles")
    pipeline.write("day2", {"roles.json": json.dumps(RECORDS)})
    assert pipeline.run("day2").success
    # A clock by which each notice takes forty seconds.
    clock = SimpleNamespace(time=time.time, monotonic=count(0, 40).__next__)
    monkeypatch.setattr(sensor, "time", clock)
    assert [ticks.tick(), ticks.tick()] == ["1 reported.", "1 reported."]
    assert [text.split(": ")[0] for text in hook.texts] == ["ERROR day1", "ERROR day2"]


def test_without_a_webhook_the_log_is_told(
    pipeline: Pipeline, ticks: Ticks, capfd: pytest.CaptureFixture[str]
) -> None:
    pipeline.write("day1", {"roles.json": ""})
    pipeline.run("day1", select="raw_roles")
    capfd.readouterr()
    ticks.tick()
    assert capfd.readouterr().err.count(EMPTY) == 1


def test_a_run_that_went_well_is_not_told_of() -> None:
    assert what_went_wrong("day1", []) == []


def test_what_happened_before_the_first_tick_is_not_told(pipeline: Pipeline, hook: Webhook) -> None:
    pipeline.write("day1", {"roles.json": ""})
    pipeline.run("day1", select="raw_roles")
    ticks = Ticks(pipeline.instance)
    ticks.tick()
    assert hook.texts == []
    assert pipeline.run("day1", select="raw_roles")
    pipeline.write("day2", {"roles.json": ""})
    pipeline.run("day2", select="raw_roles")
    ticks.tick()
    assert [text[6:10] for text in hook.texts] == ["day2"]


def test_a_day_that_is_overdue_is_told_once_until_another_has_landed(
    pipeline: Pipeline, ticks: Ticks, hook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENT_ROLES_FRESH_HOURS", "0.0000001")
    pipeline.instance.add_dynamic_partitions(SYNC_DAY, ["day9", "day10"])
    for _ in range(2):
        ticks.tick()
        time.sleep(0.01)
    ticks.tick()
    overdue = "WARNING No new day has landed for 0 hours; the newest is {}. The limit"
    assert [text.split(",")[0] for text in hook.texts] == [overdue.format("day10")]
    pipeline.instance.add_dynamic_partitions(SYNC_DAY, ["day11"])
    ticks.tick()
    time.sleep(0.01)
    ticks.tick()
    assert [text.split(",")[0] for text in hook.texts[1:]] == [overdue.format("day11")]
    # One that was taken out by hand is none that has landed.
    pipeline.instance.delete_dynamic_partition(SYNC_DAY, "day11")
    for _ in range(2):
        ticks.tick()
        time.sleep(0.01)
    assert len(hook.texts) == 2


def test_what_an_earlier_version_told_of_an_overdue_day_is_not_told_again(
    pipeline: Pipeline, ticks: Ticks, hook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENT_ROLES_FRESH_HOURS", "0.0000001")
    pipeline.instance.add_dynamic_partitions(SYNC_DAY, ["day1", "day2"])
    state = json.loads(ticks.cursor or "")
    del state["days"]
    ticks.cursor = json.dumps(state | {"newest": "day2", "since": time.time(), "overdue": True})
    for _ in range(2):
        assert ticks.tick() == "Nothing to report"
        time.sleep(0.01)
    pipeline.instance.add_dynamic_partitions(SYNC_DAY, ["day3"])
    for _ in range(2):
        ticks.tick()
        time.sleep(0.01)
    assert ["the newest is day3." in text for text in hook.texts] == [True]


def test_a_day_that_comes_as_another_goes_is_a_new_one(
    pipeline: Pipeline, ticks: Ticks, hook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENT_ROLES_FRESH_HOURS", "0.0000001")
    pipeline.instance.add_dynamic_partitions(SYNC_DAY, ["day1", "day2"])
    for day in range(3, 5):
        for _ in range(2):
            ticks.tick()
            time.sleep(0.01)
        pipeline.instance.delete_dynamic_partition(SYNC_DAY, f"day{day - 2}")
        pipeline.instance.add_dynamic_partitions(SYNC_DAY, [f"day{day}"])
    for _ in range(2):
        ticks.tick()
        time.sleep(0.01)
    assert [re.findall(r"day\d", text) for text in hook.texts] == [["day2"], ["day3"], ["day4"]]


def test_a_day_far_ahead_by_a_wrong_name_keeps_no_later_gap_from_being_told(
    pipeline: Pipeline, ticks: Ticks, hook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENT_ROLES_FRESH_HOURS", "0.0000001")
    for day in ("day2036", "day1", "day2"):
        pipeline.instance.add_dynamic_partitions(SYNC_DAY, [day])
        ticks.tick()
        time.sleep(0.01)
        ticks.tick()
    assert len(hook.texts) == 3


def test_a_partition_that_is_no_day_keeps_nothing_from_being_told(
    pipeline: Pipeline, ticks: Ticks, hook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.instance.add_dynamic_partitions(SYNC_DAY, ["day1", "someday"])
    monkeypatch.setenv("AGENT_ROLES_FRESH_HOURS", "0.0000001")
    ticks.tick()
    time.sleep(0.01)
    assert ticks.tick() == "1 reported."
    assert ["the newest is day1." in text for text in hook.texts] == [True]


def test_what_was_told_is_not_told_again_whatever_happens_next(
    pipeline: Pipeline, ticks: Ticks, hook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("top-secret")

    monkeypatch.setattr(news, "overdue", fail)
    pipeline.write("day1", {"roles.json": ""})
    pipeline.run("day1", select="raw_roles")
    assert ticks.tick() == "1 reported. RuntimeError"
    with pytest.raises(RuntimeError):
        ticks.tick()
    assert len(hook.texts) == 1


def test_the_limit_of_freshness() -> None:
    hours = timedelta(hours=1)
    assert overdue("day1", 36 * hours, 36) is None
    assert overdue("day1", 1000 * hours, 0) is None
    assert overdue("day1", 37 * hours, 36) == (
        "WARNING No new day has landed for 37 hours; the newest is day1. The limit,"
        " AGENT_ROLES_FRESH_HOURS, is 36. The tables are as the newest day left them. See whether"
        " the source still writes its dumps, and whether the sensor landed_sync_days is on and does"
        " not fail."
    )
    assert str(overdue(None, 37 * hours, 36)).startswith("WARNING No new day has landed for 37 h")


def test_what_differs_only_in_the_day_is_one_sentence_and_all_of_it_has_an_end() -> None:
    lost = "ERROR day{0}: agent_role_mapping failed: the connection to PostgreSQL was lost."
    assert gathered([lost.format(3)], "Run 1") == f"{lost.format(3)}\nRun 1"
    lines = [*(lost.format(number) for number in range(1, 101)), "WARNING day7: odd"]
    named = ", ".join(f"day{number}" for number in range(1, 41))
    assert gathered(lines, "Runs") == (
        "100 days need a look."
        f"\nERROR {named} and 60 more: agent_role_mapping failed: the connection to PostgreSQL was"
        " lost.\nWARNING day7: odd\nRuns"
    )
    assert fits_one_post(lines, "Runs")
    lines = [f"ERROR day{number}: {number * '&'}" for number in range(1, 101)]
    assert not fits_one_post(lines, "Runs")
    different = gathered(lines, "Runs")
    assert 2_700 < length(different) <= 3_000
    first, *told, left, last = different.splitlines()
    assert (first, left, last) == (
        "100 days need a look.",
        f"and {100 - len(told)} sentences more.",
        "Runs",
    )
    assert told == lines[: len(told)]
