"""The database as a team has it: reached by TLS, with roles that may do no more than they need."""

import os
import re
import socket
import ssl
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
import trustme
from adbc_driver_manager import Error

from agent_roles_dagster.postgres.arrow import ArrowConnection, cancel_all
from agent_roles_dagster.postgres.connection import SESSION, connect, connection_kept
from agent_roles_dagster.postgres.locks import lock_tables
from agent_roles_dagster.postgres.sql_files import sql_file
from agent_roles_dagster.settings import InvalidSetting
from agent_roles_dagster.staging.load_tables import Load, drop_load_tables
from tests.conftest import Pipeline, empty_database, with_database
from tests.tls_proxy import tls_proxy
from tests.worlds import write_day

PASSWORD = "pass word/@:%"
UrlOf = Callable[..., str]


@pytest.fixture
def team(pipeline: Pipeline) -> Iterator[Pipeline]:
    """A pipeline whose tables somebody made and then gave to the roles."""
    _update(pipeline)
    pipeline.execute(f"ALTER ROLE agent_roles_runner PASSWORD '{PASSWORD}'")
    [[hba]] = pipeline.rows("SHOW hba_file")
    before = Path(hba).read_text()
    Path(hba).write_text(f"local all agent_roles_runner scram-sha-256\n{before}")
    pipeline.rows("SELECT pg_reload_conf()")
    yield pipeline
    Path(hba).write_text(before)
    pipeline.rows("SELECT pg_reload_conf()")


def _update(pipeline: Pipeline) -> None:
    """What an administrator does after an update, with the files in one session, as psql has it."""
    with psycopg.connect(pipeline.database, autocommit=True) as administrator:
        for name in ("schema/010_schema", "schema/015_roles"):
            administrator.execute(sql_file(name).encode())


@pytest.fixture
def url_of(team: Pipeline, tmp_path: Path) -> Iterator[UrlOf]:
    """Makes URLs of the team's database: with a password, a host's name, an authority to trust."""
    authority, other = trustme.CA(), trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "known.pem"))
    other.cert_pem.write_to_path(str(tmp_path / "other.pem"))
    parts = psycopg.conninfo.conninfo_to_dict(team.database)
    with tls_proxy(f"{parts['host']}/.s.PGSQL.5432", context) as port:
        yield (
            lambda password=PASSWORD, host="localhost", trusted="known": (
                f"postgresql://agent_roles_runner:{quote(password, safe='')}@{host}:{port}"
                f"/{parts['dbname']}?sslmode=verify-full&sslrootcert={tmp_path}/{trusted}.pem"
            )
        )


