"""The set-up for a team, left alone: what lands is run, what went wrong is told, no secret is.

Which assets the conditions ask for, and when, is in `test_sensors`.
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from tests.conftest import empty_database
from tests.planted import PERSON, files, leaks, tables, with_password
from tests.team import Team, team
from tests.webhooks import webhook
from tests.worlds import write_day

PATIENCE = 600
MADE = {"raw_roles", "stg_agent_roles", "agent_role_pipeline_errors", "agent_role_mapping"}


@pytest.fixture
def instance_database(server: str) -> Iterator[str]:
    """URL of an empty database for Dagster's own tables."""
    with empty_database(server) as url:
        yield url


def eventually(true: Callable[[], bool], what: str, running: Team) -> None:
    begin = time.monotonic()
    while not true():
        waited = time.monotonic() - begin
        assert waited < PATIENCE, f"not seen: {what}; runs: {running.runs()}"
        time.sleep(0.5)
    print(f"{what}: {time.monotonic() - begin:.0f} s")


@pytest.mark.timeout(1800)
def test_what_lands_is_applied_and_what_is_broken_is_told_and_can_be_corrected(
    tmp_path: Path,
    database: str,
    instance_database: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    landing = tmp_path / "admin_roles"
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", with_password(instance_database))
    landing.mkdir()
    with (
        webhook() as hook,
        team(
            tmp_path / "dagster_home",
            AGENT_ROLES_AUTOMATION="on",
            AGENT_ROLES_LANDING=str(landing),
            AGENT_ROLES_DATABASE_URL=with_password(database),
            AGENT_ROLES_WEBHOOK_URL=hook.url,
            AGENT_ROLES_HOME=str(tmp_path / "home"),
        ) as running,
    ):
        eventually(running.has_looked, "the sensors' first looks", running)
        running.report_an_event()
        source = tmp_path / "source"
        for number in (1, 2, 3):
            write_day(source, f"day{number}", seed=number, clean=True)
        held = [{"id": agent, **PERSON} for agent in range(20)]
        (source / "day1" / "2.json").write_text(json.dumps([{"id": 2, "agents": held, **PERSON}]))
        (source / "day3" / "2.json").write_text(json.dumps([{"id": 2, **PERSON}])[:-5])
        for day in source.iterdir():
            (day / "_manifest.json").touch()
            day.rename(landing / day.name)
        eventually(
            lambda: applied(database) == ["day1", "day2"] and bool(hook.texts),
            "two applied days and a notice of the broken one",
            running,
        )
        [text] = hook.texts
        assert "stg_agent_roles failed (unreadable): day3/2.json: not JSON, or cut short" in text
        outcomes = [("day1", "SUCCESS"), ("day2", "SUCCESS"), ("day3", "FAILURE")]
        eventually(lambda: sorted(running.runs()) == outcomes, "the runs' ends", running)

        write_day(landing, "day3", seed=3, clean=True)
        eventually(
            lambda: applied(database) == ["day1", "day2", "day3"], "the corrected day", running
        )
        eventually(lambda: running.runs()[3:] == [("day3", "SUCCESS")], "its run's end", running)

        write_day(landing, "day4", seed=4, clean=True)
        with somebody_waits(database, "agent_role_pending") as is_waiting:
            eventually(is_waiting, "a run that publishes", running)
            running.kill_the_runs()
        eventually(lambda: running.runs()[4:] == [("day4", "SUCCESS")], "it is run again", running)
        assert running.runs(started_again=True) == [("day4", "FAILURE")]
        assert applied(database) == ["day1", "day2", "day3", "day4"]
        # All of it, as it may have landed anew since the killed run sealed it.
        assert running.made_by_the_newest_run() == MADE

        write_day(landing, "day4", seed=5, clean=True)
        with somebody_waits(database, "agent_role_changes") as is_waiting:
            eventually(is_waiting, "a run that reads", running)
            running.terminate_the_newest_run()
            eventually(
                lambda: running.runs()[5:] == [("day4", "CANCELED")], "a terminated run", running
            )
        eventually(lambda: not running.run_workers(), "its process's end", running)
        write_day(landing, "day4", seed=6, clean=True)
        eventually(lambda: running.runs()[6:] == [("day4", "SUCCESS")], "the day again", running)
        ended = time.time()
        eventually(lambda: running.has_looked(ended), "the sensors' next looks", running)
        assert len(hook.texts) == 1
    written = {
        "the notice": text,
        **dict(files(tmp_path)),
        **dict(tables(database)),
        **dict(tables(instance_database)),
    }
    assert "day3/2.json: not JSON" in written["event_logs"]
    assert "landed_sync_days" in written["job_ticks"]
    assert "spark.sql.session.timeZone" in written["snapshots"], "what is packed is read"
    assert leaks(written) == {}


@pytest.mark.timeout(1200)
def test_a_first_start_over_a_folder_of_old_days_is_one_run_and_then_one_for_each_new_day(
    tmp_path: Path,
    database: str,
    instance_database: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    landing = tmp_path / "admin_roles"
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", with_password(instance_database))
    days = [f"day{number}" for number in range(1, 15)]
    for number, day in enumerate(days, start=1):
        write_day(landing, day, seed=number, clean=True)
    with team(
        tmp_path / "dagster_home",
        AGENT_ROLES_AUTOMATION="on",
        AGENT_ROLES_LANDING=str(landing),
        AGENT_ROLES_DATABASE_URL=with_password(database),
        AGENT_ROLES_HOME=str(tmp_path / "home"),
    ) as running:
        eventually(lambda: applied(database) == sorted(days), "all days", running)
        eventually(lambda: running.runs() == [("many days", "SUCCESS")], "its end", running)
        for _ in range(3):
            ended = time.time()
            eventually(lambda since=ended: running.has_looked(since), "the next looks", running)
        assert running.runs() == [("many days", "SUCCESS")]
        write_day(landing, "day15", seed=15, clean=True)
        eventually(lambda: running.runs()[1:] == [("day15", "SUCCESS")], "a new day", running)
    with psycopg.connect(database) as connection:
        query = "SELECT sync_day FROM agent_role_sync_days ORDER BY staged_at"
        assert [day for (day,) in connection.execute(query)] == [*days, "day15"]


@contextmanager
def somebody_waits(database: str, table: str) -> Iterator[Callable[[], bool]]:
    """Hold the table; yields what tells whether somebody waits for it."""
    with psycopg.connect(database) as holder, psycopg.connect(database, autocommit=True) as looking:
        holder.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE".encode())
        query = "SELECT FROM pg_locks WHERE NOT granted AND relation = %s::REGCLASS"
        yield lambda: bool(looking.execute(query, (table,)).fetchall())


def applied(database: str) -> list[str]:
    with psycopg.connect(database) as connection:
        if connection.execute("SELECT to_regclass('agent_role_sync_days')").fetchone() == (None,):
            return []
        query = "SELECT sync_day FROM agent_role_sync_days WHERE applied_at IS NOT NULL"
        return sorted(day for (day,) in connection.execute(query))
