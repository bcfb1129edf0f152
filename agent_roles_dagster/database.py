"""PostgreSQL: where it is, how to connect, and the SQL files. What the tables mean is in them."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from agent_roles_dagster.embedded_postgres import running_server
from agent_roles_dagster.settings import InvalidSetting, Settings

Connection = psycopg.Connection[dict[str, Any]]

_HERE = Path(__file__).parent
_STAGING_LOCK = "hashtext('agent_roles staging ' || current_schema())"
# As the SQL files have it, which take it themselves when they run with psql.
_LOCK_TABLES = "LOCK TABLE agent_role_pending IN SHARE ROW EXCLUSIVE MODE"
# So long a run waits before it says so: autovacuum gives way after a second.
_SILENCE = "2s"
# SQLSTATE classes 28 and 3D, which libpq doesn't tell of a connection that was not made. A server
# that speaks another language counts as one that can't be reached.
REFUSALS = re.compile(
    r"FATAL: +(?:.*authentication failed for user|no pg_hba\.conf entry|pg_hba\.conf rejects"
    r'|role ".*" (?:does not exist|is not permitted)|database ".*" does not exist)'
)


class NotReachable(psycopg.OperationalError):
    """No connection was made. Its text says why and what to do, and has no password."""


class Refused(NotReachable):
    """The server answered that there is no such database, or none for this user."""


def database_url(settings: Settings) -> str:
    """libpq URL of the database; the embedded server is started where none is set."""
    return settings.database_url or running_server(settings.home)


@contextmanager
def connect(url: str) -> Iterator[Connection]:
    """An autocommitting connection to a database in which the schema exists.

    An error of PostgreSQL's that leaves it says what is wrong, and quotes no row.

    Raises:
        InvalidSetting: the URL is none.
        Refused: the server does not let this user into this database.
        NotReachable: no connection was made for any other reason, which may pass.
    """
    _require_url(url)
    try:
        opened = psycopg.connect(url, autocommit=True, row_factory=dict_row)
    except psycopg.OperationalError as error:
        kind = Refused if REFUSALS.search(str(error)) else NotReachable
        raise kind(
            f"{error}. Nothing was changed. AGENT_ROLES_DATABASE_URL says which database is used;"
            " without it, it is the embedded one"
        ) from None
    with opened as connection:
        try:
            connection.execute("SET client_min_messages = warning")
            # The last thing that the file creates, and what it drops.
            newest = "to_regprocedure('agent_role_changes_between(text, text)') IS NOT NULL"
            dropped = "to_regclass('agent_role_checksums') IS NULL"
            if not one(connection, f"SELECT {newest} AND {dropped} AS current"):
                run_file(connection, "010_schema")
            _require_one_schema(connection)
            yield connection
        except psycopg.errors.InsufficientPrivilege as error:
            raise psycopg.errors.InsufficientPrivilege(
                f"{error.diag.message_primary}. Whoever owns the tables runs sql/010_schema.sql and"
                " sql/015_roles.sql with psql, as after every update"
            ) from None
        except psycopg.Error as error:
            if error.diag.message_detail is None and error.diag.context is None:
                raise
            # These may quote a row, with names and addresses.
            told = type(error)(error.diag.message_primary or "PostgreSQL refused")
            raise told.with_traceback(error.__traceback__) from None


def _require_one_schema(connection: Connection) -> None:
    """Refuse to make the days' tables in another schema than the one that has the others.

    Nothing would find them there: neither the next run, nor the lock that makes runs take turns.
    """
    place = one(
        connection,
        "SELECT relnamespace::REGNAMESPACE::TEXT AS place FROM pg_class"
        " WHERE oid = to_regclass('agent_role_pending')"
        " AND relnamespace IS DISTINCT FROM to_regnamespace(quote_ident(current_schema()))",
    )
    if place is not None:
        raise InvalidSetting(
            f"The tables are in the schema {place}, but the search_path of this connection would"
            f" make new ones elsewhere. Nothing was changed. Put {place} first, for example by"
            f" ?options=-csearch_path%3D{place} at the end of AGENT_ROLES_DATABASE_URL"
        )


def _require_url(url: str) -> None:
    """Refuse what is no libpq URL, without quoting it: it may hold a password."""
    try:
        psycopg.conninfo.conninfo_to_dict(url)
        is_plain = url.partition("://")[2].partition("/")[0].count("@") <= 1
    except psycopg.ProgrammingError:
        is_plain = False
    if not is_plain:
        raise InvalidSetting(
            "AGENT_ROLES_DATABASE_URL is no libpq URL like postgresql://user:password@host/database;"
            " in a password, %, @, / and : are written %25, %40, %2F and %3A"
        )


@cache
def sql_file(name: str) -> str:
    """The text of sql/<name>.sql: beside the package in a checkout, inside it once installed."""
    folders = (_HERE.parent / "sql", _HERE / "sql")
    folder = next(folder for folder in folders if (folder / "010_schema.sql").is_file())
    return (folder / f"{name}.sql").read_text(encoding="utf-8")


def run_file(connection: Connection, name: str) -> list[int]:
    """Run a SQL file as it stands; returns the number of rows of each of its statements."""
    cursor = connection.execute(sql_file(name).encode())
    counts = [cursor.rowcount]
    while cursor.nextset():
        counts.append(cursor.rowcount)
    return counts


def rows_of_file(connection: Connection, name: str, **parameters: str) -> list[dict[str, Any]]:
    """The rows of a SQL file's one SELECT, which reads its parameters as `agent_roles.<name>`."""
    with connection.transaction():
        for key, value in parameters.items():
            connection.execute("SELECT set_config(%s, %s, TRUE)", (f"agent_roles.{key}", value))
        return connection.execute(sql_file(name).encode()).fetchall()


