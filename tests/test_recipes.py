"""The recipes of docs/ that change, move or measure the tables, each done by its own lines."""

import re
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from agent_roles_dagster.postgres.connection import connect
from agent_roles_dagster.postgres.sql_files import sql_file
from tests.conftest import Pipeline, empty_database
from tests.docs import block, run
from tests.worlds import tables, write_day

# A restore as somebody else runs it, who may be an administrator that took another role.
TRAP = b"""
    CREATE FUNCTION public_days.spring(BIGINT) RETURNS BOOLEAN LANGUAGE plpgsql AS $$ BEGIN
        RESET ROLE;
        IF (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = CURRENT_USER) THEN
            ALTER ROLE agent_roles_runner SUPERUSER;
        END IF;
        RETURN TRUE;
    END $$;
    CREATE TABLE public_days.trap (id BIGINT CHECK (public_days.spring(id)));
    INSERT INTO public_days.trap VALUES (1);
"""


def do(recipe: str, folder: Path, replace: tuple[str, str] = ("", ""), **env: str) -> str:
    """Do what the one block of shell lines says that has this text in it; see `tests.docs.run`."""
    return run(block("sh", recipe).replace(*replace), folder, **env)


@pytest.fixture
def other_database(server: str) -> Iterator[str]:
    """URL of another empty database."""
    with empty_database(server) as url:
        yield url


