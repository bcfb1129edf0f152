"""What was lost is asked for again within the run, and what the server refuses is not."""

import re
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace
from urllib.parse import urlencode

import click
import dagster as dg
import psycopg
import pytest
from s3fs import S3FileSystem

from agent_roles_dagster.orchestration import retries
from agent_roles_dagster.orchestration.notices.sentences import what_went_wrong
from agent_roles_dagster.orchestration.partitions import SYNC_DAY
from agent_roles_dagster.outcomes import NotRead
from agent_roles_dagster.postgres import connection as connection_module
from tests.conftest import Pipeline
from tests.planted import PASSWORD, PLANTED, leaks
from tests.worlds import write_day


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "SECONDS", 0.1)


def test_what_is_lost_is_asked_for_three_times_more_twenty_seconds_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.undo()  # not so soon
    said: list[str] = []
    context = SimpleNamespace(
        retry_number=1,
        log=SimpleNamespace(warning=said.append),
    )

    @retries.retried_if_lost
    def lose(context: SimpleNamespace) -> Iterator[None]:
        raise NotRead("day1: can't be read")
        yield

    with pytest.raises(dg.RetryRequested) as asked:
        list(lose(context))
    assert (asked.value.max_retries, asked.value.seconds_to_wait) == (3, 20)
    assert said == ["day1: can't be read. Trying again in 20 seconds (2 of 3)."]


def tried_again(result: dg.ExecuteInProcessResult) -> list[str]:
    return [
        str(event.step_key)
        for event in result.all_events
        if event.event_type == dg.DagsterEventType.STEP_UP_FOR_RETRY
    ]


def test_a_connection_that_is_lost_while_a_day_is_applied_is_tried_again(
    pipeline: Pipeline,
) -> None:
    write_day(pipeline.landing, "day1", seed=1, clean=True)
    assert pipeline.run(
        "day1", select="raw_roles,stg_agent_roles,agent_role_pipeline_errors"
    ).success
    ended = threading.Event()
    # Publishing waits for readers that lock the pending pairs; meanwhile its connection is cut.
    with psycopg.connect(pipeline.database) as reader:
        reader.execute("LOCK TABLE agent_role_pending IN SHARE MODE")
        cutter = threading.Thread(target=_cut_the_waiting, args=(pipeline.database, reader, ended))
        cutter.start()
        result = pipeline.run("day1", select="agent_role_mapping")
        ended.set()
        cutter.join()
    assert result.success
    assert set(tried_again(result)) == {"agent_role_mapping"}
    assert pipeline.rows("SELECT count(*) > 0 FROM agent_role_mapping") == [(True,)]


def _cut_the_waiting(database: str, reader: psycopg.Connection, ended: threading.Event) -> None:
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    cut += " AND datname = current_database()"
    with psycopg.connect(database, autocommit=True) as connection:
        while not ended.is_set() and not connection.execute(cut.encode()).fetchall():
            time.sleep(0.05)
    reader.rollback()


@pytest.mark.parametrize(
    ("step", "assets"),
    [
        ("agent_role_mapping", "agent_role_mapping"),
        ("stage_agent_roles", "stg_agent_roles,agent_role_pipeline_errors"),
    ],
)
def test_a_database_that_stays_away_fails_the_run(
    pipeline: Pipeline,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    step: str,
    assets: str,
) -> None:
    write_day(pipeline.landing, "day1", seed=1)
    monkeypatch.setenv("AGENT_ROLES_DATABASE_URL", "postgresql://somebody@127.0.0.1:1/nowhere")
    result = pipeline.run("day1", select=assets)
    assert not result.success
    assert tried_again(result) == [step] * 3
    said = re.findall(r"- (connection failed.* embedded one\. Trying .*)", capfd.readouterr().err)
    assert said == [
        'connection failed: connection to server at "127.0.0.1", port 1 failed: Connection refused'
        " Is the server running on that host and accepting TCP/IP connections? Nothing was changed."
        " AGENT_ROLES_DATABASE_URL says which database is used; without it, it is the embedded one."
        f" Trying again in 0.1 seconds ({number} of 3)."
        for number in (1, 2, 3)
    ]


