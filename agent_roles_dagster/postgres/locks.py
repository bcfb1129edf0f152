"""How runs take turns."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg

from agent_roles_dagster.postgres.sql_files import Connection

# The SQL files have the same statement: with psql, they take the locks themselves.
_LOCK = "LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE"
# A run that waits for longer says so. Autovacuum gives way after a second.
_SILENCE = "2s"


@contextmanager
def staging_turn(connection: Connection, *, on_wait: Callable[[], None]) -> Iterator[None]:
    """A transaction in which this run is the only one that compares and publishes days.

    A run that loses the connection loses the lock, and can't publish. While the transaction is
    idle, it holds no snapshot, so VACUUM does its work.

    Args:
        on_wait: called once before it waits, if another run has the lock.
    """
    with connection.transaction():
        _lock(connection, "agent_role_turn", on_wait)
        yield


def lock_tables(connection: Connection, *, on_wait: Callable[[], None]) -> None:
    """Lock the tables that readers see, so that one run at a time changes them.

    The lock lasts until the end of the current transaction.

    Args:
        on_wait: called once before it waits, if another run has the lock.
    """
    _lock(connection, "agent_role_pending", on_wait)


def _lock(connection: Connection, table: str, on_wait: Callable[[], None]) -> None:
    statement = _LOCK.format(table).encode()
    try:
        with connection.transaction():
            connection.execute(f"SET LOCAL lock_timeout = '{_SILENCE}'".encode())
            connection.execute(statement)
            # The rest of the transaction waits as long as it must.
            connection.execute("SET LOCAL lock_timeout = 0")
    except psycopg.errors.LockNotAvailable:
        on_wait()
        # A pooler may have given a session with another timeout.
        connection.execute("SET LOCAL lock_timeout = 0")
        connection.execute(statement)
