"""The database as a team has it: reached by TLS, with roles that may do no more than they need."""

import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
import trustme

from agent_roles_dagster.database import connect, run_file
from tests.conftest import Pipeline
from tests.tls_proxy import tls_proxy
from tests.worlds import write_day

PASSWORD = "pass word/@:%"
UrlOf = Callable[..., str]


@pytest.fixture
def team(pipeline: Pipeline) -> Iterator[Pipeline]:
    """A pipeline whose tables somebody made and then gave to the roles."""
    with connect(pipeline.database) as connection:
        # As before PostgreSQL 15.
        connection.execute("GRANT CREATE ON SCHEMA public TO PUBLIC")
        run_file(connection, "015_roles")
        connection.execute(f"ALTER ROLE agent_roles_runner PASSWORD '{PASSWORD}'".encode())
    [[hba]] = pipeline.rows("SHOW hba_file")
    before = Path(hba).read_text()
    Path(hba).write_text(f"local all agent_roles_runner scram-sha-256\n{before}")
    pipeline.rows("SELECT pg_reload_conf()")
    yield pipeline
    Path(hba).write_text(before)
    pipeline.rows("SELECT pg_reload_conf()")


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
    assert team.run("day1").success
    with connect(team.database) as connection:
        run_file(connection, "015_roles")
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
            "stg_agent_roles",
        ):
            connection.execute(f"SELECT * FROM {allowed}".encode())
        connection.execute(
            "SELECT agent_id, role_id, error_message FROM agent_role_pipeline_errors"
        )
        for refused in (
            "SELECT raw_record FROM agent_role_pipeline_errors",
            "SELECT record FROM agent_role_checksums",
            "DELETE FROM agent_role_mapping",
            "INSERT INTO agent_role_pending VALUES (1, 1)",
            "UPDATE agent_role_sync_days SET accepted_reason = 'mine'",
            "DELETE FROM stg_agent_roles",
            "DROP TABLE stg_agent_roles",
            "CREATE TABLE another (id BIGINT)",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(refused.encode())


def test_the_tables_of_an_earlier_version_are_completed_by_who_may(
    team: Pipeline, url_of: UrlOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_day(team.landing, "day1", 1)
    monkeypatch.setenv("AGENT_ROLES_DATABASE_URL", url_of())
    team.execute("DROP TABLE agent_role_checksums")
    for is_there in (False, True):
        if is_there:
            with connect(team.database):
                pass  # makes what is not there, for itself
        result = team.run("day1")
        [failure] = [event for event in result.all_events if event.is_step_failure]
        text = failure.step_failure_data.error.cause.message
        assert "Whoever owns the tables runs sql/010_schema.sql and sql/015_roles.sql" in text
        assert ("permission denied for table agent_role_checksums" in text) == is_there
        assert team.rows("SELECT FROM agent_role_sync_days") == []

    with connect(team.database) as connection:
        run_file(connection, "015_roles")
    assert all(team.run("day1").success for _ in range(2))
    with psycopg.connect(url_of()) as runner:
        assert runner.execute("DELETE FROM agent_role_checksums").rowcount == 1


def test_every_table_view_and_function_has_one_of_the_roles_as_its_owner(team: Pipeline) -> None:
    """One that is added to the schema and not to the roles would fail a team's next run."""
    others = team.rows(
        """
        SELECT relname FROM pg_class
        WHERE relnamespace = current_schema()::REGNAMESPACE
        AND pg_get_userbyid(relowner) NOT IN ('agent_roles_owner', 'agent_roles_runner')
        UNION ALL
        SELECT proname FROM pg_proc
        WHERE pronamespace = current_schema()::REGNAMESPACE
        AND pg_get_userbyid(proowner) <> 'agent_roles_owner'
        """
    )
    assert others == []
