"""The schema's versions: each earlier one is brought up to date, a newer one is left alone.

`tests/schemas` has the earlier versions of sql/schema/010_schema.sql that made other tables, and of
sql/mapping/012_upsert_agent_roles.sql from before it knew of pending days.
"""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest

from agent_roles_dagster.postgres.connection import SCHEMA_VERSION, connect
from agent_roles_dagster.postgres.sql_files import sql_file
from agent_roles_dagster.settings import InvalidSetting
from tests import CHECKOUT
from tests.conftest import Pipeline, empty_database

EARLIER = sorted(
    (CHECKOUT / "tests" / "schemas").glob("*.sql"),
    key=lambda path: int(path.name.partition("_")[0]),
)
UPSERTS = sorted((CHECKOUT / "tests" / "schemas" / "upserts").glob("*.sql"))
RELATIONS = ("agent_role_changes", "agent_role_mapping", "agent_role_pending")
RELATIONS += ("agent_role_pipeline_errors", "agent_role_sync_days", "stg_agent_roles")
VIEWS = ("agent_role_history", "agent_role_newest_day")
VIEWS += ("agent_role_pending_assignments", "agent_role_pending_pairs")
# day1 is staged, its first pair applied; the second is pending, as is the third, which went.
DAY1 = """
    CREATE TABLE stg_agent_roles_day1 PARTITION OF stg_agent_roles FOR VALUES IN ('day1');
    INSERT INTO stg_agent_roles VALUES (1, 10, 'assigned', 'day1', 'api', '2026-01-01 07:00'),
    (2, 10, 'assigned', 'day1', 'api', '2026-01-01 07:00');
    INSERT INTO agent_role_sync_days (
        sync_day, day_no, digest, files, observed_at, records, raw_rows, valid_pairs, duplicates,
        invalid_rows, assigned, removed, error_rows, staged_at, applied_at
    ) VALUES ('day1', 1, 'x', 1, '2026-01-01 06:00', 1, 3, 2, 0, 1, 2, 0, 1, now(), now());
    INSERT INTO agent_role_pipeline_errors (role_id, error_type, error_message, sync_day)
    VALUES (10, 'VALIDATION_ERROR', 'agent_id is null', 'day1');
    INSERT INTO agent_role_mapping VALUES (1, 10, 'assigned', '2026-01-01 06:00', NULL),
    (3, 10, 'assigned', '2026-01-01 06:00', NULL);
    CREATE TABLE agent_roles_load_rows_0123456789ab (id BIGINT);
    CREATE TABLE agent_roles_load_of_mine (id BIGINT);
"""
CHANGES = {
    True: """
        INSERT INTO agent_role_changes VALUES (1, 10, 1, 'assigned', 1), (2, 10, 1, 'assigned', 2),
        (3, 10, 1, NULL, 2);
        UPDATE agent_role_revision SET staged = 2, applied = 1
    """,
    False: """
        INSERT INTO agent_role_changes VALUES (1, 10, 1, 'assigned'), (2, 10, 1, 'assigned');
        INSERT INTO agent_role_pending VALUES (2, 10), (3, 10)
    """,
}
MADE = """
    SELECT table_name || '.' || column_name, data_type || ' ' || is_nullable
    FROM information_schema.columns
    WHERE table_schema = 'public' AND table_name LIKE '%agent_role\\_%'
    UNION ALL SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
    UNION ALL SELECT proname || proargtypes::TEXT, coalesce(pg_get_function_sqlbody(oid), prosrc)
    FROM pg_proc WHERE pronamespace = 'public'::REGNAMESPACE
    UNION ALL SELECT viewname, definition FROM pg_views WHERE schemaname = 'public'
    ORDER BY 1, 2
"""


@pytest.fixture
def made_anew(server: str) -> Iterator[list[tuple[Any, ...]]]:
    """What this version makes in an empty database."""
    with empty_database(server) as url:
        with connect(url):
            pass
        with psycopg.connect(url) as connection:
            yield connection.execute(MADE.encode()).fetchall()