def test_a_day_is_taken_back_as_if_never_staged_and_the_database_moves_and_goes_on(
    pipeline: Pipeline, other_database: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def take_back(day: str) -> None:
        do("admin/take_back_newest_day", tmp_path, ("day3", day))

    after = []
    for number in (1, 2, 3):
        write_day(pipeline.landing, f"day{number}", number)
        assert pipeline.run(f"day{number}").success
        after.append(tables(pipeline.database))
    with pytest.raises(subprocess.CalledProcessError) as refused:
        take_back("day2")
    assert "day2 is not the newest staged day" in refused.value.stderr
    assert tables(pipeline.database) == after[2]
    for number in (3, 2):
        take_back(f"day{number}")
        assert tables(pipeline.database) == after[number - 2]
    days = "SELECT sync_day FROM agent_role_sync_days"
    assert pipeline.rows(days) == [("day1",)]

    with psycopg.connect(pipeline.database) as loading:
        # A run's table, which pg_dump would wait for, or find gone.
        loading.execute("CREATE TABLE public_days.agent_roles_load_rows_0123456789ab ()")
        loading.commit()
        loading.execute("DROP TABLE public_days.agent_roles_load_rows_0123456789ab")
        do(
            "pg_restore --no-owner --no-acl -d",
            tmp_path,
            OLD_URL=pipeline.database,
            NEW_URL=other_database,
        )
    loads = "SELECT tablename FROM pg_tables WHERE tablename LIKE 'agent_roles_load_%'"
    with psycopg.connect(other_database) as there:
        assert there.execute(loads).fetchall() == []
    assert tables(other_database) == after[0]
    monkeypatch.setenv("AGENT_ROLES_DATABASE_URL", other_database)
    for number in (2, 3):
        assert pipeline.run(f"day{number}").success
    assert tables(other_database) == after[2]


def test_the_database_moves_with_its_roles_and_what_the_runner_made_runs_as_the_runner(
    pipeline: Pipeline, other_database: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with connect(pipeline.database):
        pass
    pipeline.execute(sql_file("schema/015_roles"))
    old, new = (
        re.sub("//.*@", "//agent_roles_runner:a%20password@", url)
        for url in (pipeline.database, other_database)
    )
    monkeypatch.setenv("AGENT_ROLES_DATABASE_URL", old)
    pipeline.write("day1", {"roles.json": '[{"id": 10, "agents": [1, "x"]}]'})
    for number in (2, 3):
        write_day(pipeline.landing, f"day{number}", number)
    assert pipeline.run("day1").success
    assert pipeline.run("day2").success
    before = tables(pipeline.database)
    with psycopg.connect(old, autocommit=True) as runner:
        runner.execute(TRAP)
    do("NEW_ADMIN_URL", tmp_path, NEW_ADMIN_URL=other_database, OLD_URL=old, NEW_URL=new)
    with psycopg.connect(other_database) as there:
        assert there.execute("SELECT id FROM public_days.trap").fetchall() == [(1,)]
        query = "SELECT rolsuper FROM pg_roles WHERE rolname = 'agent_roles_runner'"
        assert there.execute(query.encode()).fetchall() == [(False,)]
    assert tables(other_database) == before
    after = []
    for url, looked_at in ((old, pipeline.database), (new, other_database)):
        monkeypatch.setenv("AGENT_ROLES_DATABASE_URL", url)
        assert pipeline.run("day3").success
        after.append(tables(looked_at))
    assert after[0] == after[1]


def test_the_newest_day_is_taken_back_by_its_job(pipeline: Pipeline, tmp_path: Path) -> None:
    after = []
    for number in (1, 2):
        write_day(pipeline.landing, f"day{number}", number)
        assert pipeline.run(f"day{number}").success
        after.append(tables(pipeline.database))
    do("-j take_back_newest_day", tmp_path, ("day3", "day2"))
    assert tables(pipeline.database) == after[0]


def test_the_tables_are_restored_from_the_dumps_alone(
    pipeline: Pipeline, other_database: str, tmp_path: Path
) -> None:
    for number in (9, 10):
        write_day(pipeline.landing, f"day{number}", number)
        assert pipeline.run(f"day{number}").success
    do(
        "-j load_landed_days",
        tmp_path,
        AGENT_ROLES_DATABASE_URL=other_database,
        AGENT_ROLES_HOME=str(tmp_path / "home"),
    )
    assert tables(other_database) == tables(pipeline.database)


def test_a_day_that_later_ones_could_not_be_compared_without_is_not_taken_back(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    with connect(pipeline.database) as connection:
        connection.execute(
            "INSERT INTO agent_role_sync_days (sync_day, day_no, staged_at, pruned_at)"
            " VALUES ('day1', 1, now(), now()), ('day2', 2, now(), NULL)"
        )
    with pytest.raises(subprocess.CalledProcessError) as refused:
        do("admin/take_back_newest_day", tmp_path, ("day3", "day2"))
    assert "day1, the day before, was pruned" in refused.value.stderr
    assert len(pipeline.rows("SELECT FROM agent_role_sync_days")) == 2


def test_whoever_holds_up_an_update_is_shown_and_ended(pipeline: Pipeline, tmp_path: Path) -> None:
    with connect(pipeline.database):
        pass
    with (
        psycopg.connect(pipeline.database) as reader,
        psycopg.connect(pipeline.database, autocommit=True) as idle,
    ):
        reader.execute("SELECT FROM agent_role_mapping")
        # Without a transaction that lasts.
        idle.execute("SELECT pg_advisory_lock(1)")
        for holder, held in ((reader, "agent_role_mapping"), (idle, "advisory")):
            pid = str(holder.info.backend_pid)
            shown = do("pg_blocking_pids", tmp_path, ("<pid>", pid), ADMIN_URL=pipeline.database)
            [line] = [line for line in shown.splitlines() if line.split("|")[0].strip() == pid]
            assert held in line
            with pytest.raises(psycopg.OperationalError):
                holder.execute("SELECT 1")


def test_the_sizes_of_all_tables_are_shown_the_days_put_together(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    for number in (1, 2):
        write_day(pipeline.landing, f"day{number}", number)
        assert pipeline.run(f"day{number}").success
    shown = do("pg_size_pretty", tmp_path, AGENT_ROLES_DATABASE_URL=pipeline.database)
    parts = {line[0].strip(): line[1].strip() for line in map(_cells, shown.splitlines()) if line}
    assert parts["stg_agent_roles"] == "2"
    assert parts["agent_role_changes"] == parts["agent_role_mapping"] == "1"


def _cells(line: str) -> list[str]:
    return line.split("|") if line.count("|") == 2 else []


def test_a_team_gets_its_roles_and_a_reader_the_records_of_invalid_rows(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    with connect(pipeline.database):
        pass
    role = f"reader_{uuid.uuid4().hex}"
    pipeline.execute(f"CREATE ROLE {role}")
    try:
        recipes = (
            '-f sql/schema/015_roles.sql\npsql "$ADMIN_URL"',
            "GRANT agent_roles_reader TO alice",
        )
        for recipe in recipes:
            do(recipe, tmp_path, ("alice", role), ADMIN_URL=pipeline.database)
        with psycopg.connect(pipeline.database) as reader:
            reader.execute(f"SET ROLE {role}".encode())
            reader.execute("SELECT raw_record FROM agent_role_pipeline_errors")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                reader.execute("SELECT FROM stg_agent_roles")
    finally:
        pipeline.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