def one(connection: Connection, query: str, parameters: tuple[Any, ...] = ()) -> Any:
    """The first column of the query's first row."""
    row = connection.execute(query.encode(), parameters).fetchone()
    return None if row is None else next(iter(row.values()))


@contextmanager
def staging_lock(
    connection: Connection, *, wait: bool = True, on_wait: Callable[[], None] = lambda: None
) -> Iterator[bool]:
    """Hold the lock that lets one run at a time compare and publish days; yields whether it does.

    It lives as long as the connection: whoever loses the one loses the other, so publishing
    goes through this connection too.

    Args:
        wait: wait for another run that has it, rather than yield False.
        on_wait: called once before waiting.
    """
    locked = bool(one(connection, f"SELECT pg_try_advisory_lock({_STAGING_LOCK}) AS locked"))
    if not locked and wait:
        on_wait()
        connection.execute(f"SELECT pg_advisory_lock({_STAGING_LOCK})".encode())
        locked = True
    try:
        yield locked
    finally:
        if locked and not connection.closed and not connection.broken:
            connection.execute(f"SELECT pg_advisory_unlock({_STAGING_LOCK})".encode())


def lock_tables(connection: Connection, *, on_wait: Callable[[], None]) -> None:
    """Take, for the current transaction, the lock that lets one run at a time change the tables.

    Args:
        on_wait: called once if another run has it, before waiting.
    """
    try:
        with connection.transaction():
            connection.execute(f"SET LOCAL lock_timeout = '{_SILENCE}'".encode())
            connection.execute(_LOCK_TABLES.encode())
            # What follows in the transaction waits for as long as it must.
            connection.execute("SET LOCAL lock_timeout = DEFAULT")
    except psycopg.errors.LockNotAvailable:
        on_wait()
        connection.execute(_LOCK_TABLES.encode())


def drop_tables(connection: Connection, like: str) -> None:
    """Drop this schema's tables whose names are LIKE the pattern."""
    names = connection.execute(
        "SELECT tablename FROM pg_tables WHERE schemaname = current_schema() AND tablename LIKE %s",
        (like,),
    ).fetchall()
    for row in names:
        connection.execute(
            sql.SQL("DROP TABLE IF EXISTS {}").format(sql.Identifier(row["tablename"]))
        )