@pytest.mark.parametrize("schema", EARLIER, ids=lambda path: path.stem)
def test_the_tables_of_each_earlier_version_are_brought_up_to_date_by_the_next_run(
    pipeline: Pipeline, made_anew: list[tuple[Any, ...]], schema: Path
) -> None:
    pipeline.execute(schema.read_text())
    pipeline.execute(DAY1 + CHANGES[schema == EARLIER[0]])
    pipeline.write(
        "day2",
        {
            "roles.json": json.dumps([{"id": 10, "agents": [2, 4]}]),
            "_manifest.json": json.dumps({"observed_at": "2026-01-02T06:00:00Z"}),
        },
    )
    assert pipeline.run("day2").success
    query = "SELECT agent_id, status, assigned_at::TEXT, removed_at::TEXT FROM agent_role_mapping"
    day1, day2 = "2026-01-01 06:00:00", "2026-01-02 06:00:00"
    assert sorted(pipeline.rows(query)) == [
        (1, "removed", day1, day2),
        (2, "assigned", day1, None),
        (4, "assigned", day2, None),
    ]
    query = "SELECT agent_id, assigned_on, removed_on FROM agent_role_history ORDER BY 1"
    assert pipeline.rows(query) == [(1, "day1", "day2"), (2, "day1", None), (4, "day2", None)]
    assert pipeline.rows("SELECT * FROM agent_role_changes_between('day1', 'day2')") != []
    if schema in EARLIER[:4]:
        query = "SELECT error_raw_rows FROM agent_role_sync_days WHERE sync_day = 'day1'"
        assert pipeline.rows(query) == [(3,)]
    assert pipeline.rows(MADE) == made_anew
    assert pipeline.rows(
        "SELECT schemaname, tablename FROM pg_tables WHERE tablename LIKE 'stg_agent_roles_%'"
        " OR tablename LIKE 'agent_roles_load_%' ORDER BY 2"
    ) == [
        ("public", "agent_roles_load_of_mine"),
        ("public_days", "stg_agent_roles_day1"),
        ("public_days", "stg_agent_roles_day2"),
    ]


def test_the_tables_of_the_first_version_are_left_alone_while_a_run_of_it_is_staging(
    database: str,
) -> None:
    with psycopg.connect(database, autocommit=True) as running:
        running.execute(EARLIER[0].read_bytes())
        running.execute(
            "SELECT pg_advisory_lock(hashtext('agent_roles staging ' || current_schema()))"
        )
        said = "a run of the earlier version is staging a day. No table was changed"
        with pytest.raises(psycopg.errors.RaiseException, match=said), connect(database):
            pass
        turn = "SELECT to_regclass('agent_role_turn')"
        assert running.execute(turn.encode()).fetchone() == (None,)
        running.execute("SELECT pg_advisory_unlock_all()")
        with connect(database):
            pass
        assert running.execute(turn.encode()).fetchone() == ("agent_role_turn",)


def test_the_tables_of_a_newer_version_are_left_alone(database: str) -> None:
    with connect(database) as connection:
        connection.execute("UPDATE agent_role_schema_version SET version = version + 1")
        connection.execute("DROP FUNCTION agent_role_changes_between")
    said = f"of version {SCHEMA_VERSION + 1}, and this code"
    with pytest.raises(InvalidSetting, match=said), connect(database):
        pass
    with psycopg.connect(database) as connection:
        with pytest.raises(psycopg.errors.RaiseException, match="newer than this file, nothing"):
            connection.execute(sql_file("schema/010_schema").encode())
        connection.rollback()
        query = "SELECT version, to_regproc('agent_role_changes_between')"
        found = connection.execute(f"{query} FROM agent_role_schema_version".encode()).fetchall()
    assert found == [(SCHEMA_VERSION + 1, None)]


def test_the_tables_are_made_by_many_processes_at_once_in_the_version_that_the_code_knows(
    database: str,
) -> None:
    def create(_: int) -> None:
        with connect(database):
            pass

    with psycopg.connect(database) as connection:
        # As where the roles are there already, and in an earlier PostgreSQL's `public`.
        connection.execute("GRANT CREATE ON SCHEMA public TO PUBLIC")
        connection.execute(
            "DO $$ BEGIN CREATE ROLE agent_roles_runner;"
            " EXCEPTION WHEN duplicate_object THEN END $$"
        )
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(create, range(8)))
    with psycopg.connect(database) as connection:
        assert connection.execute("SELECT * FROM agent_role_history").fetchall() == []
        rows = connection.execute("SELECT version FROM agent_role_schema_version").fetchall()
    assert rows == [(SCHEMA_VERSION,)]


