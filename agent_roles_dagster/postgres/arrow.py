"""Arrow to and from PostgreSQL (binary COPY), through ADBC's low-level interface.

ADBC's DB-API imports pandas. In each of Spark's Python processes, that takes longer than a small
day's work.

https://arrow.apache.org/adbc/current/python/api/adbc_driver_manager.html
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Self
from weakref import WeakSet

import adbc_driver_postgresql
import pyarrow as pa
from adbc_driver_manager import (
    INGEST_OPTION_MODE,
    INGEST_OPTION_MODE_APPEND,
    INGEST_OPTION_TARGET_TABLE,
    AdbcConnection,
    AdbcDatabase,
    AdbcStatement,
    Error,
)

from agent_roles_dagster.postgres.connection import SESSION, conninfo

_INGEST_OPTION_TARGET_DB_SCHEMA = "adbc.ingest.target_db_schema"


class ArrowConnection:
    """A connection with one transaction, which is rolled back unless `commit` is called.

    Raises:
        adbc_driver_manager.Error: every method, if PostgreSQL or the network fails.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        while kept := _take(url):
            self._database, self._connection = kept
            with suppress(Error):  # The server may have ended it meanwhile.
                self._begin()
                return
            self._close()
        self._database = adbc_driver_postgresql.connect(conninfo(url))
        self._connection = AdbcConnection(self._database)
        self._begin()

    def _begin(self) -> None:
        # Before the first statement, since it may wait, too.
        with _opening:
            _open.add(self)
        self._connection.set_autocommit(False)
        self.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE")
        for _ in self.read(SESSION):
            pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None and _kept is not None:
            with _opening:
                _open.discard(self)
            self._connection.rollback()
            _kept.append((self._url, self._database, self._connection))
        else:
            self._close()

    def _close(self) -> None:
        with _opening:
            _open.discard(self)
        self._connection.close()
        self._database.close()

    def read(self, query: str, *parameters: Any) -> Iterator[pa.RecordBatch]:
        """The query's rows; `parameters` are the values of $1, $2, ..."""
        with AdbcStatement(self._connection) as statement:
            statement.set_sql_query(query)
            if parameters:
                names = map(str, range(len(parameters)))
                statement.bind(
                    pa.RecordBatch.from_pydict(
                        {n: [v] for n, v in zip(names, parameters, strict=True)}
                    )
                )
            rows, _ = statement.execute_query()
            yield from pa.RecordBatchReader.from_stream(rows)

    def execute(self, statement: str) -> None:
        """Run a statement that returns no rows."""
        with AdbcStatement(self._connection) as prepared:
            prepared.set_sql_query(statement)
            prepared.execute_update()

    def ingest(self, schema: str, table: str, rows: pa.Table) -> None:
        """Append the rows to the table, whose columns have the same names."""
        with AdbcStatement(self._connection) as statement:
            statement.set_options(
                **{
                    _INGEST_OPTION_TARGET_DB_SCHEMA: schema,
                    INGEST_OPTION_TARGET_TABLE: table,
                    INGEST_OPTION_MODE: INGEST_OPTION_MODE_APPEND,
                }
            )
            statement.bind_stream(rows)
            statement.execute_update()

    def commit(self) -> None:
        self._connection.commit()

    def cancel(self) -> None:
        """Have the statement that another thread waits for fail there."""
        with suppress(Error):
            self._connection.cancel()


_open: WeakSet[ArrowConnection] = WeakSet()
# Guards `_open`: tasks add and remove connections while another thread reads it.
_opening = threading.Lock()
_kept: list[tuple[str, AdbcDatabase, AdbcConnection]] | None = None


@contextmanager
def connections_kept() -> Iterator[None]:
    """Within it, a closed connection is kept open, and the next `ArrowConnection` takes it.

    Opening one takes a tenth of a second, and more with each staged day, as the driver reads the
    types of all columns.
    """
    global _kept
    _kept = []
    try:
        yield
    finally:
        kept, _kept = _kept, None
        for _, database, connection in kept:
            connection.close()
            database.close()


def _take(url: str) -> tuple[AdbcDatabase, AdbcConnection] | None:
    with _opening:
        found = next((kept for kept in _kept or [] if kept[0] == url), None)
        if _kept is None or found is None:
            return None
        _kept.remove(found)
    return found[1:]


def cancel_all() -> None:
    """Cancel what PostgreSQL does for this process's tasks."""
    with _opening:
        connections = list(_open)
    for connection in connections:
        connection.cancel()
