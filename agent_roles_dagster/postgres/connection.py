"""PostgreSQL: where it is, how to connect, and which version the tables must have."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.rows import dict_row

from agent_roles_dagster.postgres.embedded.server import running_server
from agent_roles_dagster.postgres.sql_files import Connection, one, rows_of_file, run_file
from agent_roles_dagster.settings import InvalidSetting, Settings

# The version that sql/schema/010_schema.sql makes. It rises with each change that the code needs.
SCHEMA_VERSION = 5
# The owner of the days, if sql/schema/015_roles.sql was run.
_RUNNER = "agent_roles_runner"
# The messages of SQLSTATE classes 28 and 3D. libpq does not give the SQLSTATE of a connection that
# was not made. A server that speaks another language counts as not reachable.
REFUSALS = re.compile(
    r"FATAL: +(?:.*authentication failed for user|no pg_hba\.conf entry|pg_hba\.conf rejects"
    r'|role ".*" (?:does not exist|is not permitted)|database ".*" does not exist)'
)
# A run waits for as long as it must, whatever is set for the role, the database or in the URL.
# The join leaves out settings that an older server does not know. The text is here and not in sql/
# because Spark's tasks run it, too, and get this package's modules only.
SESSION = """
    SELECT pg_catalog.set_config(known.name, wanted.setting, FALSE)
    FROM pg_catalog.pg_settings AS known
    INNER JOIN (
        VALUES
        ('client_min_messages', 'warning'),
        -- Versions of reports are hashes of texts that may have times in them.
        ('DateStyle', 'ISO, MDY'),
        ('default_transaction_isolation', 'read committed'),
        ('default_transaction_read_only', 'off'),
        ('idle_in_transaction_session_timeout', '0'),
        ('idle_session_timeout', '0'),
        ('lock_timeout', '0'),
        ('standard_conforming_strings', 'on'),
        ('statement_timeout', '0'),
        ('transaction_timeout', '0')
    ) AS wanted (name, setting) ON known.name = wanted.name
"""


class NotReachable(psycopg.OperationalError):
    """No connection was made. The text says why and what to do, and has no password."""


class Refused(NotReachable):
    """The server answered: it has no such database, or does not let this user in."""


def database_url(settings: Settings) -> str:
    """libpq URL of the database; the embedded server is started where none is set."""
    return settings.database_url or running_server(settings.home)


@contextmanager
def connect(url: str) -> Iterator[Connection]:
    """An autocommitting connection to a database in which the schema exists.

    PostgreSQL's errors leave it without their details, which may quote a row.

    Raises:
        InvalidSetting: the text is no URL, or it names a database or a user that can't be used.
        Refused: the server does not let this user into this database.
        NotReachable: no connection was made for another reason. Trying again may help.
    """
    _require_url(url)
    kept = _kept.by_url.pop(url, None) if _kept.by_url is not None else None
    try:
        # No prepared statements: a pooler may give another session, which does not have them.
        opened = kept or psycopg.connect(
            conninfo(url), autocommit=True, row_factory=dict_row, prepare_threshold=None
        )
    except psycopg.OperationalError as error:
        kind = Refused if REFUSALS.search(str(error)) else NotReachable
        # The text has several lines, and may end with a question.
        why = " ".join(str(error).split()).removesuffix(".")
        raise kind(
            f"{why}{'' if why.endswith('?') else '.'} Nothing was changed. AGENT_ROLES_DATABASE_URL"
            " says which database is used; without it, it is the embedded one"
        ) from None
    with _closed_or_kept(opened, url) as connection:
        try:
            if connection is not kept:
                _prepare(connection)
            yield connection
        except psycopg.errors.InsufficientPrivilege as error:
            raise psycopg.errors.InsufficientPrivilege(
                f"{error.diag.message_primary}. Run sql/schema/010_schema.sql and"
                " sql/schema/015_roles.sql with psql as the tables' owner, as after every update"
            ) from None
        except psycopg.Error as error:
            if error.diag.message_detail is None and error.diag.context is None:
                raise
            # The details may quote a row, with names and addresses.
            without_details = type(error)(error.diag.message_primary or "PostgreSQL refused")
            raise without_details.with_traceback(error.__traceback__) from None


def _prepare(connection: Connection) -> None:
    _require_utf8(connection)
    # psycopg sends both with each transaction, as a pooler may give it another session.
    connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
    connection.read_only = False
    connection.execute(SESSION.encode())
    run_file(connection, "session/memory")
    [place] = rows_of_file(connection, "session/place")
    _require_place(place)
    _require_version(connection, place["has_version"])


class _Kept(threading.local):
    """The connections of a thread that keeps them, by URL."""

    by_url: dict[str, Connection] | None = None


_kept = _Kept()


@contextmanager
def connection_kept() -> Iterator[None]:
    """Within it, a closed connection is kept open, and this thread's next `connect` takes it.

    For a process that connects many times, one after the other.
    """
    _kept.by_url = {}
    try:
        yield
    finally:
        kept, _kept.by_url = _kept.by_url, None
        for connection in kept.values():
            connection.close()


@contextmanager
def _closed_or_kept(connection: Connection, url: str) -> Iterator[Connection]:
    try:
        yield connection
    except BaseException:
        connection.close()
        raise
    is_idle = connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
    if _kept.by_url is None or url in _kept.by_url or not is_idle:
        connection.close()
    else:
        _kept.by_url[url] = connection


def conninfo(url: str) -> str:
    """The URL's parameters with ours: UTF-8 whatever it says, keepalives unless it says otherwise.

    A load balancer may cut a connection that is silent, as the turn's is while the tasks load.
    """
    keepalives = {"keepalives_idle": 60, "keepalives_interval": 10, "keepalives_count": 6}
    own = psycopg.conninfo.conninfo_to_dict(url)
    return psycopg.conninfo.make_conninfo("", **{**keepalives, **own, "client_encoding": "UTF8"})


def _require_utf8(connection: Connection) -> None:
    """Refuse a database that can't hold every text, before anything is written there."""
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise InvalidSetting(
            f"The database {connection.info.dbname} has the encoding {encoding}, which does not"
            " hold every text of a dump. Nothing was changed. Make one with UTF8, for example"
            " by CREATE DATABASE agent_roles ENCODING 'UTF8' TEMPLATE template0"
        )


