"""A run's load tables, which take what Spark's tasks load until it is published."""

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

import psycopg
from psycopg import sql

from agent_roles_dagster.postgres.connection import connect
from agent_roles_dagster.postgres.sql_files import Connection, one, rows_of_file, run_file

FILLED_TABLES = ("rows", "delta", "errors", "notes")
LOAD_TABLES = (*FILLED_TABLES, "claims", "day")
_PREFIX = "agent_roles_load_"
COUNTS = (
    *("valid_rows", "valid_pairs", "invalid_rows"),
    *("in_day", "in_previous", "in_next", "removals"),
)


@dataclass(frozen=True)
class Load:
    """One run's load tables.

    Attributes:
        is_first: there is nothing to compare the day with, so each staged row is a change.
    """

    url: str = field(repr=False)  # may hold a password
    schema: str
    token: str
    loaded_at: datetime
    is_first: bool

    def name(self, name: str) -> str:
        return f"{_PREFIX}{name}_{self.token}"

    def table(self, name: str) -> sql.Identifier:
        return sql.Identifier(self.schema, self.name(name))


def create_load_tables(load: Load) -> None:
    """Create this run's load tables, and drop those that a killed run left and nobody uses.

    It has a connection of its own, so that the tasks see the tables while the transaction of
    `staging_turn` goes on. The caller must be in that transaction: then no other run loads.
    """
    with connect(load.url) as connection:
        for row in rows_of_file(connection, "load/left_tables"):
            _drop_unless_used(connection, sql.Identifier(load.schema, row["name"]))
        with connection.transaction():
            _search(connection, load.schema, _main(connection))
            run_file(connection, "load/020_create_load_tables")
            _rename(connection, load, away=True)


def drop_load_tables(connection: Connection, load: Load) -> None:
    """Drop this run's tables, unless another session holds a lock on one."""
    with connection.transaction():
        # Not for longer, as the run may be stopping. For the transaction only, as a pooler
        # keeps the session.
        connection.execute("SET LOCAL lock_timeout = '2s'")
        _drop(connection, [load.table(name) for name in LOAD_TABLES])


def _drop_unless_used(connection: Connection, table: sql.Identifier) -> None:
    """Drop a table, or leave it to a later run. A dump tool may hold a lock on it for hours."""
    with suppress(psycopg.errors.LockNotAvailable), connection.transaction():
        connection.execute("SET LOCAL lock_timeout = '500ms'")
        _drop(connection, [table])


def drop_used_tables(connection: Connection, load: Load) -> None:
    """Drop what `use_load_tables` renamed. A table that became the day's partition stays."""
    _drop(connection, [sql.Identifier(load.schema, _PREFIX + name) for name in LOAD_TABLES])


def _drop(connection: Connection, tables: Sequence[sql.Identifier]) -> None:
    if tables:
        connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(sql.SQL(", ").join(tables)))


def use_load_tables(connection: Connection, load: Load, *, on_wait: Callable[[], None]) -> None:
    """In this transaction, give the run's tables the names that the SQL files know.

    It comes before `lock_tables`: who uses one of these tables holds up no other run that applies
    a day.

    Args:
        on_wait: called once before it waits, if another session uses one of the tables.
    """
    if not _has_locked(connection, load):
        on_wait()
        while not _has_locked(connection, load):
            pass  # It has waited for half a second.
    _search(connection, load.schema, _main(connection))
    _rename(connection, load, away=False)


def _has_locked(connection: Connection, load: Load) -> bool:
    """Lock all of the run's tables, or none. A dump tool that wants another one can go on then."""
    try:
        with connection.transaction():
            connection.execute("SET LOCAL lock_timeout = '500ms'")
            connection.execute(lock_statement(load, LOAD_TABLES, "ACCESS EXCLUSIVE"))
            # The rest of the transaction waits as long as it must.
            connection.execute("SET LOCAL lock_timeout = 0")
    except psycopg.errors.LockNotAvailable:
        return False
    return True


def _main(connection: Connection) -> str:
    """The schema of the tables that all runs share."""
    return str(one(connection, "SELECT current_schema() AS name"))


def _search(connection: Connection, *schemas: str) -> None:
    """Have the rest of the transaction find its tables in these schemas."""
    path = sql.SQL(", ").join(map(sql.Identifier, (*schemas, "pg_temp"))).as_string(connection)
    connection.execute("SELECT set_config('search_path', %s, TRUE)", (path,))


def lock_statement(load: Load, names: Sequence[str], mode: str) -> sql.Composed:
    """All sessions lock in one order, so that a task that still runs can't block publishing."""
    tables = sql.SQL(", ").join(load.table(name) for name in names)
    return sql.SQL("LOCK TABLE {} IN {} MODE").format(tables, sql.SQL(mode))


def _rename(connection: Connection, load: Load, *, away: bool) -> None:
    statements = []
    for name in LOAD_TABLES:
        known, own = _PREFIX + name, load.name(name)
        old, new = (known, own) if away else (own, known)
        statements.append(
            sql.SQL("ALTER TABLE {} RENAME TO {}").format(
                sql.Identifier(load.schema, old), sql.Identifier(new)
            )
        )
    connection.execute(sql.SQL("; ").join(statements))


def loaded_counts(connection: Connection, target: Load) -> dict[str, int]:
    """The sums of the tasks' `COUNTS`."""
    claims = connection.execute(
        sql.SQL("SELECT counts FROM {}").format(target.table("claims"))
    ).fetchall()
    counts = [json.loads(claim["counts"]) for claim in claims]
    return {name: sum(part[name] for part in counts) for name in COUNTS}


def loaded_notes(connection: Connection, target: Load, kind: str) -> Sequence[str]:
    """The reader's notes of a kind ("file", "unreadable", "not read"), sorted."""
    rows = connection.execute(
        sql.SQL("SELECT note FROM {} WHERE kind = %s ORDER BY note").format(target.table("notes")),
        (kind,),
    )
    return [row["note"] for row in rows]


def removal_sample(connection: Connection, sync_day: str) -> list[str]:
    """Some of the day's removals, as "agent 1, role 10". Comes after `use_load_tables`."""
    rows = rows_of_file(connection, "load/removal_sample", sync_day=sync_day)
    return [f"agent {row['agent_id']}, role {row['role_id']}" for row in rows]