def test_two_installations_are_in_one_database(database: str) -> None:
    urls = []
    with psycopg.connect(database, autocommit=True) as connection:
        for name in ("one", "Two more"):
            connection.execute(f'CREATE SCHEMA "{name}"'.encode())
            urls.append(f"{database}&options=-csearch_path%3D%22{name.replace(' ', '%5C%20')}%22")
    for url in urls:
        with connect(url):
            pass
    with psycopg.connect(database) as connection:
        query = "SELECT schemaname FROM pg_tables WHERE tablename = 'agent_role_turn' ORDER BY 1"
        assert connection.execute(query.encode()).fetchall() == [("Two more",), ("one",)]
        query = "SELECT nspname FROM pg_namespace WHERE nspname LIKE '%\\_days' ORDER BY 1"
        assert connection.execute(query.encode()).fetchall() == [("Two more_days",), ("one_days",)]


@pytest.mark.parametrize("upsert", UPSERTS, ids=lambda path: path.stem)
def test_a_copy_of_an_earlier_upsert_is_refused_and_what_is_pending_stays(
    pipeline: Pipeline, upsert: Path
) -> None:
    """It knows of no pending days, so it would drop them without applying them."""
    pipeline.write("day1", {"roles.json": json.dumps([{"id": 10, "agents": [1, 2]}])})
    assert pipeline.run("day1", select="raw_roles,stg_agent_roles,agent_role_pipeline_errors")
    with pytest.raises(
        psycopg.errors.RaiseException, match="an earlier mapping/012_upsert_agent_roles"
    ):
        pipeline.execute(upsert.read_text())
    assert pipeline.rows("SELECT day_no FROM agent_role_pending") == [(1,)]
    assert pipeline.rows("SELECT applied_at FROM agent_role_sync_days") == [(None,)]
    pipeline.execute(sql_file("mapping/012_upsert_agent_roles"))
    assert pipeline.rows("SELECT agent_id FROM agent_role_mapping ORDER BY 1") == [(1,), (2,)]


@pytest.mark.parametrize("file", ["schema/010_schema", "schema/015_roles"])
def test_the_files_of_the_present_version_wait_for_no_reader(pipeline: Pipeline, file: str) -> None:
    """Whoever comes after them would wait for that reader, too."""
    pipeline.write("day1", {"roles.json": json.dumps([{"id": 10, "agents": [1, 2]}])})
    assert pipeline.run("day1").success
    pipeline.execute(sql_file("schema/015_roles"))
    with psycopg.connect(pipeline.database) as reader:
        for name in (*RELATIONS, *VIEWS):
            reader.execute(f"SELECT FROM {name}".encode())
        pipeline.execute(f"SET lock_timeout = '5s'; {sql_file(file)}")
        assert reader.info.transaction_status == psycopg.pq.TransactionStatus.INTRANS


@pytest.mark.parametrize("file", ["schema/010_schema", "schema/015_roles"])
@pytest.mark.parametrize("version", [SCHEMA_VERSION - 1, SCHEMA_VERSION])
def test_the_files_take_turns_with_runs(pipeline: Pipeline, file: str, version: int) -> None:
    """Else each would hold a table that the other one wants."""
    with connect(pipeline.database):
        pass  # creates the schema
    pipeline.execute(sql_file("schema/015_roles"))
    pipeline.execute(f"UPDATE agent_role_schema_version SET version = {version}")
    with ThreadPoolExecutor(1) as pool, psycopg.connect(pipeline.database) as run:
        run.execute("LOCK TABLE agent_role_turn IN SHARE ROW EXCLUSIVE MODE")
        update = pool.submit(pipeline.execute, sql_file(file))
        while not pipeline.rows("SELECT FROM pg_locks WHERE NOT granted"):
            assert not update.done()
            time.sleep(0.01)
        run.execute("LOCK TABLE agent_role_pending IN SHARE ROW EXCLUSIVE MODE")
        for name in reversed(RELATIONS):
            run.execute(f"LOCK TABLE {name} IN ROW EXCLUSIVE MODE".encode())
        run.commit()
        update.result(30)