def _require_place(found: dict[str, Any]) -> None:
    """Refuse to make the tables a second time, or to write to the runner's as another role.

    Neither the next run nor the locks would find days in another schema. The owner of a table can
    make code run as the role that writes there.

    Args:
        found: the row of sql/session/place.sql.
    """
    here, place, owner = found["here"], found["place"], found["owner"]
    if place not in (None, here):
        raise InvalidSetting(
            f"The tables are in the schema {place}, but the search_path of this connection would"
            f" make new ones elsewhere. Nothing was changed. Put {place} first, for example by"
            f" ?options=-csearch_path%3D{place} at the end of AGENT_ROLES_DATABASE_URL"
        )
    if here is None:
        raise InvalidSetting(
            "The search_path of this connection names no schema that is there. Nothing was changed."
            " Make the schema, or name another one in AGENT_ROLES_DATABASE_URL"
        )
    if owner == _RUNNER != found["who"]:
        raise InvalidSetting(
            f"The tables are for {_RUNNER} to write, but AGENT_ROLES_DATABASE_URL names"
            f" {found['who']}, as whom what {_RUNNER} put into them would run. Nothing was changed."
            f" Name {_RUNNER} in it"
        )


def _require_version(connection: Connection, has_version: bool) -> None:
    """Bring the tables up to date if they are of an earlier version, or not there at all."""
    version = 0
    if has_version:
        version = one(connection, "SELECT version FROM agent_role_schema_version")
    if version > SCHEMA_VERSION:
        raise InvalidSetting(
            f"The tables are of version {version}, and this code knows {SCHEMA_VERSION}: somebody"
            " runs a newer one. Nothing was changed. Install that one here, too"
        )
    if version < SCHEMA_VERSION:
        run_file(connection, "schema/010_schema")


def days_schema(connection: Connection) -> str:
    """The schema of the days and of the load tables, beside that of the other tables."""
    return str(one(connection, "SELECT current_schema() || '_days' AS name"))


def _require_url(url: str) -> None:
    """Refuse a text that is no libpq URL. The message does not quote it: it may hold a password."""
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
