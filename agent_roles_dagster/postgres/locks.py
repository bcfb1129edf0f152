"""How runs take turns."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg

from agent_roles_dagster.postgres.sql_files import Connection

# As the SQL files have it, which take the locks themselves when they run with psql.
_LOCK = "LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE"
# So long a run waits before it says so: autovacuum gives way after a second.
_SILENCE = "2s"


@contextmanager
def staging_turn(connection: Connection, *, on_wait: Callable[[], None]) -> Iterator[None]:
    """A transaction in which this run is the only one that compares and publishes days.

    Whoever loses the connection loses the lock, and can't publish. While it is idle, it holds no
    snapshot, so VACUUM does its work.

    Args:
        on_wait: called once if another run has the lock, before waiting.
    """
    with connection.transaction():
        _lock(connection, "agent_role_turn", on_wait)
        yield


def lock_tables(connection: Connection, *, on_wait: Callable[[], None]) -> None:
    """Take, for the current transaction, the lock that lets one run at a time change the tables.

    Args:
        on_wait: called once if another run has it, before waiting.
    """
    _lock(connection, "agent_role_pending", on_wait)


def _lock(connection: Connection, table: str, on_wait: Callable[[], None]) -> None:
    statement = _LOCK.format(table).encode()
    try:
        with connection.transaction():
            connection.execute(f"SET LOCAL lock_timeout = '{_SILENCE}'".encode())
            connection.execute(statement)
            # What follows in the transaction waits for as long as it must.
            connection.execute("SET LOCAL lock_timeout = 0")
    except psycopg.errors.LockNotAvailable:
        on_wait()
        # Whatever somebody set in the session that a pooler gave.
        connection.execute("SET LOCAL lock_timeout = 0")
        connection.execute(statement)
