"""The SQL files, run as they stand."""

from functools import cache
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

Connection = psycopg.Connection[dict[str, Any]]

_PACKAGE = Path(__file__).parents[1]


def sql_path(name: str) -> Path:
    """Where sql/<name>.sql is: beside the package in a checkout, inside it once installed."""
    folders = (_PACKAGE.parent / "sql", _PACKAGE / "sql")
    folder = next(folder for folder in folders if (folder / "schema/010_schema.sql").is_file())
    return folder / f"{name}.sql"


@cache
def sql_file(name: str) -> str:
    """The text of sql/<name>.sql."""
    return sql_path(name).read_text(encoding="utf-8")


def run_file(connection: Connection, name: str, **parameters: str) -> list[int]:
    """Run a SQL file as it stands. Returns the number of rows of each of its statements.

    The file reads its parameters as `agent_roles.<name>`. They last until the end of the
    transaction, which the caller began.
    """
    for key, value in parameters.items():
        # Bound, so that no error of the file has the server log them.
        connection.execute("SELECT set_config(%s, %s, TRUE)", (f"agent_roles.{key}", value))
    cursor = connection.execute(sql_file(name).encode())
    counts = [cursor.rowcount]
    while cursor.nextset():
        counts.append(cursor.rowcount)
    return counts


def rows_of_file(connection: Connection, name: str, **parameters: str) -> list[dict[str, Any]]:
    """The rows of a SQL file's last query. It reads its parameters as `agent_roles.<name>`."""
    # All at once, which is one round trip and one transaction: a day asks dozens of such questions.
    settings = [
        sql.SQL("SELECT set_config({}, {}, TRUE);").format(f"agent_roles.{key}", value)
        for key, value in parameters.items()
    ]
    cursor = connection.execute(sql.SQL("").join(settings).as_bytes() + sql_file(name).encode())
    rows = cursor.fetchall() if cursor.description else []
    while cursor.nextset():
        if cursor.description:  # The statement was a query.
            rows = cursor.fetchall()
    return rows


def one(connection: Connection, query: str, parameters: tuple[Any, ...] = ()) -> Any:
    """The first column of the query's first row."""
    row = connection.execute(query.encode(), parameters).fetchone()
    return None if row is None else next(iter(row.values()))