def test_a_server_that_refuses_is_not_asked_again(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_day(pipeline.landing, "day1", seed=1)
    there = psycopg.conninfo.conninfo_to_dict(pipeline.database)
    for wrong in ({"dbname": "nowhere"}, {"user": "nobody"}):
        url = urlencode({**there, **wrong})
        monkeypatch.setenv("AGENT_ROLES_DATABASE_URL", f"postgresql://?{url}")
        for assets in ("agent_role_mapping", "stg_agent_roles,agent_role_pipeline_errors"):
            result = pipeline.run("day1", select=assets)
            assert not result.success
            assert tried_again(result) == []


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ('password authentication failed for user "a"', True),
        ('no pg_hba.conf entry for host "192.0.2.1", user "a", database "b"', True),
        ('role "a" is not permitted to log in', True),
        ("the database system is starting up", False),
        ("sorry, too many clients already", False),
        ("terminating connection due to administrator command", False),
    ],
)
def test_a_server_that_is_not_ready_yet_does_not_refuse(said: str, kind: bool) -> None:
    assert bool(connection_module.REFUSALS.search(f"connection failed: FATAL:  {said}")) is kind


@pytest.fixture
def store_that_is_away(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The landing folder is in an object store that does not answer."""
    # Of this, the library's own text has the address.
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:1/{PLANTED}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", PASSWORD)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setattr(S3FileSystem, "retries", 1)
    monkeypatch.setenv("AGENT_ROLES_LANDING", "s3://dumps/admin_roles")
    S3FileSystem.clear_instance_cache()
    yield
    S3FileSystem.clear_instance_cache()


@pytest.mark.usefixtures("store_that_is_away")
@pytest.mark.parametrize(
    ("step", "assets"),
    [
        ("raw_roles", "raw_roles"),
        ("stage_agent_roles", "stg_agent_roles,agent_role_pipeline_errors"),
    ],
)
def test_a_store_that_is_away_is_asked_again_and_the_dump_is_not_said_to_be_broken(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, step: str, assets: str
) -> None:
    monkeypatch.setattr(retries, "RETRIES", 1)
    with pytest.raises(click.UsageError, match="day1: can't be read"):
        pipeline.run("day1", select=assets)
    pipeline.instance.add_dynamic_partitions(SYNC_DAY, ["day1"])
    result = pipeline.run("day1", select=assets)
    assert not result.success
    assert tried_again(result) == [step]
    [failed] = [event for event in result.all_events if event.is_step_failure]
    told = str(failed.step_failure_data.error)
    assert "outcomes.NotRead: day1: can't be read (EndpointConnectionError). Nothing was" in told
    assert leaks({"error": told}) == {}
    [notice] = what_went_wrong("day1", result.all_events)
    assert notice.startswith("ERROR day1: ")
    assert notice.endswith("read, materialise the day again.")
    assert notice.count("day1: can't be read") == notice.count("Nothing was changed") == 1


def test_a_store_that_is_away_keeps_no_staged_day_from_being_applied(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    for number in (1, 2, 3):
        write_day(pipeline.landing, f"day{number}", seed=number)
        assert pipeline.run(
            f"day{number}", select="raw_roles,stg_agent_roles,agent_role_pipeline_errors"
        ).success
    monkeypatch.setenv("AGENT_ROLES_KEEP_DAYS", "1")
    request.getfixturevalue("store_that_is_away")
    assert pipeline.run("day3", select="agent_role_mapping").success
    query = "SELECT applied_at IS NOT NULL, pruned_at FROM agent_role_sync_days"
    assert pipeline.rows(query) == [(True, None)] * 3, "day1 is dropped another time"


def test_a_day_that_is_not_staged_is_not_tried_again(pipeline: Pipeline) -> None:
    write_day(pipeline.landing, "day1", seed=1)
    result = pipeline.run("day1", select="agent_role_mapping")
    assert not result.success
    assert tried_again(result) == []
