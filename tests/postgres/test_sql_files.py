"""The SQL files: what they ask is asked of one day, and in a session that a pooler gives on."""

import re

import psycopg
import pytest

from agent_roles_dagster.postgres.connection import connect
from agent_roles_dagster.postgres.sql_files import rows_of_file, run_file, sql_file
from tests.conftest import Pipeline

OF_A_DAY = ("checks/staging", "load/fingerprint", "mapping/011_require_sound")
LOCKED = """
    SELECT DISTINCT relation::REGCLASS::TEXT AS name FROM pg_locks
    WHERE pid = pg_backend_pid() AND relation::REGCLASS::TEXT ~ 'stg_agent_roles_'
"""


@pytest.fixture
def five_days(pipeline: Pipeline) -> Pipeline:
    """day1 to day5 with one row each, by hand."""
    with connect(pipeline.database) as connection:
        for number in range(1, 6):
            connection.execute(
                f"CREATE TABLE public_days.stg_agent_roles_day{number}"
                f" PARTITION OF stg_agent_roles FOR VALUES IN ('day{number}');"
                f" INSERT INTO stg_agent_roles VALUES (1, 10, 'assigned', 'day{number}');"
                " INSERT INTO agent_role_sync_days"
                " (sync_day, day_no, staged_at, assigned, removed, fingerprint)"
                f" VALUES ('day{number}', {number}, now(), 1, 0, agent_role_pair_hash(1, 10))"
            )
    return pipeline


@pytest.mark.parametrize("file", OF_A_DAY)
def test_a_question_about_a_day_is_planned_for_no_other_day(five_days: Pipeline, file: str) -> None:
    """PostgreSQL locks each table that it plans for, so with a thousand days that takes long."""
    with connect(five_days.database) as connection, connection.transaction():
        assert len(rows_of_file(connection, file, sync_day="day2")) == 1
        locked = {row["name"] for row in connection.execute(LOCKED).fetchall()}
    assert locked == {"public_days.stg_agent_roles_day2"}


@pytest.mark.parametrize("file", OF_A_DAY)
def test_several_processes_share_the_pass_over_a_day(five_days: Pipeline, file: str) -> None:
    """A function that is not parallel safe, anywhere in the query, would leave it to one."""
    explained = sql_file(file).replace("\nEXECUTE ", "\nEXPLAIN EXECUTE ")
    with connect(five_days.database) as connection, connection.transaction():
        connection.execute(
            "SET LOCAL agent_roles.sync_day = 'day2'; SET LOCAL parallel_setup_cost = 0;"
            " SET LOCAL parallel_tuple_cost = 0; SET LOCAL min_parallel_table_scan_size = 0;"
            " SET LOCAL max_parallel_workers_per_gather = 2"
        )
        cursor = connection.execute(explained.encode())
        while cursor.description is None:
            cursor.nextset()
        plan = "\n".join(row["QUERY PLAN"] for row in cursor.fetchall())
    assert "Parallel Seq Scan on stg_agent_roles_day2" in plan


def test_a_publication_is_planned_for_its_day_and_the_next_one(five_days: Pipeline) -> None:
    with connect(five_days.database) as connection, connection.transaction():
        connection.execute("SET LOCAL search_path = public_days, public")
        run_file(connection, "load/020_create_load_tables")
        connection.execute(
            "INSERT INTO agent_roles_load_day (sync_day, day_no, next_day, next_day_no, is_first)"
            " VALUES ('day2', 2, 'day3', 3, FALSE);"
            " INSERT INTO agent_roles_load_delta (agent_id, role_id, is_next, unstage)"
            " VALUES (1, 10, FALSE, TRUE), (1, 10, TRUE, TRUE), (NULL, NULL, FALSE, TRUE)"
        )
        run_file(connection, "load/022_publish_day")
        locked = {row["name"] for row in connection.execute(LOCKED).fetchall()}
    assert locked == {"stg_agent_roles_day2", "stg_agent_roles_day3"}


@pytest.mark.parametrize("file", OF_A_DAY)
def test_a_question_that_failed_can_be_asked_again_in_the_same_session(
    five_days: Pipeline, file: str
) -> None:
    """As with a pooler, which gives the session on, with what was prepared in it."""
    with connect(five_days.database) as connection:
        with pytest.raises(psycopg.errors.UndefinedObject, match=r"agent_roles\.sync_day"):
            rows_of_file(connection, file)
        for _ in range(2):
            assert len(rows_of_file(connection, file, sync_day="day2")) == 1
        assert connection.execute("SELECT FROM pg_prepared_statements").fetchall() == []


def test_the_files_that_prepare_a_question_begin_and_end_alike() -> None:
    """They can't share these lines, as each file runs as it stands."""
    frames = set()
    for file in OF_A_DAY:
        text = sql_file(file)
        (name,) = set(re.findall(r"agent_roles_\w+(?= \()|(?<=DEALLOCATE )\w+", text))
        start, end = text.index("\n-- A pooler may"), text.index(f" {name} (TEXT) AS\n")
        tail = text[text.index("\nEXECUTE ") :]
        frames.add((text[start:end] + tail).replace(name, "<name>"))
    assert len(frames) == 1