def test_the_job_runs_by_tls_as_a_role_that_can_do_little_else(
    team: Pipeline, url_of: UrlOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_day(team.landing, "day1", 1)
    assert "Name agent_roles_runner in it" in _text(team.run("day1"))
    owner = f"{team.database}&options=-crole%3Dagent_roles_runner"
    monkeypatch.setenv("AGENT_ROLES_DATABASE_URL", owner)
    assert team.run("day1").success
    # Somebody else staged it, before the roles were there.
    team.execute("ALTER TABLE public_days.stg_agent_roles_day1 OWNER TO CURRENT_USER")
    _update(team)
    monkeypatch.setenv("AGENT_ROLES_DATABASE_URL", url_of())
    monkeypatch.setenv("AGENT_ROLES_KEEP_DAYS", "1")
    # A new day, one before it, and a correction, which drops a day that somebody else had staged.
    for day, seed in (("day3", 3), ("day2", 2), ("day3", 4)):
        write_day(team.landing, day, seed)
        result = team.run(day)
        assert team.outcome(result) == "staged", day
        checks = result.get_asset_check_evaluations()
        assert [c.check_name for c in checks if not c.passed and c.severity.value == "ERROR"] == []
    assert team.rows("SELECT sync_day FROM agent_role_sync_days WHERE pruned_at IS NOT NULL") == [
        ("day1",)
    ]
    owners = team.rows(
        "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class"
        " WHERE relname LIKE 'stg_agent_roles%' AND relkind IN ('r', 'p')"
    )
    assert owners == [("agent_roles_runner",)]
    with psycopg.connect(url_of(), autocommit=True) as runner:
        for refused in (
            "DROP TABLE agent_role_mapping",
            "ALTER TABLE agent_role_changes ADD COLUMN more TEXT",
            "TRUNCATE agent_role_mapping",
            "UPDATE agent_role_pipeline_errors SET raw_record = NULL",
            "ALTER VIEW agent_role_history RENAME TO other",
            "DROP FUNCTION agent_roles_on",
            "CREATE ROLE another",
            "CREATE SCHEMA another",
            "CREATE TABLE public.another (id BIGINT)",
            "CREATE FUNCTION public.format(TEXT, TEXT) RETURNS TEXT LANGUAGE sql AS 'SELECT 1'",
            "UPDATE agent_role_schema_version SET version = 1",
            "SET ROLE agent_roles_owner",
            "SELECT pg_read_file('PG_VERSION')",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                runner.execute(refused.encode())


def test_who_is_not_who_they_say_is_not_spoken_to(team: Pipeline, url_of: UrlOf) -> None:
    for url, said in (
        (url_of(trusted="other"), "certificate verify failed"),
        (url_of(host="127.0.0.1"), "does not match host name"),
        (url_of("wrong"), "password authentication failed"),
    ):
        # Right after it was told to, the server may not have reread its rules yet.
        for _ in range(50):
            refused = _refusal(url)
            if refused is not None:
                break
            time.sleep(0.1)
        assert said in str(refused)
        assert "Nothing was changed" in str(refused)


def _refusal(url: str) -> psycopg.Error | None:
    try:
        with connect(url):
            return None
    except psycopg.Error as error:
        return error


def test_a_reader_sees_who_holds_what_and_changes_nothing(team: Pipeline) -> None:
    team.execute(
        "INSERT INTO agent_role_sync_days (sync_day, day_no, staged_at) VALUES ('day1', 1, now())"
    )
    with psycopg.connect(team.database, autocommit=True) as connection:
        connection.execute("SET ROLE agent_roles_reader")
        for allowed in (
            "agent_roles_on('day1')",
            "agent_role_changes_between('day1', 'day1')",
            "agent_role_history",
            "agent_role_mapping",
            "agent_role_sync_days",
            "agent_role_changes",
        ):
            connection.execute(f"SELECT * FROM {allowed}".encode())
        connection.execute(
            "SELECT agent_id, role_id, error_message FROM agent_role_pipeline_errors"
        )
        for refused in (
            "SELECT raw_record FROM agent_role_pipeline_errors",
            "DELETE FROM agent_role_mapping",
            "INSERT INTO agent_role_pending VALUES (1, 1)",
            "UPDATE agent_role_sync_days SET accepted_reason = 'mine'",
            "SELECT * FROM stg_agent_roles",
            "DELETE FROM stg_agent_roles",
            "DROP TABLE stg_agent_roles",
            "CREATE TABLE another (id BIGINT)",
            "CREATE TABLE public_days.another (id BIGINT)",
            "SELECT * FROM agent_role_turn",
            "DO $$ BEGIN LOCK TABLE agent_role_turn IN ACCESS SHARE MODE; END $$",
            "DO $$ BEGIN LOCK TABLE agent_role_pending IN ROW EXCLUSIVE MODE; END $$",
            "DO $$ BEGIN LOCK TABLE stg_agent_roles IN ROW EXCLUSIVE MODE; END $$",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(refused.encode())


def test_a_reader_holds_up_no_update(team: Pipeline) -> None:
    impatient = replace(team, database=f"{team.database}&options=-clock_timeout%3D5s")
    with psycopg.connect(team.database) as reader:
        reader.execute("SET ROLE agent_roles_reader")
        # What updates of earlier versions waited for, and all that a reader may read.
        reader.execute("SELECT pg_advisory_lock(hashtext('agent_roles schema'))")
        _update(impatient)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            reader.execute("LOCK TABLE agent_role_schema_version IN ACCESS SHARE MODE")


def _text(result: Any) -> str:
    """The sentence of a failed run's exception."""
    [failure] = [event for event in result.all_events if event.is_step_failure]
    return str(failure.step_failure_data.error.cause.message)


def test_the_tables_of_an_earlier_version_are_completed_by_who_may(
    team: Pipeline, url_of: UrlOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_day(team.landing, "day1", 1)
    monkeypatch.setenv("AGENT_ROLES_DATABASE_URL", url_of())
    team.execute("UPDATE agent_role_schema_version SET version = version - 1")
    text = _text(team.run("day1"))
    assert "Run sql/schema/010_schema.sql and sql/schema/015_roles.sql" in text
    assert team.rows("SELECT FROM agent_role_sync_days") == []
    _update(team)
    assert team.run("day1").success


def test_the_databases_owner_gives_the_tables_to_the_roles_and_updates_them(
    team: Pipeline,
) -> None:
    role = f"keeper_{uuid.uuid4().hex[:8]}"
    names = ("owner", "runner", "reader")
    roles = ", ".join(f"agent_roles_{name}" for name in names)
    with empty_database(team.database) as url, psycopg.connect(url, autocommit=True) as keeper:
        database = keeper.info.dbname
        keeper.execute(f"CREATE ROLE {role} CREATEROLE; GRANT {roles} TO {role} WITH ADMIN OPTION")
        keeper.execute(f"ALTER DATABASE {database} OWNER TO {role}")
        try:
            keeper.execute(f"SET ROLE {role}")
            for name in ("schema/010_schema", "schema/015_roles") * 2:
                keeper.execute(sql_file(name).encode())
            with connect(f"{url}&options=-crole%3Dagent_roles_runner"):
                pass
            query = "SELECT has_schema_privilege('agent_roles_runner', 'public', 'CREATE')"
            assert keeper.execute(query.encode()).fetchone() == (False,)
        finally:
            keeper.execute("RESET ROLE")
            keeper.execute(f"ALTER DATABASE {database} OWNER TO CURRENT_USER")
            keeper.execute(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}")


# Each would be the better match for a call with a name of PostgreSQL's own.
TRAP = """
    CREATE FUNCTION {schema}.spring() RETURNS VOID LANGUAGE plpgsql AS $$ BEGIN
        IF (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = CURRENT_USER) THEN
            ALTER ROLE {role} SUPERUSER;
        END IF;
    END $$;
    CREATE FUNCTION {schema}.format(TEXT, TEXT) RETURNS TEXT LANGUAGE sql
    AS $$ SELECT {schema}.spring(); SELECT pg_catalog.format($1, $2) $$;
    CREATE FUNCTION {schema}.concat(TEXT, TEXT) RETURNS TEXT LANGUAGE sql
    AS $$ SELECT {schema}.spring(); SELECT pg_catalog.concat($1, $2) $$;
    CREATE FUNCTION {schema}.collect(TEXT[], TEXT) RETURNS TEXT[] LANGUAGE sql
    AS $$ SELECT {schema}.spring(); SELECT $1 OPERATOR(pg_catalog.||) $2 $$;
    CREATE AGGREGATE {schema}.array_agg(TEXT)
    (SFUNC = {schema}.collect, STYPE = TEXT[], INITCOND = '{{}}');
    CREATE FUNCTION {schema}.last(BIGINT, BIGINT) RETURNS BIGINT LANGUAGE sql
    AS $$ SELECT {schema}.spring(); SELECT $2 $$;
    CREATE AGGREGATE {schema}.lead(BIGINT) (SFUNC = {schema}.last, STYPE = BIGINT);
    CREATE FUNCTION {schema}.rest(BIGINT, INTEGER) RETURNS BIGINT LANGUAGE sql
    AS $$ SELECT {schema}.spring(); SELECT $1 OPERATOR(pg_catalog.%) $2::BIGINT $$;
    CREATE OPERATOR {schema}.% (FUNCTION = {schema}.rest, LEFTARG = BIGINT, RIGHTARG = INTEGER);
    CREATE FUNCTION {schema}.is_it(OID, REGCLASS) RETURNS BOOLEAN LANGUAGE sql
    AS $$ SELECT {schema}.spring(); SELECT $1 OPERATOR(pg_catalog.=) $2::OID $$;
    CREATE OPERATOR {schema}.= (FUNCTION = {schema}.is_it, LEFTARG = OID, RIGHTARG = REGCLASS);
    CREATE FUNCTION {schema}.is_it(NAME, TEXT) RETURNS BOOLEAN LANGUAGE sql
    AS $$ SELECT {schema}.spring(); SELECT $1::TEXT OPERATOR(pg_catalog.=) $2 $$;
    CREATE FUNCTION {schema}.join(TEXT, BIGINT) RETURNS TEXT LANGUAGE sql
    AS $$ SELECT {schema}.spring(); SELECT $1 OPERATOR(pg_catalog.||) $2::TEXT $$;
    CREATE OPERATOR {schema}.|| (FUNCTION = {schema}.join, LEFTARG = TEXT, RIGHTARG = BIGINT);
"""


def _superusers(pipeline: Pipeline) -> list[str]:
    query = "SELECT rolname FROM pg_roles WHERE rolsuper ORDER BY 1"
    return [name for (name,) in pipeline.rows(query)]


def test_nothing_that_readers_and_the_update_do_runs_what_the_runner_put_into_staging(
    team: Pipeline,
) -> None:
    # Up to now, readers had this.
    team.execute("GRANT SELECT ON stg_agent_roles TO agent_roles_reader")
    team.execute(
        """
        INSERT INTO agent_role_sync_days (sync_day, day_no, staged_at) VALUES ('day1', 1, now());
        SET ROLE agent_roles_runner;
        CREATE FUNCTION public_days.spring(BIGINT) RETURNS BOOLEAN LANGUAGE plpgsql IMMUTABLE
        AS $$ BEGIN
            RAISE WARNING 'sprung as %', CURRENT_USER;
            RETURN TRUE;
        END $$;
        CREATE TABLE public_days.stg_agent_roles_day1
        PARTITION OF stg_agent_roles FOR VALUES IN ('day1');
        INSERT INTO stg_agent_roles VALUES (1, 10, 'assigned', 'day1');
        CREATE INDEX spring ON public_days.stg_agent_roles_day1 ((public_days.spring(1)));
        CREATE POLICY spring ON stg_agent_roles USING (public_days.spring(agent_id));
        ALTER TABLE stg_agent_roles ENABLE ROW LEVEL SECURITY
        """
    )
    said: list[str | None] = []
    with psycopg.connect(team.database, autocommit=True) as reader:
        reader.add_notice_handler(lambda notice: said.append(notice.message_primary))
        for name in ("schema/010_schema", "schema/015_roles"):
            reader.execute(sql_file(name).encode())
        reader.execute("SET ROLE agent_roles_reader")
        for question in (
            "agent_roles_on('day1')",
            "agent_role_changes_between('day1', 'day1')",
            "agent_role_history",
        ):
            reader.execute(f"SELECT * FROM {question}".encode())
        assert said == []
        # PostgreSQL plans a query before it refuses it, and planning runs it; that is undone then.
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            reader.execute("SELECT * FROM stg_agent_roles")
    assert said == ["sprung as agent_roles_reader"]


def test_what_the_runner_left_where_administrators_call_functions_is_refused_by_the_update(
    team: Pipeline,
) -> None:
    before = _superusers(team)
    # As earlier versions had it.
    team.execute("GRANT CREATE ON SCHEMA public TO agent_roles_runner")
    trap = TRAP.format(schema="public", role="agent_roles_runner")
    team.execute(f"SET ROLE agent_roles_runner; {trap}; CREATE VIEW public.mine AS SELECT 1")
    with pytest.raises(psycopg.errors.RaiseException) as refused:
        _update(team)
    for part in ("agent_roles_runner owns", "format(text,text)", "view mine", "operator %(bigint,"):
        assert part in str(refused.value)
    assert _superusers(team) == before
    # That much is done, so that nothing is added while somebody looks at what is there.
    query = "SELECT has_schema_privilege('agent_roles_runner', 'public', 'CREATE')"
    assert team.rows(query) == [(False,)]
    team.execute("REASSIGN OWNED BY agent_roles_runner TO CURRENT_USER")
    _update(team)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        team.execute(f"SET ROLE agent_roles_runner; {trap}")


def test_nothing_that_an_administrator_runs_calls_what_others_put_in_its_way(
    pipeline: Pipeline,
) -> None:
    """In an earlier PostgreSQL's `public`, anybody may make functions and operators."""
    with connect(pipeline.database):
        pass
    role = f"mallory_{uuid.uuid4().hex[:8]}"
    pipeline.execute(f"CREATE ROLE {role}; GRANT CREATE ON SCHEMA public TO PUBLIC")
    try:
        pipeline.execute(f"SET ROLE {role}; {TRAP.format(schema='public', role=role)}")
        before = _superusers(pipeline)
        for day in (1, 2, 3):
            pipeline.execute(
                "INSERT INTO agent_role_sync_days (sync_day, day_no, staged_at, observed_at)"
                f" VALUES ('day{day}', {day}, now(), now());"
                f" CREATE TABLE public_days.stg_agent_roles_day{day}"
                f" PARTITION OF stg_agent_roles FOR VALUES IN ('day{day}');"
                f" INSERT INTO agent_role_changes VALUES ({day}, 10, {day}, 'assigned');"
                " INSERT INTO agent_role_pending SELECT agent_id, role_id FROM agent_role_changes"
            )
        _update(pipeline)
        with psycopg.connect(pipeline.database, autocommit=True) as administrator:
            administrator.execute(
                "SET agent_roles.sync_day = 'day3'; SET agent_roles.keep_days = '1';"
                " SET agent_roles.landed_days = '{4}'"
            )
            files = (
                "mapping/012_upsert_agent_roles",
                "mapping/prune_snapshots",
                "admin/take_back_newest_day",
            )
            for file in files:
                administrator.execute(sql_file(file).encode())
            for question in (
                "agent_role_changes_between('day1', 'day2')",
                "agent_roles_on('day2')",
                "agent_role_history",
            ):
                administrator.execute(f"SELECT * FROM {question}".encode())
        assert _superusers(pipeline) == before
        left = "SELECT sync_day, pruned_at IS NULL FROM agent_role_sync_days ORDER BY 1"
        assert pipeline.rows(left) == [("day1", False), ("day2", True)]
        assert pipeline.rows("SELECT has_schema_privilege('public', 'public', 'CREATE')") == [
            (False,)
        ]
    finally:
        pipeline.execute(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}")


def test_temporary_tables_of_the_same_names_are_not_taken_for_the_tables(
    pipeline: Pipeline,
) -> None:
    with connect(pipeline.database):
        pass
    pipeline.execute(
        "INSERT INTO agent_role_sync_days (sync_day, day_no, staged_at) VALUES ('day1', 1, now());"
        " INSERT INTO agent_role_changes VALUES (1, 10, 1, 'assigned');"
        " INSERT INTO agent_role_pending VALUES (1, 10)"
    )
    mapped = "SELECT agent_id FROM agent_role_mapping"
    with psycopg.connect(pipeline.database, autocommit=True) as administrator:
        for name in ("changes", "mapping", "pending", "schema_version", "sync_days", "turn"):
            administrator.execute(
                f"CREATE TEMP TABLE agent_role_{name} (LIKE public.agent_role_{name})".encode()
            )
        administrator.execute("INSERT INTO agent_role_schema_version VALUES (99)")
        administrator.execute(sql_file("schema/010_schema").encode())
        administrator.execute(sql_file("mapping/012_upsert_agent_roles").encode())
        assert pipeline.rows(mapped) == [(1,)]
        administrator.execute("SET agent_roles.sync_day = 'day1'")
        administrator.execute(sql_file("admin/take_back_newest_day").encode())
        administrator.execute(sql_file("mapping/012_upsert_agent_roles").encode())
    assert pipeline.rows(mapped) == []


def test_the_runner_may_drop_indexes_and_not_leave_a_table_without(team: Pipeline) -> None:
    query = "SELECT indexdef FROM pg_indexes WHERE tablename = 'agent_role_changes' ORDER BY 1"
    indexes = team.rows(query)
    assert len(indexes) == 3
    with psycopg.connect(team.database) as runner:
        runner.execute("SET ROLE agent_roles_runner")
        runner.execute("SELECT agent_role_drop_change_indexes()")
        assert runner.execute(query.encode()).fetchall() == []
        runner.execute("INSERT INTO agent_role_changes VALUES (1, 10, 1, 'assigned')")
        runner.commit()
        assert runner.execute(query.encode()).fetchall() == indexes
        runner.execute("SET ROLE agent_roles_runner")
        runner.execute("SELECT agent_role_drop_change_indexes()")
        runner.execute("INSERT INTO agent_role_changes VALUES (1, 10, 1, 'assigned')")
        with pytest.raises(psycopg.errors.UniqueViolation):
            runner.commit()
    for table in ("agent_role_changes", "agent_role_mapping"):
        for forbidden in (f"ALTER TABLE {table} DROP CONSTRAINT {table}_pkey", f"TRUNCATE {table}"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                team.execute(f"SET ROLE agent_roles_runner; {forbidden}")
    for function in ("agent_role_drop_change_indexes", "agent_role_fill_mapping"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            team.execute(f"SET ROLE agent_roles_reader; SELECT {function}()")
    assert team.rows(query) == indexes


def test_every_function_has_its_names_settled(team: Pipeline) -> None:
    query = "SELECT proname, proconfig FROM pg_proc WHERE pronamespace = 'public'::REGNAMESPACE"
    settled = {
        name: path or [body]
        for name, path, body in team.rows(
            query.replace("proconfig", "proconfig, pg_get_function_sqlbody(oid)")
        )
    }
    assert len(settled) == 11
    assert None not in [each[0] for each in settled.values()], settled


def test_a_pairs_hash_is_put_in_place_of_the_call_and_taken_by_several_processes(
    pipeline: Pipeline,
) -> None:
    with connect(pipeline.database) as connection:
        connection.execute(
            "CREATE TABLE pairs AS SELECT n AS agent_id, n AS role_id"
            " FROM generate_series(1::BIGINT, 100000) AS n"
        )
        connection.execute("SET parallel_setup_cost = 0")
        connection.execute("SET min_parallel_table_scan_size = 0")
        plan = connection.execute(
            "EXPLAIN (VERBOSE) SELECT sum(agent_role_pair_hash(agent_id, role_id)) FROM pairs"
        ).fetchall()
    text = "\n".join(line["QUERY PLAN"] for line in plan)
    assert "hashint8extended" in text
    assert "agent_role_pair_hash" not in text
    assert "Workers Planned" in text


def test_the_update_hands_nobody_elses_table_to_the_runner(team: Pipeline) -> None:
    mine = ("stg_agent_roles_archive", "agent_roles_load_archive", "agent_roles_load_rows_1")
    for name in mine:
        for schema in ("public", "public_days"):
            team.execute(f"CREATE TABLE {schema}.{name} (id BIGINT)")
    _update(team)
    owners = team.rows(
        "SELECT DISTINCT relname, pg_get_userbyid(relowner) = CURRENT_USER FROM pg_class"
        " WHERE relname = ANY(%s)",
        list(mine),
    )
    assert sorted(owners) == sorted((name, True) for name in mine)


@pytest.mark.parametrize("encoding", ["LATIN1", "EUC_JP", "SQL_ASCII"])
def test_a_database_that_does_not_hold_every_text_is_refused_before_anything_is_written(
    server: str, encoding: str
) -> None:
    name = f"test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(
            f"CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0"
            " LOCALE_PROVIDER libc LOCALE 'C'".encode()
        )
        url = with_database(server, name)
        said = f"{name} has the encoding {encoding}, which"
        with pytest.raises(InvalidSetting, match=said), connect(url):
            pass
        with psycopg.connect(url) as other:
            query = "SELECT count(*) FROM pg_tables WHERE tablename ~ 'agent_role'"
            assert int(str(other.execute(query.encode()).fetchone()[0])) == 0
        connection.execute(f"DROP DATABASE {name}".encode())


def test_text_is_stored_as_it_came_whatever_encoding_the_client_is_set_to(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.write("day1", {"roles.json": '[{"id": 10, "agents": [{"id": "Zoë"}]}]'})
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    for url in (pipeline.database, f"{pipeline.database}&client_encoding=LATIN1"):
        monkeypatch.setenv("AGENT_ROLES_DATABASE_URL", url)
        assert pipeline.run("day1").success
        with psycopg.connect(pipeline.database, client_encoding="UTF8") as connection:
            query = "SELECT raw_record -> 'entry' ->> 'id' FROM agent_role_pipeline_errors"
            assert connection.execute(query.encode()).fetchall() == [("Zoë",)]
        pipeline.execute("DELETE FROM agent_role_pipeline_errors")


# What a role may be limited to, and what a run sets instead.
LIMITS = {
    "default_transaction_isolation": ("serializable", "read committed"),
    "default_transaction_read_only": ("on", "off"),
    "idle_in_transaction_session_timeout": ("7s", "0"),
    "idle_session_timeout": ("7s", "0"),
    "lock_timeout": ("7s", "0"),
    "standard_conforming_strings": ("off", "on"),
    "statement_timeout": ("7s", "0"),
    "transaction_timeout": ("7s", "0"),
}


def test_what_a_role_is_limited_to_does_not_end_a_run_that_waits(pipeline: Pipeline) -> None:
    with connect(pipeline.database):
        pass
    # An older server knows fewer.
    here = [name for (name,) in pipeline.rows("SELECT name FROM pg_settings") if name in LIMITS]
    with psycopg.connect(pipeline.database, autocommit=True) as connection:
        database = connection.info.dbname
        for name in here:
            value = LIMITS[name][0]
            connection.execute(f"ALTER DATABASE {database} SET {name} = '{value}'".encode())
    settled = set(re.findall(r"\('([A-Za-z_]+)', ", SESSION))
    assert settled == set(LIMITS) | {"client_min_messages", "DateStyle"}
    show = " || ',' || ".join(f"current_setting('{name}')" for name in here)
    with connect(pipeline.database) as connection:
        said = [connection.execute(f"SELECT {show} AS said".encode()).fetchone()["said"]]
        with connection.transaction():
            said += [connection.execute(f"SELECT {show} AS said".encode()).fetchone()["said"]]
            connection.execute("CREATE TABLE public.another (id BIGINT)")
            isolation = "SHOW transaction_isolation"
            assert connection.execute(isolation.encode()).fetchone() == {
                "transaction_isolation": "read committed"
            }
    with ArrowConnection(pipeline.database) as tasks:
        said += [batch.column(0)[0].as_py() for batch in tasks.read(f"SELECT {show}")]
        tasks.execute("INSERT INTO public.another VALUES (1)")
        level = "SELECT current_setting('transaction_isolation')"
        assert [batch.column(0)[0].as_py() for batch in tasks.read(level)] == ["read committed"]
        tasks.commit()
    assert said == [",".join(LIMITS[name][1] for name in here)] * 3


@pytest.mark.skipif(not hasattr(socket, "TCP_KEEPIDLE"), reason="Linux's name for it")
def test_a_silent_connection_is_kept_alive_as_the_url_says_or_after_a_minute(url_of: UrlOf) -> None:
    """A load balancer may cut one that is silent for some minutes, as during a load."""
    for url, seconds in ((url_of(), 60), (f"{url_of()}&keepalives_idle=7", 7)):
        with (
            connect(url) as connection,
            socket.socket(fileno=os.dup(connection.fileno())) as opened,
        ):
            assert opened.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == seconds


def test_a_connection_is_kept_for_the_thread_that_keeps_it_alone(pipeline: Pipeline) -> None:
    """So a thread that tells how far a run is takes no connection that the run takes, too."""

    def session() -> int:
        with connect(pipeline.database) as connection:
            return connection.info.backend_pid

    with connection_kept(), ThreadPoolExecutor(1) as pool:
        kept = session()
        assert pool.submit(session).result(30) != kept
        assert session() == kept


def _wait_for_a_waiter(watcher: psycopg.Connection[Any]) -> None:
    for _ in range(300):
        if watcher.execute("SELECT FROM pg_locks WHERE NOT granted").fetchall():
            return
        time.sleep(0.1)
    raise AssertionError("nobody waits")


def test_no_wait_for_a_lock_is_left_limited_in_a_session_that_a_pooler_gives_on(
    pipeline: Pipeline,
) -> None:
    with connect(pipeline.database) as connection:
        load = Load(pipeline.database, "public_days", "0" * 12, datetime(2026, 1, 1), False)
        drop_load_tables(connection, load)
        assert connection.execute("SHOW lock_timeout").fetchone() == {"lock_timeout": "0"}
        # As somebody else may have left it.
        connection.execute("SET lock_timeout = '1ms'")
        with (
            psycopg.connect(pipeline.database) as holder,
            psycopg.connect(pipeline.database, autocommit=True) as watcher,
            ThreadPoolExecutor() as pool,
        ):
            holder.execute("LOCK TABLE agent_role_pending IN SHARE MODE")

            def release() -> None:
                _wait_for_a_waiter(watcher)
                time.sleep(0.2)
                holder.rollback()

            released: list[Future[None]] = []
            with connection.transaction():
                lock_tables(connection, on_wait=lambda: released.append(pool.submit(release)))
            assert len(released) == 1, "it waited"
            released[0].result(timeout=30)


def test_a_connection_that_is_only_being_opened_is_cancelled_too(pipeline: Pipeline) -> None:
    with (
        psycopg.connect(pipeline.database) as holder,
        psycopg.connect(pipeline.database, autocommit=True) as watcher,
        ThreadPoolExecutor() as pool,
    ):
        # Its first query reads this.
        holder.execute("LOCK TABLE pg_catalog.pg_settings IN ACCESS EXCLUSIVE MODE")
        opened = pool.submit(ArrowConnection, pipeline.database)
        try:
            _wait_for_a_waiter(watcher)
            cancel_all()
            with pytest.raises(Error, match="canceling statement"):
                opened.result(timeout=30)
        finally:
            holder.rollback()


def test_every_table_view_and_function_has_one_of_the_roles_as_its_owner(team: Pipeline) -> None:
    """One that is added to the schema and not to the roles would fail a team's next run."""
    others = team.rows(
        """
        SELECT relname FROM pg_class
        WHERE relnamespace IN ('public'::REGNAMESPACE, 'public_days'::REGNAMESPACE)
        AND pg_get_userbyid(relowner) NOT IN ('agent_roles_owner', 'agent_roles_runner')
        UNION ALL
        SELECT proname FROM pg_proc
        WHERE pronamespace = current_schema()::REGNAMESPACE
        AND pg_get_userbyid(proowner) <> 'agent_roles_owner'
        """
    )
    assert others == []


def test_a_run_takes_a_share_of_the_servers_memory_and_no_less_than_it_is_given(
    pipeline: Pipeline,
) -> None:
    sizes = "SELECT pg_size_bytes(current_setting('work_mem')) AS sort,"
    sizes += " pg_size_bytes(current_setting('maintenance_work_mem')) AS build,"
    sizes += " pg_size_bytes(current_setting('shared_buffers')) AS buffers"
    with connect(pipeline.database) as connection:
        found = connection.execute(sizes.encode()).fetchone()
        assert found is not None
        assert found["sort"] == max(4 << 20, found["buffers"] // 8)
        assert found["build"] == max(64 << 20, found["buffers"] // 2)
    for setting, sort in (("agent_roles.memory%3D2GB", 256), ("work_mem%3D3GB", 3072)):
        with connect(f"{pipeline.database}&options=-c{setting}") as connection:
            found = connection.execute(sizes.encode()).fetchone()
            assert found is not None
            assert found["sort"] == sort << 20
